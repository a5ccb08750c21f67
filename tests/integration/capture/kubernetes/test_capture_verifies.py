"""Verifying lists beside a folded checkpoint: nothing of them is journaled but that they agreed, until something is missing."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from archiver.capture.kubernetes import folded_base
from archiver.clock import SystemClock
from archiver.journal.entry import Kind
from archiver.journal.keys import CHECKPOINTS
from archiver.journal.reader import Reader
from archiver.kubernetes.records import Verified
from archiver.maintenance.cluster_folding import fold_cluster
from archiver.replay.kubernetes.fold import read_streams
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.store.memory import MemoryStore
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, path
from tests.servers.kubernetes_capture import KubernetesCapture, config_for, objects, served

TOOLS = "tools.proompteng.ai/tools"


async def create(plane: ControlPlane, namespace: str, name: str) -> str:
    made = await asyncio.to_thread(plane.request, "POST", path("Tool", namespace), custom_resource("Tool", namespace, name))
    version: str = made["metadata"]["resourceVersion"]
    return version


class Verifying:
    """A capture of one kind that verifies all the time. The server tells idle watches that nothing happened once a minute only: something
    happens until what is waited for has.
    """

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace, self.stream = plane, namespace, f"{TOOLS}@{namespace}"
        only = {"resources": ["tools.tools.proompteng.ai"], "custom_resource_definitions": False}
        self.capture = KubernetesCapture(config_for(plane, namespace, verify_seconds=0.5, **only))
        self.made = 0

    async def something(self) -> None:
        self.made += 1
        version = await create(self.plane, self.namespace, f"t{self.made}")
        await self.capture.until_durable(self.stream, version)

    async def until_proofs(self, count: int) -> None:
        deadline = asyncio.get_running_loop().time() + 40
        while len(await self.proofs()) < count:
            assert asyncio.get_running_loop().time() < deadline
            await self.something()

    async def proofs(self) -> list[Verified]:
        runs = [placed.run for placed in await self.capture.entries(self.stream) if placed.run.kind is Kind.PROGRESS]
        return [msgspec.json.decode(body, type=Verified) for run in runs for body in run.bodies() if body]

    async def lists(self) -> int:
        return len(await self.capture.records(self.stream, Kind.CHECKPOINT))

    async def fold(self) -> None:
        reader = Reader(self.capture.store)
        assert (await fold_cluster(reader, SystemClock(), self.capture.name, until=await reader.last())).reason == ""

    async def agrees(self) -> None:
        """Restored with checkpoints and without them: what the API server has."""
        listed, _ = await asyncio.to_thread(served, self.plane, path("Tool", self.namespace))
        bare = MemoryStore()
        for key in await self.capture.store.list(""):
            if not key.startswith(CHECKPOINTS):
                await bare.put_if_absent(key, await self.capture.store.get(key) or b"")
        for store in (self.capture.store, bare):
            (found,) = await read_streams(Reader(store), self.capture.name, Cut())
            assert (objects(found.state), found.gaps) == (listed, [])


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folded_base, "LOOK_SECONDS", 0.0)


async def test_lists_are_journaled_only_where_no_checkpoint_serves(cluster: ControlPlane, namespace: str) -> None:
    """Without a checkpoint each one is. Behind one, each leaves a proof, also after the archiver was killed and began anew from the
    checkpoint. When the checkpoint is gone, they are journaled again.
    """
    world = Verifying(cluster, namespace)
    async with world.capture.running():
        await world.something()
        await world.capture.until(lambda status: status.restarts.get("list_verify", 0) >= 2, "lists")
        assert await world.proofs() == []
        await world.fold()
        await world.until_proofs(1)
        lists = await world.lists()
        await world.until_proofs(4)
        assert await world.lists() == lists
        await world.fold()
    await world.agrees()
    await world.capture.start()
    await world.capture.until_streaming()
    proofs = len(await world.proofs())
    await world.until_proofs(proofs + 2)
    await world.capture.kill()
    await world.agrees()
    for key in await world.capture.store.list(CHECKPOINTS):
        await world.capture.store.delete(key)
    async with world.capture.running():
        before = await world.lists()
        await world.capture.until(lambda status: status.restarts.get("list_verify", 0) >= 2, "lists")
        await world.something()
        assert await world.lists() >= before + 2
    assert not await world.capture.records(world.stream, Kind.GAP)


async def test_what_the_watch_missed_is_found_as_before(cluster: ControlPlane, namespace: str) -> None:
    """A list that is not journaled differs from what is known: the next one is, and tells what is gone and changed, with a gap."""
    world = Verifying(cluster, namespace)
    async with world.capture.running():
        await world.something()
        await world.fold()
        await world.until_proofs(1)
        # The server does not lose events on demand: what is known is spoilt instead.
        assert world.capture.source is not None
        known = world.capture.source._reflectors[f"kube/{world.stream}"]._journal._known.objects
        known[namespace, "ghost"] = ("no-such-uid", "1")
        while not await world.capture.records(world.stream, Kind.GAP):
            await world.something()
        proofs = len(await world.proofs())
        await world.until_proofs(proofs + 1)
    (gap,) = await world.capture.records(world.stream, Kind.GAP)
    assert gap.reason == "events_missed"
    assert [absent.name for absent in await world.capture.records(world.stream, Kind.K8S_ABSENT)] == ["ghost"]
    state = await world.capture.folded(world.stream)
    listed, _ = await asyncio.to_thread(served, cluster, path("Tool", namespace))
    assert (objects(state), state.disproved) == (listed, "")
