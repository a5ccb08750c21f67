"""The product outside, with a token of the chart's ServiceAccount: it captures with exactly the rights that the chart grants."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import definitions

CHART = Path(__file__).parents[2] / "deploy/charts/archiver"
RUNS = "/apis/agents.proompteng.ai/v1alpha1/namespaces/agents/agentruns"


@pytest.fixture
def plane(start_cluster: Callable[..., ControlPlane]) -> ControlPlane:
    """An API server of the test's own with the 20 kinds and namespaces agents and other."""
    plane = start_cluster(definitions=definitions())
    for name in ("agents", "other"):
        plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return plane


def install(plane: ControlPlane, values: dict[str, Any], tmp_path: Path) -> Path:
    """``helm install`` and a kubeconfig for the ServiceAccount that it made."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump({"fullnameOverride": "archiver", **values}))
    plane.helm("install", "agents", CHART, "--namespace", "agents", "--values", file)
    return plane.kubeconfig_for(plane.service_account_token("agents", "archiver-sa"), namespace="agents")


def run(name: str) -> dict[str, Any]:
    """An AgentRun."""
    return {
        "apiVersion": "agents.proompteng.ai/v1alpha1",
        "kind": "AgentRun",
        "metadata": {"name": name},
        "spec": {"agentRef": {"name": "a"}},
    }


def checked(archiver: Archiver) -> tuple[int, list[str]]:
    """Exit code of ``check`` and what it refuses."""
    done = archiver.call("check", "--json")
    return done.returncode, [line["text"] for line in json.loads(done.stdout) if line["level"] == "refused"]


def captures(archiver: Archiver, plane: ControlPlane, stream: str) -> None:
    """Run it, create an object, and find it in the journal."""
    archiver.start()
    try:
        archiver.wait_for_baseline(stream)
        before = archiver.source(stream)["durable_position"]
        plane.request("POST", RUNS, run("seen"))
        archiver.wait(lambda: archiver.source(stream)["durable_position"] != before, "the object did not come")
        assert archiver.stop() == 0
    finally:
        archiver.kill()


def test_namespaced(plane: ControlPlane, tmp_path: Path) -> None:
    """Without clusterScoped: captured in the namespace, nothing cluster-wide may be read, and one right less is named."""
    kubeconfig = install(plane, {"controller": {"namespaces": ["agents"]}}, tmp_path)
    source = {"kubeconfig": str(kubeconfig), "namespaces": ["agents"], "custom_resource_definitions": False}
    archiver = Archiver(tmp_path, {"agents": {"kubernetes": source}})
    assert checked(archiver) == (0, [])
    captures(archiver, plane, "agents/agents.proompteng.ai/agentruns@agents")

    token = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"]
    for path in (
        "/apis/agents.proompteng.ai/v1alpha1/agentruns",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        RUNS.replace("/agents/", "/other/"),
    ):
        with pytest.raises(urllib.error.HTTPError) as error:
            plane.request("GET", path, token=token)
        assert error.value.code == 403
        error.value.close()

    role = plane.request("GET", "/apis/rbac.authorization.k8s.io/v1/namespaces/agents/roles/archiver")
    role["rules"][0]["verbs"] = ["get", "list"]
    plane.request("PUT", "/apis/rbac.authorization.k8s.io/v1/namespaces/agents/roles/archiver", role)
    code, refused = checked(archiver)
    assert code == 3
    assert any("watch agentruns.agents.proompteng.ai in namespace agents" in text for text in refused)


def test_cluster_wide(plane: ControlPlane, tmp_path: Path) -> None:
    """With clusterScoped: captured everywhere, definitions too, and without the right to definitions a warning names it."""
    kubeconfig = install(plane, {"rbac": {"clusterScoped": True}, "controller": {"namespaces": ["*"]}}, tmp_path)
    archiver = Archiver(tmp_path, {"agents": {"kubernetes": {"kubeconfig": str(kubeconfig)}}})
    assert checked(archiver) == (0, [])
    captures(archiver, plane, "agents/agents.proompteng.ai/agentruns")
    assert archiver.source("agents/apiextensions.k8s.io/customresourcedefinitions")["checkpoint"]

    role = plane.request("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/agents-archiver")
    role["rules"] = [rule for rule in role["rules"] if rule["apiGroups"] != ["agents.proompteng.ai"]]
    role["rules"][0]["apiGroups"] = [group for group in role["rules"][0]["apiGroups"] if group != "agents.proompteng.ai"]
    plane.request("PUT", "/apis/rbac.authorization.k8s.io/v1/clusterroles/agents-archiver", role)
    code, refused = checked(archiver)
    assert code == 3
    assert any("list agentruns.agents.proompteng.ai cluster-wide" in text for text in refused)
