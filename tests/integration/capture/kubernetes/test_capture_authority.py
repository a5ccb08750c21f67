"""The API server's certificate and its authority are exchanged while it is watched."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable

import pytest

from archiver.errors import Unavailable
from archiver.journal.entry import Kind
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definitions, path
from tests.servers.kubernetes_capture import KubernetesCapture, config_for

TOOLS = "tools.proompteng.ai/tools"


async def test_a_new_authority_is_taken_over(start_cluster: Callable[..., ControlPlane]) -> None:
    """The file that the kubeconfig names holds the new authority: the source says so and, begun anew, goes on in the same epoch."""
    plane = await asyncio.to_thread(lambda: start_cluster(definitions=definitions()))
    stream = f"{TOOLS}@default"
    capture = KubernetesCapture(config_for(plane, "default", resources=["tools.tools.proompteng.ai"], discovery_seconds=0.5))

    def create(name: str) -> str:
        made = plane.request("POST", path("Tool", "default"), custom_resource("Tool", "default", name))
        version: str = made["metadata"]["resourceVersion"]
        return version

    def exchange() -> None:
        plane.stop_apiserver()
        shutil.rmtree(plane.ca.parent)
        plane.start_apiserver()

    await capture.start()
    await capture.until_streaming()
    await capture.until_durable(stream, await asyncio.to_thread(create, "before"))
    await asyncio.to_thread(exchange)
    with pytest.raises(Unavailable, match="other certificates are configured"):
        await capture.until(lambda _: False, "the exchange is noticed")
    await capture.kill()
    async with capture.running():
        await capture.until_durable(stream, await asyncio.to_thread(create, "after"))
    assert {listing.epoch for listing in await capture.records(stream, Kind.CHECKPOINT)} == {0}
