"""Folded checkpoints of a real cluster: whatever is restored with them equals what is restored from the journal alone."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from archiver.clock import SystemClock
from archiver.history.filed_streams import filed_streams
from archiver.history.object_at import ObjectAt, object_at
from archiver.history.objects import ObjectRef
from archiver.journal.keys import CHECKPOINTS
from archiver.journal.reader import Reader
from archiver.journal.verifier import verify
from archiver.maintenance.cluster_folding import fold_cluster
from archiver.maintenance.folded import NOTHING_NEW, Folded
from archiver.maintenance.object_history import add_object_history
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.restore import plan_cluster, restore_to_folder
from archiver.replay.kubernetes.selection import RestoreScope
from archiver.store.directory import DirectoryStore
from archiver.store.memory import MemoryStore
from archiver.store.protocol import Store
from tests.servers.agents_world import AgentsWorld
from tests.servers.controlplane import ControlPlane
from tests.servers.kubernetes_capture import KubernetesCapture, config_for


async def fold(capture: KubernetesCapture) -> Folded:
    """A checkpoint as near to the journal's end as can be."""
    reader = Reader(capture.store)
    return await fold_cluster(reader, SystemClock(), capture.name, until=await reader.last())


async def alone(store: Store) -> MemoryStore:
    """The archive without its checkpoints."""
    bare = MemoryStore()
    for key in await store.list(""):
        if not key.startswith(CHECKPOINTS):
            await bare.put_if_absent(key, await store.get(key) or b"")
    return bare


async def restored(store: Store, name: str, cut: Cut, folder: Path) -> tuple[dict[str, bytes], Any, list[int]]:
    """The files of a restore at a point, what its plan says of it, and the checkpoints that streams were read from."""
    prepared = await plan_cluster(Reader(store), name, cut, RestoreScope(), None, SystemClock())
    restore_to_folder(prepared, folder, allow_gaps=True)
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.suffix == ".yaml"}
    plan = prepared.plan
    streams = [(each.name, each.objects, each.entry, each.observed) for each in plan.streams]
    return files, (plan.gaps, plan.notes, plan.doubts(), plan.entry, plan.observed, streams), [each.checkpoint for each in plan.streams]


async def test_points_behind_a_checkpoint_are_as_without_it(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """Points before, at and behind checkpoints, across a restart of capture, a verifying list and new objects: the same files to the byte,
    the same doubts; `show` says the same; `verify` finds all of it whole.
    """
    world = AgentsWorld(cluster, namespace, seed=5)
    capture = KubernetesCapture(config_for(cluster, namespace))
    cuts: list[Cut] = []

    async def point() -> None:
        await world.settle(capture, scope=f"@{namespace}")
        assert capture.writer is not None
        cuts.extend((Cut(seq=capture.writer.durable_seq), Cut(time=SystemClock().now())))

    await asyncio.to_thread(world.churn, 20)
    async with capture.running():
        await asyncio.to_thread(world.churn, 30)
        await point()
        first = await fold(capture)
        assert (first.reason, first.rows > 0) == ("", True)
        await asyncio.to_thread(world.churn, 30)
        await point()
        again = await fold(capture)
        assert (again.reason, again.entry > first.entry) == ("", True)
        await asyncio.to_thread(world.churn, 20)
        await point()
    await asyncio.to_thread(world.churn, 20)
    async with capture.running():
        await point()
        assert (await fold(capture)).reason == ""
        await asyncio.to_thread(world.churn, 20)
        await point()
    await fold(capture)
    assert (await fold(capture)).reason == NOTHING_NEW
    bare = await alone(capture.store)
    used: set[int] = set()
    for number, cut in enumerate([*cuts, Cut()]):
        files, told, checkpoints = await restored(capture.store, capture.name, cut, tmp_path / f"with{number}")
        assert (files, told) == (await restored(bare, capture.name, cut, tmp_path / f"without{number}"))[:2], cut
        assert files
        used.update(checkpoints)
    assert used >= {first.entry, again.entry}
    runs = [key for key in files if "agentruns" in key]
    assert runs
    ref = ObjectRef("agentruns.agents.proompteng.ai", namespace, Path(runs[0]).stem)
    known = [await object_told(bare, capture.name, ref, cut) for cut in cuts]
    assert [await object_told(capture.store, capture.name, ref, cut) for cut in cuts] == known
    # So do history files, which are read where they tell it.
    assert (await add_object_history(Reader(bare), SystemClock(), capture.name)).done
    assert [await object_told(bare, capture.name, ref, cut) for cut in cuts] == known
    tail = await Reader(bare).tail()
    streams = {name for name in tail.sources if "/agentruns" in name} if tail else set()
    assert await filed_streams(Reader(bare), capture.name, streams, (namespace, ref.name), Cut()) is not None
    report = await verify(capture.store, deep=True)
    assert (report.ok, report.bad_checkpoints, report.checkpoints >= 3) == (True, [], True)


async def object_told(store: Store, source: str, ref: ObjectRef, cut: Cut) -> ObjectAt:
    """What is known of the object, without names that are near: those are of what was read for it."""
    known = await object_at(Reader(store), source, ref, cut)
    return msgspec.structs.replace(known, near=[])


async def test_the_command_folds_a_cluster(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """`maintain` folds it, `status` tells it, and a restore's plan says of each stream which checkpoint it was read from."""
    world = AgentsWorld(cluster, namespace, seed=6)
    capture = KubernetesCapture(config_for(cluster, namespace))
    async with capture.running():
        await asyncio.to_thread(world.churn, 20)
        await world.settle(capture, scope=f"@{namespace}")
    store = DirectoryStore(tmp_path / "archive")
    for key in await capture.store.list(""):
        await store.put_if_absent(key, await capture.store.get(key) or b"")

    def call(*words: str) -> Any:
        command = [sys.executable, "-m", "archiver", "--archive", (tmp_path / "archive").as_uri(), *words, "--json"]
        # A busy API server may have answered a list late, and the exit code then tells of that gap.
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)

    made, last = await asyncio.to_thread(call, "maintain", "--behind", "0")
    assert (made["source"], made["reason"], made["rows"] > 0, last["reason"]) == (capture.name, "", True, NOTHING_NEW)
    lines = (await asyncio.to_thread(call, "status", "--offline"))["sources"]
    assert {(line["folded"], line["tail_seconds"]) for line in lines} == {(made["entry"], 0)}
    shown = await asyncio.to_thread(call, "restore", "--source", capture.name, "--at", "latest", "--dry-run", "--to", str(tmp_path / "out"))
    text = json.dumps(shown)
    assert f'"checkpoint": {made["entry"]}' in text
