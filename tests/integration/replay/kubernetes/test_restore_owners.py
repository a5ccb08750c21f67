"""Owners that stand behind what they own, or in a ring, and definitions that are on their way out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from archiver.clock import SystemClock
from archiver.errors import Refused
from archiver.journal.reader import Reader
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.restore import PreparedRestore, plan_cluster, restore_to_cluster
from archiver.replay.kubernetes.selection import RestoreScope
from archiver.replay.kubernetes.to_cluster import ClusterReport
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definitions, path
from tests.servers.kubernetes_capture import KubernetesCapture, config_for
from tests.servers.kubernetes_restore import api, extra_definitions

Start = Callable[..., ControlPlane]
ZONES = "/apis/extra.example.org/v1alpha1/zones"
NAMESPACES = "/api/v1/namespaces"


def tool() -> list[dict[str, Any]]:
    return [each for each in definitions() if each["spec"]["names"]["kind"] == "Tool"]


def own(plane: ControlPlane, place: str, owner: dict[str, Any]) -> None:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    patch = {"metadata": {"ownerReferences": [{**reference, "blockOwnerDeletion": True}]}}
    plane.request("PATCH", place, patch, content_type="application/merge-patch+json")


async def restored(capture: KubernetesCapture, target: ControlPlane, **options: Any) -> tuple[PreparedRestore, ClusterReport]:
    async with api(target) as server:
        prepared = await plan_cluster(Reader(capture.store), capture.name, Cut(), RestoreScope(), server, SystemClock(), **options)
        return prepared, await restore_to_cluster(server, prepared, SystemClock())


def owners(plane: ControlPlane, place: str) -> list[str]:
    return [each["uid"] for each in plane.request("GET", place)["metadata"].get("ownerReferences", [])]


async def test_owners_that_are_restored_later_are_put_back_too(start_cluster: Start) -> None:
    """A namespace that belongs to a custom resource, and two objects that own each other: all references come back, with the new UIDs."""
    source = await asyncio.to_thread(lambda: start_cluster(definitions=[*tool(), *extra_definitions()]))
    zone = source.request("POST", ZONES, {"apiVersion": "extra.example.org/v1alpha1", "kind": "Zone", "metadata": {"name": "z"}})
    source.request("POST", NAMESPACES, {"metadata": {"name": "owned"}})
    own(source, f"{NAMESPACES}/owned", zone)
    tools = {name: source.request("POST", path("Tool", "owned"), custom_resource("Tool", "owned", name)) for name in ("a", "b", "self")}
    for one, other in (("a", "b"), ("b", "a"), ("self", "self")):
        own(source, path("Tool", "owned", one), tools[other])
    capture = KubernetesCapture(config_for(source, resources=["*.proompteng.ai", "*.example.org", "namespaces"]))
    async with capture.running():
        pass
    target = await asyncio.to_thread(start_cluster)
    prepared, report = await restored(capture, target)
    assert prepared.plan.orphans == []
    assert (report.failures, report.differences, report.orphans) == ([], [], [])
    uids = {place: target.request("GET", place)["metadata"]["uid"] for place in (f"{ZONES}/z", *(path("Tool", "owned", n) for n in tools))}
    assert owners(target, f"{NAMESPACES}/owned") == [uids[f"{ZONES}/z"]]
    for one, other in (("a", "b"), ("b", "a"), ("self", "self")):
        assert owners(target, path("Tool", "owned", one)) == [uids[path("Tool", "owned", other)]]
    # Over what is there: the same again.
    _, again = await restored(capture, target, overwrite=True)
    assert (again.failures, again.differences, again.orphans) == ([], [], [])


async def test_a_definition_that_is_being_deleted_is_refused(start_cluster: Start) -> None:
    """It would take the restored objects with it; nothing is changed."""
    source = await asyncio.to_thread(lambda: start_cluster(definitions=tool()))
    source.request("POST", path("Tool", "default"), custom_resource("Tool", "default", "a"))
    capture = KubernetesCapture(config_for(source))
    async with capture.running():
        pass
    target = await asyncio.to_thread(lambda: start_cluster(definitions=tool()))
    held = custom_resource("Tool", "default", "held")
    held["metadata"]["finalizers"] = ["example.org/held"]
    target.request("POST", path("Tool", "default"), held)
    target.request("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tools.tools.proompteng.ai")
    with pytest.raises(Refused, match=r"tools\.tools\.proompteng\.ai is being deleted in the target"):
        await restored(capture, target)
    target.request(
        "PATCH", path("Tool", "default", "held"), {"metadata": {"finalizers": None}}, content_type="application/merge-patch+json"
    )
