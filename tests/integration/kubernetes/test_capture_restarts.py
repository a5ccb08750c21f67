"""The archiver is killed before a list is complete, or what a verifying list found is settled."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from archiver.clock import SystemClock
from archiver.journal.entry import Kind
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definitions, path
from tests.servers.http_proxy import HttpFaultProxy
from tests.servers.kubernetes_capture import KubernetesCapture, config_for

TOOLS = "tools.proompteng.ai/tools"
ONLY_TOOLS = {"resources": ["tools.tools.proompteng.ai"], "custom_resource_definitions": False}


async def create(plane: ControlPlane, namespace: str, *names: str) -> str:
    """The resourceVersion of the last one."""

    def act() -> str:
        version = ""
        for name in names:
            made = plane.request("POST", path("Tool", namespace), custom_resource("Tool", namespace, name))
            version = made["metadata"]["resourceVersion"]
        return version

    return await asyncio.to_thread(act)


async def test_times_of_what_went_away_before_a_list_that_was_cut_off(start_cluster: Callable[..., ControlPlane]) -> None:
    """Killed in the middle of a list: what was deleted before that list was last known to exist when the watch last said anything."""
    plane = await asyncio.to_thread(lambda: start_cluster(definitions=definitions()))
    stream = f"{TOOLS}@default"
    trust = ssl.create_default_context(cafile=str(plane.ca))
    with HttpFaultProxy.start("127.0.0.1", plane.port, server_tls=trust) as proxy:
        kubeconfig = plane.kubeconfig_for(plane.admin_token, server=f"http://127.0.0.1:{proxy.port}")
        capture = KubernetesCapture(config_for(plane, "default", kubeconfig=str(kubeconfig), page_size=5, **ONLY_TOOLS))
        async with capture.running():
            await capture.until_durable(stream, await create(plane, "default", *(f"t{number}" for number in range(8))))
        known = SystemClock().now()
        await asyncio.sleep(0.1)
        await asyncio.to_thread(plane.request, "DELETE", path("Tool", "default", "t7"))
        deleted = SystemClock().now()
        await asyncio.to_thread(plane.restart_apiserver)
        # The second page never comes.
        proxy.answer(503, match=lambda request: "continue=" in request.target, times=None)
        await capture.start()
        await capture.until(lambda _: any("continue=" in request.target for request in proxy.requests), "the list is cut off")
        await asyncio.sleep(0.5)
        await capture.kill()
        proxy.reset()
        async with capture.running():
            pass
    (absent,) = await capture.records(stream, Kind.K8S_ABSENT)
    assert absent.name == "t7"
    assert 0 < absent.not_before <= known < deleted <= absent.not_after
    (gap,) = await capture.records(stream, Kind.GAP)
    assert 0 < gap.from_time <= known < deleted <= gap.to_time
