"""Kinds that are selected and of which nothing is heard: the journal, readiness, metrics, status and every restore say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import TEXT, definition

RIGHTS = "rbac.authorization.k8s.io"
KINDS = ("Widget", "Other")


def widget(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "quiet.org/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": {"text": name}}


@pytest.fixture
def plane(start_cluster: Callable[..., ControlPlane]) -> ControlPlane:
    plane = start_cluster(definitions=[definition("quiet.org", kind, {"text": TEXT}) for kind in KINDS])
    plane.apply(*(widget(kind, "first") for kind in KINDS))
    return plane


def allow(plane: ControlPlane, *resources: str) -> str:
    """A token that may read these, and definitions."""
    meta = {"name": "reader"}
    rules = [
        {"apiGroups": ["quiet.org"], "resources": list(resources), "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["get", "list", "watch"]},
    ]
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": "default"}
    plane.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {**meta, "namespace": "default"}},
        {"apiVersion": f"{RIGHTS}/v1", "kind": "ClusterRole", "metadata": meta, "rules": rules},
        {
            "apiVersion": f"{RIGHTS}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": RIGHTS, "kind": "ClusterRole", "name": "reader"},
            "subjects": [subject],
        },
    )
    return plane.service_account_token("default", "reader")


def readiness(archiver: Archiver) -> tuple[int, dict[str, Any]]:
    status, body = archiver.get("/readyz")
    return status, json.loads(body or b"{}")


def unknown(archiver: Archiver, stream: str) -> str:
    lines = archiver.get("/metrics")[1].decode().splitlines()
    return next((line.rpartition(" ")[2] for line in lines if line.startswith(f'archiver_source_unknown{{source="{stream}"}}')), "")


def gaps(archiver: Archiver, stream: str, at: str = "latest") -> list[str]:
    """Of the plan at a point; a restore that has some is refused with exit code 3, and says which."""
    plan = json.loads(archiver.call("restore", "--at", at, "--dry-run", "--json").stdout)
    found = [gap for gap in plan["sources"][0]["plan"]["gaps"] if gap.startswith(stream)]
    done = archiver.call("restore", "--at", at, "--to", str(archiver.folder / f"out-{at}"))
    assert done.returncode == (3 if found else 0), done.stderr
    assert all(gap in done.stderr for gap in found)
    return found


@pytest.mark.parametrize("strict", [False, True], ids=["usual", "strict"])
def test_a_kind_without_rights_costs_itself_and_is_named(plane: ControlPlane, tmp_path: Path, *, strict: bool) -> None:
    """Denied from the beginning, granted, withdrawn: named each time by readiness, metric, status, plan and restore; the others stay ready."""
    kubeconfig = plane.kubeconfig_for(allow(plane, "others"))
    source = {"resources": ["*.quiet.org"], "kubeconfig": str(kubeconfig), "discovery_seconds": 1, "strict": strict}
    widgets, others = "k/quiet.org/widgets", "k/quiet.org/others"
    with Archiver(tmp_path, {"k": {"kubernetes": source}}, serve=True) as archiver:
        archiver.start()
        archiver.wait(lambda: readiness(archiver)[0] == (503 if strict else 200) and unknown(archiver, others) == "0.0", "not as ready")
        archiver.wait(lambda: unknown(archiver, widgets) == "1.0", "the metric does not tell")
        body = readiness(archiver)[1]
        assert body["problems" if strict else "not_captured"][0].startswith(widgets)
        assert "403" in body["problems" if strict else "not_captured"][0]
        if strict:
            return
        assert archiver.stop() == 0
        assert "nothing is heard of it" in archiver.source(widgets)["problem"]
        assert (archiver.source(widgets)["unknown_since"], archiver.source(others)["unknown_since"]) == (0, None)
        (gap,) = gaps(archiver, widgets)
        assert "no complete list" in gap
        assert "403" in gap
        allow(plane, *("others", "widgets"))
        archiver.start()
        archiver.wait(lambda: unknown(archiver, widgets) == "0.0" and not readiness(archiver)[1]["not_captured"], "not taken up")
        allow(plane, "others")
        plane.restart_apiserver()
        archiver.wait(lambda: unknown(archiver, widgets) == "1.0", "the withdrawal is not noticed", 120)
        plane.apply(widget("Widget", "second"))
        assert archiver.stop() == 0
    assert archiver.source(widgets)["unknown_since"] > 0
    (gap,) = gaps(archiver, widgets)
    assert "nothing was heard of it since" in gap
    done = archiver.call("restore", "--at", "latest", "--to", str(tmp_path / "out"), "--allow-gaps")
    assert done.returncode == 0, done.stderr
    assert sorted(file.stem for file in (tmp_path / "out/objects").rglob("*.yaml")) == ["first", "first"]


def test_a_kind_that_its_server_cannot_read_is_a_gap(plane: ControlPlane, tmp_path: Path) -> None:
    """Its conversion webhook is gone: restores at the end say so and, once it can be read again, only those within that time."""
    source = {"resources": ["*.quiet.org"], "kubeconfig": str(plane.kubeconfig), "discovery_seconds": 1}
    widgets = "k/quiet.org/widgets"
    crd = definition("quiet.org", "Widget", {"text": TEXT})
    version = crd["spec"]["versions"][0]
    crd["spec"]["versions"] = [version, {**version, "name": "v1", "storage": False}]
    service = {"name": "convert", "namespace": "kube-system", "path": "/convert"}
    broken = {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"service": service}}}
    with Archiver(tmp_path, {"k": {"kubernetes": source}}, serve=True) as archiver:
        archiver.start()
        archiver.wait(lambda: readiness(archiver)[0] == 200, "not ready")
        crd["spec"]["conversion"] = broken
        plane.apply(crd)
        archiver.wait(lambda: unknown(archiver, widgets) == "1.0", "nobody notices", 90)
        status, body = readiness(archiver)
        assert status == 503
        assert any(problem.startswith(widgets) for problem in body["problems"])
        assert archiver.stop() == 0
        assert len(gaps(archiver, widgets)) == 1
        inside = str(archiver.status()["last_entry"])
        crd["spec"]["conversion"] = {"strategy": "None"}
        plane.apply(crd)
        archiver.start()
        archiver.wait(lambda: unknown(archiver, widgets) == "0.0" and readiness(archiver)[0] == 200, "not taken up again", 90)
        plane.apply(widget("Widget", "second"))
        archiver.wait(lambda: archiver.live_source(widgets)["entries"] > 0, "not captured")
        assert archiver.stop() == 0
    assert not gaps(archiver, widgets)
    # The watch went on from where it had been, or a list found nothing else: nothing was missed.
    assert not gaps(archiver, widgets, inside)
