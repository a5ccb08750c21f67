"""Lines of ``resources`` that select nothing."""

from __future__ import annotations

from typing import Any, cast

from archiver.capture.kubernetes.config import KubernetesConfig
from archiver.capture.kubernetes.discovery import Discovery, selects_nothing, unmatched
from archiver.kubernetes.records import Resource

RUNS = Resource("agents.example.com", "v1", "runs", "Run", namespaced=True)
LINES = ["*.example.com", "runs.agents.example.com", "rnus.agents.example.com", "*.exmaple.com", "pods"]


def test_lines_without_any_served_resource_are_named() -> None:
    """The pattern, the kind and the group that are spelt right select something."""
    assert unmatched(LINES, Discovery([RUNS], frozenset())) == ["rnus.agents.example.com", "*.exmaple.com", "pods"]


def test_a_group_that_did_not_answer_may_have_it() -> None:
    """Nothing is known of its resources this time."""
    assert unmatched(LINES, Discovery([RUNS], frozenset({"agents.example.com"}))) == ["*.exmaple.com", "pods"]
    assert unmatched(["pods"], Discovery([], frozenset({""}))) == []


async def test_lines_of_redact_that_hide_nothing_are_named() -> None:
    """What they were to hide is captured. Definitions are captured beside what they define."""
    lines = ["*.example.com/spec.token", "rnus.agents.example.com/spec.token", "customresourcedefinitions.apiextensions.k8s.io/spec.x"]
    config = KubernetesConfig(resources=["*.example.com"], redact=lines)
    assert await selects_nothing(cast("Any", None), config, Discovery([RUNS], frozenset())) == [f"redact: {lines[1]}"]
