"""The product outside, with a token of the chart's ServiceAccount: it captures with exactly the rights that the chart grants."""

from __future__ import annotations

import json
import shutil
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import NUMBER, definition, definitions

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


def ready(archiver: Archiver) -> tuple[int, dict[str, Any]]:
    """What the readiness probe gets."""
    code, body = archiver.get("/readyz")
    return code, json.loads(body)


@pytest.mark.parametrize("strict", [False, True])
def test_the_example_works_in_the_first_users_cluster(
    start_cluster: Callable[..., ControlPlane],
    tmp_path: Path,
    strict: bool,
) -> None:
    """As it is: their kinds are captured in both namespaces in which their controllers run, and it is ready. The kind of another product in
    their group, which the Role does not cover, costs itself alone and is named, unless the settings are strict; when it goes, nothing needs a
    restart, although the answer is 403 then too.
    """
    foreign = definition("tigerbeetle.proompteng.ai", "TigerBeetleCluster", {"replicas": NUMBER})
    plane = start_cluster(definitions=[*definitions(), foreign])
    for name in ("agents", "synthesis"):
        plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    shutil.copytree(CHART.parents[1], tmp_path / "deploy")
    rendered = plane.kubectl("kustomize", "--enable-helm", tmp_path / "deploy/kustomize/agents")
    documents = [document for document in yaml.safe_load_all(rendered) if document]
    rights = [document for document in documents if document["kind"] in ("ServiceAccount", "Role", "RoleBinding")]
    plane.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(rights))
    settings = next(document["data"]["archiver.yaml"] for document in documents if "archiver.yaml" in document.get("data", {}))
    source = yaml.safe_load(settings)["sources"]["agents"]["kubernetes"]
    token = plane.service_account_token("agents", "archiver-sa")
    source |= {"kubeconfig": str(plane.kubeconfig_for(token)), "strict": strict, "discovery_seconds": 1}
    name = "tigerbeetleclusters"
    with Archiver(tmp_path, {"agents": {"kubernetes": source}}, serve=True) as archiver:
        archiver.start()
        for namespace in ("agents", "synthesis"):
            archiver.wait_for_baseline(f"agents/agents.proompteng.ai/agentruns@{namespace}")
        archiver.wait(lambda: name in str(ready(archiver)[1]), "the kind is named")
        if strict:
            assert ready(archiver)[0] == 503
        else:
            archiver.wait(lambda: ready(archiver)[0] == 200, "it is ready")
        assert [line for line in ready(archiver)[1]["problems" if strict else "not_captured"] if name in line and "403" in line]
        plane.request("POST", RUNS.replace("/agents/agentruns", "/synthesis/agentruns"), run("there"))
        archiver.wait(lambda: archiver.live_source("agents/agents.proompteng.ai/agentruns@synthesis")["entries"] == 1, "the object")
        plane.request("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{foreign['metadata']['name']}")
        archiver.wait(lambda: name not in str(ready(archiver)[1]), "the kind that is gone is named no more")
        archiver.wait(lambda: ready(archiver)[0] == 200, "it is ready")
        assert archiver.stop() == 0
