"""A definition that is deleted and comes back with another scope."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from archiver.clock import SystemClock
from archiver.journal.reader import Reader
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.restore import plan_cluster
from archiver.replay.kubernetes.selection import Key, RestoreScope
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import TEXT, definition
from tests.servers.kubernetes_capture import KubernetesCapture, config_for

ZONES = "extra.example.org/zones"
API = "/apis/extra.example.org/v1alpha1"
CLUSTER, SPACE = f"{API}/zones", f"{API}/namespaces/default/zones"


def zones(scope: str) -> dict[str, Any]:
    found = definition("extra.example.org", "Zone", {"text": TEXT})
    found["spec"]["scope"] = scope
    return found


def create(plane: ControlPlane, place: str, name: str) -> str:
    made = plane.request("POST", place, {"apiVersion": "extra.example.org/v1alpha1", "kind": "Zone", "metadata": {"name": name}})
    version: str = made["metadata"]["resourceVersion"]
    return version


def exchange(plane: ControlPlane, scope: str) -> None:
    """The definition and its objects are deleted, and it comes back."""
    plane.kubectl("delete", "crd", "zones.extra.example.org", "--wait=true")
    plane.apply(zones(scope))


async def planned(capture: KubernetesCapture) -> set[Key]:
    prepared = await plan_cluster(Reader(capture.store), capture.name, Cut(), RestoreScope(), None, SystemClock())
    return {action.key for action in prepared.plan.actions if action.resource.startswith("zones.")}


@pytest.mark.parametrize("away", [False, True], ids=["watched", "away"])
async def test_a_cluster_scoped_kind_comes_back_namespaced(start_cluster: Callable[..., ControlPlane], *, away: bool) -> None:
    """What was cluster-scoped is gone and no restore brings it back; only the chosen namespaces are captured from then on."""
    plane = await asyncio.to_thread(lambda: start_cluster(definitions=[zones("Cluster")]))
    plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    capture = KubernetesCapture(config_for(plane, "default", resources=["*.example.org"], discovery_seconds=0.5))
    await capture.start()
    await capture.until_streaming()
    await capture.until_durable(ZONES, await asyncio.to_thread(create, plane, CLUSTER, "old"))
    if away:
        await capture.stop()
    await asyncio.to_thread(exchange, plane, "Namespaced")
    if away:
        await capture.start()
    await asyncio.to_thread(create, plane, f"{API}/namespaces/other/zones", "not-chosen")
    version = await asyncio.to_thread(create, plane, SPACE, "new")
    await capture.until_durable(f"{ZONES}@default", version)
    await capture.until(lambda status: any(part.state == "stopped" for part in status.parts), "the stream of the old scope is ended")
    await capture.stop()
    assert (await capture.folded(ZONES)).ended
    assert await planned(capture) == {("zones.extra.example.org", "default", "new")}


async def test_a_namespaced_kind_comes_back_cluster_scoped(start_cluster: Callable[..., ControlPlane]) -> None:
    """And the other way round."""
    plane = await asyncio.to_thread(lambda: start_cluster(definitions=[zones("Namespaced")]))
    capture = KubernetesCapture(config_for(plane, "default", resources=["*.example.org"], discovery_seconds=0.5))
    async with capture.running():
        await capture.until_durable(f"{ZONES}@default", await asyncio.to_thread(create, plane, SPACE, "old"))
        await asyncio.to_thread(exchange, plane, "Cluster")
        await capture.until_durable(ZONES, await asyncio.to_thread(create, plane, CLUSTER, "new"))
        await capture.until(lambda status: any(part.state == "stopped" for part in status.parts), "the stream of the old scope is ended")
    assert await planned(capture) == {("zones.extra.example.org", "", "new")}
