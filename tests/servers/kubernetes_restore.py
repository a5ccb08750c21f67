"""A capture of a living cluster with a chosen point in the middle, made once and restored by many tests."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archiver.clock import SystemClock
from archiver.journal.reader import Reader
from archiver.kubernetes.api import Api
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.restore import PreparedRestore, plan_cluster, restore_to_cluster
from archiver.replay.kubernetes.selection import RestoreScope
from archiver.replay.kubernetes.to_cluster import ClusterReport
from archiver.store.protocol import Store
from tests.servers.agents_world import FINALIZER, AgentsWorld, Identity, snapshot
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import TEXT, custom_resource, definition, path
from tests.servers.kubernetes_capture import KubernetesCapture, config_for

EVERYTHING = RestoreScope()


@dataclass
class Captured:
    """A store, and what the API server held at the point."""

    plane: ControlPlane
    store: Store
    name: str
    spaces: tuple[str, str]
    """The world's namespace, and one with a few objects of special kinds."""
    time: int
    entry: int
    wanted: dict[Identity, dict[str, Any]] = field(default_factory=dict)
    """The world's objects at the point."""
    special: dict[str, dict[str, Any]] = field(default_factory=dict)
    """URL path -> object at the point: kinds without status subresource, cluster-scoped ones, one that was being deleted, and its child."""

    @property
    def cut(self) -> Cut:
        return Cut(time=self.time)

    @property
    def world(self) -> RestoreScope:
        return RestoreScope(namespaces=frozenset({self.spaces[0]}))

    async def plan(
        self, server: Api | None, scope: RestoreScope = EVERYTHING, *, cut: Cut | None = None, **options: Any
    ) -> PreparedRestore:
        return await plan_cluster(Reader(self.store), self.name, cut or self.cut, scope, server, SystemClock(), **options)

    async def restore(
        self, plane: ControlPlane | Path, scope: RestoreScope = EVERYTHING, *, cut: Cut | None = None, **options: Any
    ) -> tuple[PreparedRestore, ClusterReport]:
        async with api(plane) as server:
            prepared = await self.plan(server, scope, cut=cut, **options)
            return prepared, await restore_to_cluster(server, prepared, SystemClock())


@contextlib.asynccontextmanager
async def api(plane: ControlPlane | Path) -> AsyncIterator[Api]:
    """The product's own client for a control plane, or for a kubeconfig."""
    opened = await Api.open(SystemClock(), kubeconfig=str(plane.kubeconfig if isinstance(plane, ControlPlane) else plane))
    try:
        yield opened
    finally:
        await opened.close()


def extra_definitions() -> list[dict[str, Any]]:
    """A kind whose status is a field like any other, and a cluster-scoped kind."""
    plain = definition("extra.example.org", "Plain", {"text": TEXT})
    del plain["spec"]["versions"][0]["subresources"]
    zone = definition("extra.example.org", "Zone", {"text": TEXT})
    zone["spec"]["scope"] = "Cluster"
    return [plain, zone]


def capture_world(plane: ControlPlane) -> Captured:
    """Churn, the point, more churn and a disaster, all captured. Takes about ten seconds."""
    return asyncio.run(_capture_world(plane))


async def _capture_world(plane: ControlPlane) -> Captured:
    first, second = (f"t-{uuid.uuid4().hex[:10]}" for _ in range(2))
    for name in (first, second):
        plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    plane.apply(*extra_definitions())
    world = AgentsWorld(plane, first, seed=1)
    await asyncio.to_thread(world.churn, 20)
    capture = KubernetesCapture(config_for(plane, resources=["*.proompteng.ai", "*.example.org"]))
    async with capture.running():
        special = await asyncio.to_thread(_special, plane, second)
        await asyncio.to_thread(world.churn, 100)
        wanted = await world.settle(capture)
        assert capture.writer is not None
        captured = Captured(
            plane, capture.store, capture.name, (first, second), SystemClock().now(), capture.writer.durable_seq, wanted, special
        )
        await asyncio.to_thread(world.churn, 40)
        await asyncio.to_thread(_disaster, plane, captured)
        await world.settle(capture)
    return captured


def _special(plane: ControlPlane, namespace: str) -> dict[str, dict[str, Any]]:
    plains = f"/apis/extra.example.org/v1alpha1/namespaces/{namespace}/plains"
    zones = "/apis/extra.example.org/v1alpha1/zones"
    head = {"apiVersion": "extra.example.org/v1alpha1"}
    plane.request("POST", plains, head | {"kind": "Plain", "metadata": {"name": "p"}, "spec": {"text": "t"}, "status": {"phase": "Done"}})
    zone = plane.request("POST", zones, head | {"kind": "Zone", "metadata": {"name": "z"}, "spec": {"text": "t"}})
    plane.request("PUT", f"{zones}/z/status", zone | {"status": {"phase": "Up"}})
    run = custom_resource("AgentRun", namespace, "dying", {"agentRef": {"name": "a"}})
    run["metadata"]["finalizers"] = [FINALIZER]
    dying = plane.request("POST", path("AgentRun", namespace), run)
    plane.request("POST", path("ToolRun", namespace), custom_resource("ToolRun", namespace, "child", owner=dying))
    plane.request("DELETE", path("AgentRun", namespace, "dying"))
    owner = plane.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/zones.extra.example.org")
    plane.request("POST", path("ToolRun", namespace), custom_resource("ToolRun", namespace, "of-definition", owner=owner))
    places = [f"{plains}/p", f"{zones}/z", path("AgentRun", namespace, "dying"), path("ToolRun", namespace, "child")]
    return {place: plane.request("GET", place) for place in places}


def _disaster(plane: ControlPlane, captured: Captured) -> None:
    """All runs of the world are gone, and one kind with all of its objects."""
    for kind in ("AgentRun", "Signal"):
        for _, namespace, name in snapshot(plane, captured.spaces[0], (kind,)):
            plane.request("DELETE", path(kind, namespace, name))
    plane.request("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/zones.extra.example.org")
