"""The Kubernetes part of the rig itself."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, kinds, path
from tests.servers.process import wait_until


def code(cluster: ControlPlane, where: str, token: str | None = None) -> int:
    """The HTTP status of a GET."""
    try:
        cluster.request("GET", where, token=token)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def test_serves_the_custom_resources(cluster: ControlPlane, namespace: str) -> None:
    """Kubernetes 1.37 serves all 20 kinds, each with a status that is written through its subresource only."""
    assert cluster.request("GET", "/version")["minor"] == "37"
    for _, kind, _ in kinds():
        cluster.request("POST", path(kind, namespace), custom_resource(kind, namespace, "one", {"agentRef": {"name": "a"}}))
        seen = cluster.request("GET", path(kind, namespace, "one"))
        assert "status" not in seen
        seen["status"] = {"phase": "Running"}
        assert cluster.request("PUT", path(kind, namespace, "one", status=True), seen)["status"] == {"phase": "Running"}


def test_rules_are_enforced(cluster: ControlPlane, namespace: str) -> None:
    """An object that breaks a CEL rule is refused by the server."""
    with pytest.raises(urllib.error.HTTPError, match="422"):
        cluster.request("POST", path("Agent", namespace), custom_resource("Agent", namespace, "bad", {"limit": 0}))


def test_orphans_are_collected(cluster: ControlPlane, namespace: str) -> None:
    """An object goes away with its owner: the garbage collector runs."""
    owner = cluster.request("POST", path("Agent", namespace), custom_resource("Agent", namespace, "owner"))
    run = custom_resource("AgentRun", namespace, "run", {"agentRef": {"name": "owner"}}, owner=owner)
    cluster.request("POST", path("AgentRun", namespace), run)
    cluster.request("DELETE", path("Agent", namespace, "owner"))
    wait_until(lambda: code(cluster, path("AgentRun", namespace, "run")) == 404, seconds=20, what="the orphan to be collected")


def test_tokens_have_the_rights_that_rbac_gives(cluster: ControlPlane, namespace: str) -> None:
    """A minted token may do what a Role allows, in its namespace, and nothing else."""
    cluster.kubectl("create", "serviceaccount", "reader", "-n", namespace)
    cluster.kubectl("create", "role", "reader", "-n", namespace, "--verb=list", "--resource=agents.agents.proompteng.ai")
    cluster.kubectl("create", "rolebinding", "reader", "-n", namespace, "--role=reader", f"--serviceaccount={namespace}:reader")
    token = cluster.service_account_token(namespace, "reader")
    wait_until(lambda: code(cluster, path("Agent", namespace), token) == 200, seconds=10, what="the role to count")
    assert code(cluster, path("Agent", "default"), token) == 403
    config = cluster.kubeconfig_for(token, namespace=namespace)
    assert cluster.kubectl("--kubeconfig", config, "auth", "can-i", "watch", "agents.agents.proompteng.ai", check=False).strip() == "no"


def test_watch_list_ends_with_its_bookmark(cluster: ControlPlane, namespace: str) -> None:
    """A streaming list sends what is there and then the bookmark that ends the initial events."""
    cluster.request("POST", path("Agent", namespace), custom_resource("Agent", namespace, "one"))
    query = "watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    request = urllib.request.Request(f"{cluster.url}{path('Agent', namespace)}?{query}")
    request.add_header("Authorization", f"Bearer {cluster.admin_token}")
    with urllib.request.urlopen(request, timeout=20, context=ssl.create_default_context(cafile=cluster.ca)) as response:
        first, second = json.loads(response.readline()), json.loads(response.readline())
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "one")
    assert second["type"] == "BOOKMARK"
    assert second["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_own_server_is_separate_and_survives_sigkill(cluster: ControlPlane, start_cluster: Callable[..., ControlPlane]) -> None:
    """A server on the same etcd sees nothing of the shared one, and after SIGKILL of all parts the data are there again."""
    shared = start_cluster()
    assert shared.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"] == []
    shared.restart_apiserver(kill=True)
    own = start_cluster(etcd_flags=[], flags=["--etcd-compaction-interval=2s"])
    own.request("POST", "/api/v1/namespaces", {"metadata": {"name": "kept"}})
    own.kill()
    own.boot()
    assert own.request("GET", "/api/v1/namespaces/kept")["metadata"]["name"] == "kept"


def test_charts_render_and_install(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """Helm installs a chart, and kubectl kustomize finds helm to render one."""
    chart = tmp_path / "charts/probe"
    chart.parent.mkdir()
    assert cluster.helm("create", chart).startswith("Creating")
    cluster.helm("install", "probe", chart, "-n", namespace)
    assert "probe" in cluster.kubectl("get", "deployments", "-n", namespace)
    kustomization = "helmGlobals: {chartHome: charts}\nhelmCharts: [{name: probe, releaseName: probe}]\n"
    (tmp_path / "kustomization.yaml").write_text(kustomization)
    assert "kind: Deployment" in cluster.kubectl("kustomize", "--enable-helm", tmp_path)
