"""Naming resources, scopes and clusters."""

from __future__ import annotations

import pytest

from archiver.capture.kubernetes.config import KubernetesConfig
from archiver.capture.kubernetes.discovery import Selector
from archiver.capture.kubernetes.rights import needed
from archiver.capture.kubernetes.stream_scope import StreamScope
from archiver.errors import Invalid
from archiver.kubernetes.cluster import Cluster
from archiver.kubernetes.records import Resource

RUNS = Resource("agents.proompteng.ai", "v1alpha1", "agentruns", "AgentRun", namespaced=True)


@pytest.mark.parametrize(
    ("text", "group", "plural", "matches"),
    [
        ("*.proompteng.ai", "agents.proompteng.ai", "agentruns", True),
        ("*.proompteng.ai", "proompteng.ai", "things", True),
        ("*.proompteng.ai", "notproompteng.ai", "things", False),
        ("*.proompteng.ai", "", "pods", False),
        ("agentruns.agents.proompteng.ai", "agents.proompteng.ai", "agentruns", True),
        ("agentruns.agents.proompteng.ai", "agents.proompteng.ai", "agents", False),
        ("agentruns.agents.proompteng.ai", "deep.agents.proompteng.ai", "agentruns", False),
        ("agentruns.*.proompteng.ai", "agents.proompteng.ai", "agentruns", True),
        ("configmaps", "", "configmaps", True),
        ("configmaps", "example.com", "configmaps", False),
        ("deployments.apps", "apps", "deployments", True),
    ],
)
def test_selectors(text: str, group: str, plural: str, matches: bool) -> None:
    """The three forms of naming resources, and what they leave out."""
    assert Selector.parse(text).matches(group, plural) is matches


@pytest.mark.parametrize("text", ["", "*", ".", "a b", "Runs.example.com", "runs.", "/x"])
def test_what_names_nothing_is_refused(text: str) -> None:
    """A typing error is told at once and not taken for an empty selection."""
    with pytest.raises(Invalid):
        Selector.parse(text)


def test_stream_names_and_paths() -> None:
    """Cluster, group and plural name a stream, the namespace its scope; the version is no part of the name."""
    target = StreamScope.of("kube", RUNS, "agents")
    assert target.stream == "kube/agents.proompteng.ai/agentruns@agents"
    assert target.path == "/apis/agents.proompteng.ai/v1alpha1/namespaces/agents/agentruns"
    target = StreamScope.of("kube", Resource("", "v1", "configmaps", "ConfigMap", namespaced=True))
    assert target.stream == "kube/core/configmaps"
    assert target.path == "/api/v1/configmaps"


def test_needed_rights_by_scope() -> None:
    """List and watch in each namespace or cluster-wide; definitions are asked for and not required."""
    config = KubernetesConfig(resources=[], namespaces=["a", "b"])
    assert [str(right) for right in needed(config, [RUNS]) if right.required] == [
        f"{verb} agentruns.agents.proompteng.ai in namespace {namespace}" for namespace in "ab" for verb in ("list", "watch")
    ]
    assert [right.resource for right in needed(config, [RUNS]) if not right.required] == ["customresourcedefinitions"] * 2
    (first, *_) = needed(KubernetesConfig(resources=[]), [RUNS])
    assert str(first) == "list agentruns.agents.proompteng.ai cluster-wide"


def test_clusters_are_told_apart_by_the_best_that_both_know() -> None:
    """The UID decides where both are known; a new CA alone is doubt, and doubt is another cluster."""
    first = Cluster("ca1", "u1")
    assert Cluster.of(first.text) == first
    assert not Cluster("ca2", "u1").replaces(first)
    assert Cluster("ca1", "u2").replaces(first)
    assert not Cluster("ca1", "").replaces(first)
    assert Cluster("ca2", "").replaces(first)
    assert not Cluster("", "").replaces(first)
    assert not first.replaces(Cluster.of("ca= uid="))
