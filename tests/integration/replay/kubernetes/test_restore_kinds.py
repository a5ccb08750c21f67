"""A kind that the target does not serve, or does not let its user see, costs its own objects and no others."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from archiver.clock import SystemClock
from archiver.errors import Refused
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import TEXT, definition
from tests.servers.http_proxy import HttpFaultProxy, Request
from tests.servers.kubernetes_capture import KubernetesCapture, config_for
from tests.servers.kubernetes_restore import Captured

Start = Callable[..., ControlPlane]
GROUP = "kinds.example.org"
HAMMER, NAIL = f"hammers.{GROUP} default/x", f"nails.{GROUP} default/x"


def defined(kind: str, **names: str) -> dict[str, Any]:
    found = definition(GROUP, kind, {"text": TEXT})
    found["spec"]["names"] |= names
    found["metadata"]["name"] = f"{found['spec']['names']['plural']}.{GROUP}"
    return found


def collection(plural: str, version: str = "v1alpha1") -> str:
    return f"/apis/{GROUP}/{version}/namespaces/default/{plural}"


async def captured(start: Start) -> Captured:
    """Two kinds with an object each, and a definition that came too late for its names."""
    plane = await asyncio.to_thread(start, definitions=[defined("Hammer"), defined("Nail")])
    for kind in ("Hammer", "Nail"):
        thing = {"apiVersion": f"{GROUP}/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": {"text": "t"}}
        plane.request("POST", collection(f"{kind.lower()}s"), thing)
    late = defined("Hammer", plural="ahammers", singular="ahammer")
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    plane.request("POST", definitions, late)
    capture = KubernetesCapture(config_for(plane, resources=["*.example.org"]))
    async with asyncio.timeout(20):
        while "conditions" not in (there := plane.request("GET", f"{definitions}/ahammers.{GROUP}")).get("status", {}):
            await asyncio.sleep(0.05)
    async with capture.running():
        await capture.until_durable("apiextensions.k8s.io/customresourcedefinitions", there["metadata"]["resourceVersion"])
    return Captured(plane, capture.store, capture.name, ("default", "default"), SystemClock().now(), 0)


async def test_a_definition_that_is_never_served_costs_its_own_objects(start_cluster: Start) -> None:
    """Its names are another one's: the dry run says so, and the restore at once. Who had the names when captured has them again."""
    past = await captured(start_cluster)
    empty = await asyncio.to_thread(start_cluster)
    prepared, report = await past.restore(empty, ask_target=True)
    assert (prepared.plan.would_fail, report.problems, report.created) == ([], [], 5)
    assert [item["metadata"]["name"] for item in empty.request("GET", collection("hammers"))["items"]] == ["x"]

    taken = await asyncio.to_thread(start_cluster, definitions=[defined("Hammer", plural="others", singular="other")])
    prepared, report = await past.restore(taken, ask_target=True)
    assert [line for line in prepared.plan.would_fail if line.startswith(f"customresourcedefinitions.apiextensions.k8s.io hammers.{GROUP}")]
    (failure,) = report.problems
    assert failure.startswith(f"{HAMMER}: its kind is not served: its names are taken by another definition: ")
    assert [item["metadata"]["name"] for item in taken.request("GET", collection("nails"))["items"]] == ["x"]


async def test_another_version_is_named_before_anything_is_written(start_cluster: Start) -> None:
    """The target's definition stays: what it does not serve cannot be written, and its versions are told."""
    past, newer = await captured(start_cluster), defined("Hammer")
    newer["spec"]["versions"][0]["name"] = "v2"
    target = await asyncio.to_thread(start_cluster, definitions=[newer])
    with pytest.raises(Refused, match=rf"hammers.{GROUP} \(its definition serves it as v2, and it was captured as v1alpha1\)"):
        await past.restore(target)
    there = target.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"]
    assert [each["metadata"]["name"] for each in there] == [f"hammers.{GROUP}"]


async def test_a_kind_that_cannot_be_compared_costs_no_report(start_cluster: Start) -> None:
    """Rights that end on the way, or a conversion: what was written is told, and of which kind nobody looked."""
    past, target, written = await captured(start_cluster), await asyncio.to_thread(start_cluster), asyncio.Event()

    def unseen(request: Request) -> bool:
        if request.method == "POST" and request.target.startswith(collection("nails")):
            written.set()
        return written.is_set() and request.method == "GET" and "/nails?limit=" in request.target

    with HttpFaultProxy.start("127.0.0.1", target.port, server_tls=ssl.create_default_context(cafile=str(target.ca))) as proxy:
        proxy.answer(403, match=unseen, times=None)
        kubeconfig = target.kubeconfig_for(target.admin_token, server=f"http://127.0.0.1:{proxy.port}")
        _, report = await past.restore(kubeconfig)
    assert report.problems == [f"nails.{GROUP}: what was written of it cannot be compared: 403"]
    assert report.created == 5
