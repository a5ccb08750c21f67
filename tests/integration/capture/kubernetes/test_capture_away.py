"""What happened while the archiver was away, or while the API server no longer had it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from archiver.clock import SystemClock
from archiver.journal.entry import Kind
from archiver.kubernetes.stream_state import UNWATCHED
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definition, definitions, path
from tests.servers.kubernetes_capture import KubernetesCapture, config_for, objects, served

TOOLS = "tools.proompteng.ai/tools"
ONLY_TOOLS = {"resources": ["tools.tools.proompteng.ai"]}


async def create(plane: ControlPlane, namespace: str, *names: str) -> list[Any]:
    def act() -> list[Any]:
        return [plane.request("POST", path("Tool", namespace), custom_resource("Tool", namespace, name, {"image": "a"})) for name in names]

    return await asyncio.to_thread(act)


async def delete(plane: ControlPlane, namespace: str, *names: str) -> None:
    def act() -> None:
        for name in names:
            plane.request("DELETE", path("Tool", namespace, name))

    await asyncio.to_thread(act)


async def agrees(capture: KubernetesCapture, plane: ControlPlane, namespace: str, stream: str = "") -> None:
    """The folded journal is what the API server lists."""
    listed, _ = await asyncio.to_thread(served, plane, path("Tool", namespace))
    state = await capture.folded(stream or f"{TOOLS}@{namespace}")
    assert state.complete
    assert objects(state) == listed


async def causes(capture: KubernetesCapture, stream: str) -> list[str]:
    return [watch.cause for watch in await capture.records(stream, Kind.K8S_WATCH)]


async def test_resume_brings_what_happened_while_away_as_events(cluster: ControlPlane, namespace: str) -> None:
    """As long as the server still has the position, nothing is listed again and nothing is a gap: deletions come as events."""
    stream = f"{TOOLS}@{namespace}"
    capture = KubernetesCapture(config_for(cluster, namespace, **ONLY_TOOLS))
    async with capture.running():
        await create(cluster, namespace, "a", "b")
        await capture.until(lambda status: status.frames == 2, "both were received")
    await delete(cluster, namespace, "a")
    await create(cluster, namespace, "a", "c")
    async with capture.running():
        await capture.until(lambda status: status.frames == 3, "what was missed arrives")
    await agrees(capture, cluster, namespace)
    assert await causes(capture, stream) == ["start", "resume"]
    assert not await capture.records(stream, Kind.GAP)
    assert not await capture.records(stream, Kind.K8S_ABSENT)


async def test_deletions_behind_an_expired_position_are_recorded_with_both_bounds(
    start_cluster: Callable[..., ControlPlane],
) -> None:
    """A restarted API server has forgotten the position: what is gone is an absence between two times, a new uid is an absence and an item."""
    plane = await asyncio.to_thread(lambda: start_cluster(definitions=definitions()))
    stream = f"{TOOLS}@default"
    capture = KubernetesCapture(config_for(plane, "default", **ONLY_TOOLS))
    await capture.start()
    await capture.until_streaming()
    made = await create(plane, "default", "kept", "gone", "again")
    await capture.until_durable(stream, made[-1]["metadata"]["resourceVersion"])
    clock = SystemClock()
    before = clock.now()
    await capture.kill()
    await delete(plane, "default", "gone", "again")
    renewed = (await create(plane, "default", "again"))[0]
    await asyncio.to_thread(plane.restart_apiserver)
    between = clock.now()
    async with capture.running():
        pass
    await agrees(capture, plane, "default")
    assert await causes(capture, stream) == ["start", "expired"]
    absent = {record.name: record for record in await capture.records(stream, Kind.K8S_ABSENT)}
    assert {name: record.uid for name, record in absent.items()} == {
        "gone": made[1]["metadata"]["uid"],
        "again": made[2]["metadata"]["uid"],
    }
    for record in absent.values():
        assert 0 < record.not_before <= before < between <= record.not_after
    assert objects(await capture.folded(stream))["default", "again"]["metadata"]["uid"] == renewed["metadata"]["uid"]
    (gap,) = await capture.records(stream, Kind.GAP)
    assert gap.reason == "watch_expired"
    assert gap.from_position == made[-1]["metadata"]["resourceVersion"]
    assert 0 < gap.from_time <= before < between <= gap.to_time


async def test_changed_schema_is_listed_again_and_named(start_cluster: Callable[..., ControlPlane]) -> None:
    """An update of a definition's schema ends the watch and its position: the stream lists again at once and says why."""
    plane = await asyncio.to_thread(lambda: start_cluster(definitions=definitions()))
    stream = f"{TOOLS}@default"
    capture = KubernetesCapture(config_for(plane, "default", **ONLY_TOOLS))
    changed = definition("tools.proompteng.ai", "Tool", {"image": {"type": "string"}, "added": {"type": "string"}})
    async with capture.running():
        await create(plane, "default", "before")
        await asyncio.to_thread(plane.apply, changed)
        await capture.until(lambda status: status.restarts.get("list_schema_changed", 0) == 1, "listed again", 15)
        await create(plane, "default", "after")
        await capture.until(lambda status: any(part.frames >= 2 for part in status.parts), "the event after it")
    await agrees(capture, plane, "default")
    assert await causes(capture, stream) == ["start", "schema_changed"]
    crds = await capture.folded("apiextensions.k8s.io/customresourcedefinitions")
    (crd,) = objects(crds).values()
    assert "added" in str(crd["spec"])
    assert crd["metadata"]["name"] == "tools.tools.proompteng.ai"


async def test_restarts_of_the_api_server_lose_nothing(start_cluster: Callable[..., ControlPlane]) -> None:
    """The API server is killed twice while objects change: the journal ends equal to it, and says where it may have missed states."""
    plane = await asyncio.to_thread(lambda: start_cluster(definitions=definitions()))
    capture = KubernetesCapture(config_for(plane, "default", **ONLY_TOOLS))
    stream = f"{TOOLS}@default"
    async with capture.running():
        for turn in range(2):
            await create(plane, "default", f"a{turn}", f"b{turn}")
            await asyncio.to_thread(plane.restart_apiserver, kill=True)
            await delete(plane, "default", f"a{turn}")
            last = (await create(plane, "default", f"c{turn}"))[0]
            await capture.until_durable(stream, last["metadata"]["resourceVersion"], 40)
    await agrees(capture, plane, "default")
    lists = await capture.records(stream, Kind.CHECKPOINT)
    # A slow machine needs so long for a restart that the silence itself is told as well.
    gaps = [gap for gap in await capture.records(stream, Kind.GAP) if gap.reason != UNWATCHED]
    assert len(gaps) == len(lists) - 1


async def test_a_rewound_etcd_opens_a_new_epoch(start_cluster: Callable[..., ControlPlane]) -> None:
    """etcd restored from a copy goes back in time: the capture that runs meanwhile begins a new epoch, and so does one that was away."""
    plane = await asyncio.to_thread(lambda: start_cluster(etcd_flags=[], definitions=definitions()))
    stream = f"{TOOLS}@default"
    await create(plane, "default", "old")
    await asyncio.to_thread(plane.keep)
    capture = KubernetesCapture(config_for(plane, "default", **ONLY_TOOLS))
    async with capture.running():
        lost = await create(plane, "default", *(f"lost{number}" for number in range(150)))
        await capture.until_durable(stream, lost[-1]["metadata"]["resourceVersion"])
        await asyncio.to_thread(plane.rewind)
        await create(plane, "default", "new")
        await capture.until(lambda status: status.restarts.get("list_cluster_changed", 0) >= 1, "a new epoch", 60)
        await capture.until(
            lambda status: any(part.name.endswith(stream) and part.state == "streaming" for part in status.parts), "watching"
        )
    await agrees(capture, plane, "default")
    assert {listing.epoch for listing in await capture.records(stream, Kind.CHECKPOINT)} == {0, 1}
    assert len(await capture.records(stream, Kind.K8S_ABSENT)) == 150
    assert "cluster_changed" in [gap.reason for gap in await capture.records(stream, Kind.GAP)]
    await create(plane, "default", *(f"more{number}" for number in range(150)))
    async with capture.running():
        await capture.until_durable(stream, "0")
        await capture.until(lambda status: status.frames >= 150, "they arrive")
    await asyncio.to_thread(plane.rewind)
    async with capture.running():
        pass
    await agrees(capture, plane, "default")
    assert (await capture.records(stream, Kind.CHECKPOINT))[-1].epoch == 2


@pytest.mark.parametrize("runs", [True, False])
async def test_a_rewind_that_is_overtaken_is_noticed_by_every_stream(start_cluster: Callable[..., ControlPlane], runs: bool) -> None:
    """etcd goes back a little, and other writes pass the version before the archiver asks, be it running or not: what the rewound cluster
    held at exactly the known position tells. All streams list anew, also one that lost nothing, and no ghost stays.
    """
    plane = await asyncio.to_thread(lambda: start_cluster(etcd_flags=[], definitions=definitions()))
    streams = [f"{TOOLS}@default", "agents.proompteng.ai/agents@default"]
    await create(plane, "default", "old")
    await asyncio.to_thread(plane.keep)
    resources = ["tools.tools.proompteng.ai", "agents.agents.proompteng.ai"]
    capture = KubernetesCapture(config_for(plane, "default", resources=resources, custom_resource_definitions=False))
    await capture.start()
    await capture.until_streaming()
    ghosts = await create(plane, "default", *(f"ghost{number}" for number in range(8)))
    newest = ghosts[-1]["metadata"]["resourceVersion"]
    await capture.until_durable(streams[0], newest)
    if not runs:
        await capture.stop()

    def rewind_and_overtake() -> None:
        plane.rewind()
        for number in range(40):
            plane.request("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": f"busy{number}"}})

    await asyncio.to_thread(rewind_and_overtake)
    if not runs:
        await capture.start()
    await capture.until(lambda status: status.restarts.get("list_cluster_changed", 0) == len(streams), "all list anew", 60)
    await capture.until_streaming()
    await capture.stop()
    await agrees(capture, plane, "default")
    assert {record.name for record in await capture.records(streams[0], Kind.K8S_ABSENT)} == {f"ghost{number}" for number in range(8)}
    for stream in streams:
        epochs = [listing.epoch for listing in await capture.records(stream, Kind.CHECKPOINT)]
        assert (set(epochs), epochs[-1]) == ({0, 1}, 1)
        assert "cluster_changed" in [gap.reason for gap in await capture.records(stream, Kind.GAP)]
