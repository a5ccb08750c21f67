"""Names that the API server allows and that mean something to JSON or URLs."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest

from archiver.clock import SystemClock
from archiver.history.objects import ObjectRef, object_log
from archiver.journal.reader import Reader
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.restore import plan_cluster, restore_to_cluster
from archiver.replay.kubernetes.selection import RestoreScope
from tests.servers.controlplane import ControlPlane
from tests.servers.kubernetes_capture import KubernetesCapture, config_for
from tests.servers.kubernetes_restore import api

ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"
STREAM = "rbac.authorization.k8s.io/roles@default"


def role(name: str, verb: str) -> dict[str, Any]:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules}


@pytest.mark.parametrize("name", ["a&b", "a<b>", "a?b=c", "a#b", "a b+c", "a:b;c", 'a"b\\c', "\u00e4\u2028", "a.b"])
async def test_any_name_has_a_history_and_is_replaced(start_cluster: Callable[..., ControlPlane], name: str) -> None:
    """Roles may be named almost anything: their history is found, and a restore over them writes to them and to nothing else."""
    plane = await asyncio.to_thread(start_cluster)
    capture = KubernetesCapture(
        config_for(plane, "default", resources=["roles.rbac.authorization.k8s.io"], custom_resource_definitions=False)
    )
    plane.request("POST", ROLES, role(name, "get"))
    plane.request("POST", ROLES, role("a", "get"))
    async with capture.running():
        made = plane.request("PUT", f"{ROLES}/{urllib.parse.quote(name, safe='')}", role(name, "list"))
        await capture.until_durable(STREAM, made["metadata"]["resourceVersion"])
    log = await object_log(Reader(capture.store), capture.name, ObjectRef("roles.rbac.authorization.k8s.io", "default", name))
    assert [(change.event, change.changed) for change in log] == [("LISTED", []), ("MODIFIED", ["rules"])]
    plane.request("PUT", f"{ROLES}/{urllib.parse.quote(name, safe='')}", role(name, "delete"))
    async with api(plane) as server:
        options: dict[str, Any] = {"overwrite": True, "into_source": True}
        prepared = await plan_cluster(Reader(capture.store), capture.name, Cut(), RestoreScope(), server, SystemClock(), **options)
        report = await restore_to_cluster(server, prepared, SystemClock())
    assert (report.failures, report.differences, report.replaced) == ([], [], 2)
