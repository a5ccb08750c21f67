"""The archiver is killed before a list is complete, or what a verifying list found is concluded."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from archiver.capture.kubernetes.stream_journal import StreamJournal
from archiver.clock import SystemClock
from archiver.journal.entry import Kind
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definitions, path
from tests.servers.http_proxy import HttpFaultProxy
from tests.servers.kubernetes_capture import KubernetesCapture, config_for

TOOLS = "tools.proompteng.ai/tools"
STREAM = f"{TOOLS}@default"
LOST = [f"lost{number}" for number in range(100)]
ONLY_TOOLS: dict[str, Any] = {"resources": ["tools.tools.proompteng.ai"], "custom_resource_definitions": False}


async def create(plane: ControlPlane, namespace: str, *names: str) -> str:
    """The resourceVersion of the last one."""

    def act() -> str:
        version = ""
        for name in names:
            made = plane.request("POST", path("Tool", namespace), custom_resource("Tool", namespace, name))
            version = made["metadata"]["resourceVersion"]
        return version

    return await asyncio.to_thread(act)


async def verified(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> KubernetesCapture:
    """A capture whose verifying list has just found that the cluster was rewound and has moved on beyond its position: nothing else shows
    that the objects ``lost…`` are gone, as if the comparison at the start had missed it. The watch has not passed the list.
    """
    monkeypatch.setattr(StreamJournal, "agrees", lambda *_: True)
    await create(plane, "default", "a")
    await asyncio.to_thread(plane.keep)
    capture = KubernetesCapture(config_for(plane, "default", verify_seconds=3600.0, **ONLY_TOOLS))
    async with capture.running():
        position = await create(plane, "default", *LOST)
        await capture.until_durable(STREAM, position)
    await asyncio.to_thread(plane.rewind)
    version = number = 0
    while version < int(position) + 5:
        number += 1
        version = int(await create(plane, "default", f"b{number}"))
    capture.config = msgspec.structs.replace(capture.config, verify_seconds=1.0)
    await capture.start()
    await capture.until(lambda status: status.frames > 0, "the watch goes on")
    await asyncio.to_thread(plane.request, "POST", "/api/v1/namespaces", {"metadata": {"name": "beside"}})
    await capture.until(lambda status: status.restarts.get("list_verify", 0) == 1, "the list")
    await asyncio.sleep(0.3)
    assert not await capture.records(STREAM, Kind.GAP)
    assert (await capture.records(STREAM, Kind.CHECKPOINT))[-1].cause == "verify"
    return capture


async def tells_what_was_missed(capture: KubernetesCapture, reason: str) -> None:
    (gap,) = await capture.records(STREAM, Kind.GAP)
    assert gap.reason == reason
    assert f"{len(LOST)} gone" in gap.detail
    first, *_ = await capture.records(STREAM, Kind.CHECKPOINT)
    assert gap.from_position == first.resource_version
    absent = await capture.records(STREAM, Kind.K8S_ABSENT)
    assert {record.name for record in absent} == set(LOST)
    assert {record.not_before for record in absent} == {gap.from_time}


async def test_what_a_verifying_list_found_is_told_after_a_restart(
    start_cluster: Callable[..., ControlPlane], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the watch has passed a verifying list, the next run still says what was missed, and which objects are gone."""
    plane = await asyncio.to_thread(lambda: start_cluster(etcd_flags=[], definitions=definitions()))
    capture = await verified(plane, monkeypatch)
    await capture.kill()
    capture.config = msgspec.structs.replace(capture.config, verify_seconds=3600.0)
    async with capture.running():
        await capture.until_durable(STREAM, await create(plane, "default", "later"))
        await capture.until(lambda status: status.gaps == 1, "the difference is told", 10)
    await tells_what_was_missed(capture, "events_missed")


async def test_what_a_verifying_list_found_is_told_when_the_watch_cannot_go_on(
    start_cluster: Callable[..., ControlPlane], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server forgets the position before the watch has passed a verifying list: the gap holds what that list found, too."""
    plane = await asyncio.to_thread(lambda: start_cluster(etcd_flags=[], definitions=definitions()))
    capture = await verified(plane, monkeypatch)
    await asyncio.to_thread(plane.restart_apiserver)
    await capture.until(lambda status: status.restarts.get("list_expired", 0) == 1, "listed again")
    await capture.stop()
    await tells_what_was_missed(capture, "watch_expired")


async def test_a_restart_after_a_verifying_list_goes_on(cluster: ControlPlane, namespace: str) -> None:
    """Killed after a verifying list of an idle stream: the next run goes on from the position, lists nothing and tells no gap."""
    stream = f"{TOOLS}@{namespace}"
    await create(cluster, namespace, "a")
    capture = KubernetesCapture(config_for(cluster, namespace, verify_seconds=1.0, **ONLY_TOOLS))
    await capture.start()
    await capture.until(lambda status: status.restarts.get("list_verify", 0) == 2, "verifying lists")
    await asyncio.sleep(0.3)
    await capture.kill()
    capture.config = msgspec.structs.replace(capture.config, verify_seconds=3600.0)
    async with capture.running():
        await capture.until_durable(stream, await create(cluster, namespace, "b"))
    assert [watch.cause for watch in await capture.records(stream, Kind.K8S_WATCH)][-1] == "resume"
    assert not await capture.records(stream, Kind.GAP)


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
