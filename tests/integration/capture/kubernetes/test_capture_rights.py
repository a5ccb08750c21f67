"""Capture with the rights it has, and of the resources that there are."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from archiver.capture.kubernetes.discovery import Selector, discover
from archiver.capture.kubernetes.rights import check_rights
from archiver.clock import SystemClock
from archiver.errors import Invalid, Unavailable
from archiver.journal.entry import Kind
from archiver.kubernetes.api import Api
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definition, path
from tests.servers.kubernetes_capture import KubernetesCapture, config_for, objects, served

TOOLS = "tools.proompteng.ai/tools"
CRDS = "apiextensions.k8s.io/customresourcedefinitions"


def grant(cluster: ControlPlane, namespace: str, rules: list[dict[str, Any]]) -> str:
    """A token of a ServiceAccount with these rules in its namespace and nothing else."""
    meta = {"name": "archiver", "namespace": namespace}
    cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": rules},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "archiver"},
            "subjects": [{"kind": "ServiceAccount", "name": "archiver", "namespace": namespace}],
        },
    )
    return cluster.service_account_token(namespace, "archiver")


async def test_a_namespaced_role_is_enough(cluster: ControlPlane, namespace: str) -> None:
    """With list and watch in one namespace only, everything there is captured; definitions are skipped with a warning."""
    rules = [{"apiGroups": ["tools.proompteng.ai"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
    token = await asyncio.to_thread(grant, cluster, namespace, rules)
    kubeconfig = str(cluster.kubeconfig_for(token))
    config = config_for(cluster, namespace, resources=["*.tools.proompteng.ai"], kubeconfig=kubeconfig)
    capture = KubernetesCapture(config)
    async with capture.running():
        made = await asyncio.to_thread(cluster.request, "POST", path("Tool", namespace), custom_resource("Tool", namespace, "a"))
        await capture.until_durable(f"{TOOLS}@{namespace}", made["metadata"]["resourceVersion"])
        await capture.until(lambda status: bool(status.warnings), "the warning")
        assert "definitions are not captured" in capture.status().warnings[0]
        assert capture.status().state == "streaming"
    listed, _ = await asyncio.to_thread(served, cluster, path("Tool", namespace))
    assert objects(await capture.folded(f"{TOOLS}@{namespace}")) == listed


async def test_missing_rights_are_named(cluster: ControlPlane, namespace: str) -> None:
    """Each missing verb is named with its resource and namespace; what capture can do without is marked."""
    rules = [
        {"apiGroups": ["tools.proompteng.ai"], "resources": ["tools"], "verbs": ["list", "watch"]},
        {"apiGroups": ["tools.proompteng.ai"], "resources": ["toolruns"], "verbs": ["list"]},
    ]
    token = await asyncio.to_thread(grant, cluster, namespace, rules)
    kubeconfig = str(cluster.kubeconfig_for(token))
    config = config_for(cluster, namespace, resources=["*.tools.proompteng.ai"], kubeconfig=kubeconfig)
    api = await Api.open(SystemClock(), kubeconfig=kubeconfig)
    try:
        report = await check_rights(api, config)
    finally:
        await api.close()
    assert [each.plural for each in report.resources] == ["toolruns", "tools"]
    assert [(str(right), right.required) for right in report.missing] == [
        (f"watch toolruns.tools.proompteng.ai in namespace {namespace}", True),
        ("list customresourcedefinitions.apiextensions.k8s.io cluster-wide", False),
        ("watch customresourcedefinitions.apiextensions.k8s.io cluster-wide", False),
    ]


async def test_a_stream_without_rights_does_not_stop_the_others(cluster: ControlPlane, namespace: str) -> None:
    """One denied resource makes the source say so; the others are captured, and it is taken up once the right is there."""
    rules = [{"apiGroups": ["tools.proompteng.ai"], "resources": ["tools"], "verbs": ["list", "watch"]}]
    token = await asyncio.to_thread(grant, cluster, namespace, rules)
    config = config_for(cluster, namespace, resources=["*.tools.proompteng.ai"], kubeconfig=str(cluster.kubeconfig_for(token)))
    capture = KubernetesCapture(config)
    async with capture.running(streaming=False):
        await capture.until(lambda status: "403" in status.detail and "toolruns" in status.detail, "the denial is told")
        made = await asyncio.to_thread(cluster.request, "POST", path("Tool", namespace), custom_resource("Tool", namespace, "a"))
        await capture.until_durable(f"{TOOLS}@{namespace}", made["metadata"]["resourceVersion"])
        rules[0]["resources"] = ["tools", "toolruns"]
        await asyncio.to_thread(grant, cluster, namespace, rules)
        await capture.until_streaming()


async def test_new_definitions_begin_streams_and_removed_ones_end_them(start_cluster: Callable[..., ControlPlane]) -> None:
    """A definition that appears is captured at once; its objects and their deletion with it are recorded, and the end too, as for one
    that went away and came back while nobody watched."""
    plane = await asyncio.to_thread(start_cluster)
    crd = definition("late.proompteng.ai", "Guest", {"text": {"type": "string"}})
    name, stream = "guests.late.proompteng.ai", "late.proompteng.ai/guests@default"
    guest = {"apiVersion": "late.proompteng.ai/v1alpha1", "kind": "Guest", "metadata": {"name": "g", "namespace": "default"}}
    capture = KubernetesCapture(config_for(plane, "default", discovery_seconds=30.0))
    async with capture.running():
        await asyncio.to_thread(plane.apply, crd)
        await asyncio.to_thread(plane.apply, guest)
        await capture.until(lambda status: any(part.state == "streaming" and part.name.endswith(stream) for part in status.parts), "it")
        await capture.until(
            lambda status: any(part.frames or part.bytes for part in status.parts if part.name.endswith(stream)), "its object"
        )
        await asyncio.to_thread(plane.request, "DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
        await capture.until(lambda status: any(part.state == "stopped" and part.name.endswith(stream) for part in status.parts), "its end")
    state = await capture.folded(stream)
    assert state.ended
    assert not state.objects
    assert [gap.reason for gap in await capture.records(stream, Kind.GAP)][-1] == "resource_gone"
    await asyncio.to_thread(plane.apply, crd)
    await asyncio.to_thread(plane.apply, guest)
    async with capture.running():
        pass
    assert set((await capture.folded(stream)).objects) == {("default", "g")}
    assert (await capture.folded(CRDS)).objects.keys() == {("", name)}
    await asyncio.to_thread(plane.request, "DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
    async with capture.running():
        await capture.until(lambda status: any(part.state == "stopped" and part.name.endswith(stream) for part in status.parts), "its end")
    assert (await capture.folded(stream)).ended
    assert not (await capture.folded(CRDS)).objects


async def test_built_in_resources_are_captured_by_plural(cluster: ControlPlane, namespace: str) -> None:
    """``plural`` of the core group: items without kind and events with it fold to the same objects."""
    body = {"metadata": {"name": "a"}, "data": {"k": "v"}}
    await asyncio.to_thread(cluster.request, "POST", f"/api/v1/namespaces/{namespace}/configmaps", body)
    capture = KubernetesCapture(config_for(cluster, namespace, resources=["configmaps"], custom_resource_definitions=False))
    async with capture.running():
        body["metadata"] = {"name": "b"}
        made = await asyncio.to_thread(cluster.request, "POST", f"/api/v1/namespaces/{namespace}/configmaps", body)
        await capture.until_durable(f"core/configmaps@{namespace}", made["metadata"]["resourceVersion"])
    found = objects(await capture.folded(f"core/configmaps@{namespace}"))
    assert {"a", "b"} <= {name for _, name in found}


async def test_credentials_come_from_exec_plugins_and_are_renewed(cluster: ControlPlane, tmp_path: Path) -> None:
    """A token of an exec plug-in is used; a refused one is asked for again, once, in the same request."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    answer = tmp_path / "answer.json"
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!{sys.executable}\nprint(open({str(answer)!r}).read())\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    config["users"][0]["user"] = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))

    def token(text: str) -> None:
        status = {"token": text}
        answer.write_text(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))

    token("wrong")
    api = await Api.open(SystemClock(), kubeconfig=str(kubeconfig))
    try:
        with pytest.raises(Invalid, match="refuses discovery"):
            await discover(api, [Selector.parse("*.proompteng.ai")])
        token(cluster.admin_token)
        api._loaded -= 10
        assert len((await discover(api, [Selector.parse("*.proompteng.ai")])).resources) == 20
    finally:
        await api.close()


async def test_a_token_file_is_read_again(cluster: ControlPlane, tmp_path: Path) -> None:
    """A kubeconfig that names a token file: what is written there later is used."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    secret = tmp_path / "token"
    secret.write_text("wrong")
    config["users"][0]["user"] = {"tokenFile": str(secret)}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    api = await Api.open(SystemClock(), kubeconfig=str(kubeconfig))
    try:
        assert (await api.get("/api/v1/namespaces")).status == 401
        secret.write_text(cluster.admin_token)
        api._loaded -= 100
        assert (await api.get("/api/v1/namespaces")).status == 200
    finally:
        await api.close()


async def test_wrong_configuration_and_absent_servers_are_told_apart(cluster: ControlPlane, tmp_path: Path) -> None:
    """A kubeconfig that is no kubeconfig is Invalid; a server that does not listen is Unavailable; neither message holds a token."""
    broken = tmp_path / "broken"
    broken.write_text("clusters: 7")
    with pytest.raises(Invalid):
        await Api.open(SystemClock(), kubeconfig=str(broken))
    with pytest.raises(Invalid):
        await Api.open(SystemClock(), kubeconfig=str(tmp_path / "absent"))
    with pytest.raises(Invalid, match="no-such"):
        await Api.open(SystemClock(), kubeconfig=str(cluster.kubeconfig), context="no-such")
    away = cluster.kubeconfig_for(cluster.admin_token, server="https://127.0.0.1:9")
    api = await Api.open(SystemClock(), kubeconfig=str(away))
    try:
        with pytest.raises(Unavailable) as caught:
            await api.get("/apis")
        assert cluster.admin_token not in str(caught.value)
    finally:
        await api.close()
