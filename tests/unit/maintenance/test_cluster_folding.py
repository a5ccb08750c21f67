"""Folded checkpoints of made-up clusters: whatever is read with them is what is read from the journal alone."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from hypothesis import event, given, settings
from hypothesis import strategies as st

from archiver.clock import SystemClock
from archiver.errors import ArchiverError
from archiver.journal.entry import Kind
from archiver.journal.keys import CHECKPOINTS, PARTS, SEGMENTS
from archiver.journal.reader import Reader
from archiver.journal.verifier import verify
from archiver.kubernetes.records import Verified
from archiver.maintenance.cluster_folding import fold_cluster
from archiver.maintenance.folded import FOLDED_OTHERWISE, NOTHING_NEW, Folded
from archiver.replay.kubernetes.fold import read_streams
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.store.memory import MemoryStore
from tests.simulation.loop import inline
from tests.unit.replay.kubernetes.past import Past, Stream


def copy(store: MemoryStore, *, segments: int = 1 << 40, without: str = "nothing") -> MemoryStore:
    """The archive as it was after so many segments."""
    found = MemoryStore("copy")
    for number, key in enumerate(store.names("", "", None)):
        if not key.startswith(without) and not (key.startswith(SEGMENTS) and number > segments):
            found.create(key, store.peek(key) or b"")
    return found


async def fold(store: MemoryStore) -> Folded:
    reader = Reader(store, offload=inline)
    return await fold_cluster(reader, SystemClock(), "kube", until=await reader.last())


async def folded_at(past: Past, places: list[int]) -> MemoryStore:
    """The whole archive, with the checkpoints that a maintainer made when it had so many segments."""
    whole = copy(past.forgery.store)
    for place in sorted(places):
        then = copy(whole, segments=place)
        await fold(then)
        for key in then.names("", "", None):
            if key.startswith((CHECKPOINTS, PARTS)):
                whole.create(key, then.peek(key) or b"")
    return whole


async def seen(store: MemoryStore, cut: Cut) -> tuple[Any, int]:
    """All that a restore could tell of a point, or the error; how many streams began from a checkpoint."""
    try:
        folds = await read_streams(Reader(store, offload=inline), "kube", cut)
    except ArchiverError as error:
        return (type(error), error.message), 0
    told = [
        (
            each.name,
            each.entry,
            each.observed,
            each.gaps,
            each.notes,
            dict(sorted(each.state.objects.items())),
            (each.state.resource, each.state.namespace, each.state.cluster, each.state.server, each.state.epoch),
            (each.state.listing, each.state.ended, each.state.selected, each.state.unwatched, each.state.loose, each.state.complete),
        )
        for each in folds
    ]
    return told, sum(bool(each.checkpoint) for each in folds)


@given(st.integers(0, 2**32), st.integers(1, 60), st.data())
@settings(max_examples=60, deadline=None)
def test_every_point_is_as_without_checkpoints(seed: int, steps: int, data: st.DataObject) -> None:
    """Checkpoints made at any places of any history, each from the one before: the objects, their bytes and entries, what is not known and
    what is doubtful are the same at every point.
    """
    past = Past(seed).make(steps)
    places = data.draw(st.lists(st.integers(1, past.forgery.number), min_size=1, max_size=3))
    cuts = [Cut()]
    cuts += [Cut(seq=data.draw(st.integers(1, past.entry))) for _ in range(5)]
    cuts += [Cut(time=data.draw(st.integers(1000, past.now + 20))) for _ in range(5)]

    async def story() -> None:
        store = await folded_at(past, places)
        for cut in cuts:
            with_it, used = await seen(store, cut)
            assert with_it == (await seen(past.forgery.store, cut))[0], cut
            event(f"{used} streams from a checkpoint")
        report = await verify(store, deep=True)
        assert (report.ok, report.bad_checkpoints) == (True, [])
        assert report.checkpoints == len(store.names(CHECKPOINTS, "", None))

    asyncio.run(story())


@given(st.integers(0, 2**32), st.data())
@settings(max_examples=30, deadline=None)
def test_a_checkpoint_that_is_damaged_costs_time_only(seed: int, data: st.DataObject) -> None:
    """Whatever is done to a checkpoint or a part of it: the journal has all that it had, and ``verify`` names it."""
    past = Past(seed).make(50)

    async def story() -> None:
        store = await folded_at(past, [past.forgery.number])
        keys = [*store.names(CHECKPOINTS, "", None), *store.names(PARTS, "", None)]
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        whole = store.peek(key) or b""
        at = data.draw(st.integers(0, len(whole) - 1))
        other = data.draw(st.sampled_from([whole[:at], b"", whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], None]))
        store.replace(key, other)
        found, _ = await seen(store, Cut())
        if key.startswith(PARTS) or other is None or not other:
            assert found == (await seen(past.forgery.store, Cut()))[0]
            bad = [each.key for each in (await verify(store, deep=True)).bad_checkpoints]
            assert bad == store.names(CHECKPOINTS, "", None)

    asyncio.run(story())


def test_parts_of_kinds_that_did_not_change_are_kept() -> None:
    """A second fold writes the objects of streams with changes, and names the others' parts again; without news it makes nothing."""

    async def story() -> None:
        past = Past(7)
        for stream in past.streams:
            for _ in range(20):
                stream.live()
            past.times = past.times or [5]
            past.read(stream, "start")
        past.flush()
        first = await fold(past.forgery.store)
        assert (first.reason, first.kept, first.written > 0) == ("", 0, True)
        assert (await fold(past.forgery.store)).reason == NOTHING_NEW
        busy, idle = past.streams
        busy.live()
        past.add(busy, Kind.K8S_EVENT, [_line(busy)], position=busy.versions[-1][3])
        past.add(idle, Kind.PROGRESS, [b""], position=idle.version(len(idle.versions)))
        past.flush()
        second = await fold(past.forgery.store)
        assert (second.reason, second.kept > 0, second.written > 0) == ("", True, True)
        assert second.written < first.written

    asyncio.run(story())


def test_a_checkpoint_that_is_not_what_the_source_had_is_passed_over() -> None:
    """It is whole, and its objects are others than a verifying list found since: the journal is read without it. Where that says the same,
    it is a doubt, and no new checkpoint is made of it.
    """

    async def story() -> None:
        past = Past(7)
        stream = past.streams[0]
        for _ in range(20):
            stream.live()
        past.times = [5]
        past.read(stream, "start")
        past.flush()
        store = past.forgery.store
        assert (await fold(store)).reason == ""
        key = store.names(CHECKPOINTS, "", None)[0]
        made = msgspec.json.decode(store.peek(key) or b"")
        made["streams"][0] |= {"parts": [], "count": 0}
        store.replace(key, msgspec.json.encode(made))
        past.verified(stream)
        past.flush()
        found, used = await seen(store, Cut())
        assert (found, used) == ((await seen(copy(store, without=CHECKPOINTS), Cut()))[0], 0)
        assert found[0][3] == []
        past.add(stream, Kind.PROGRESS, [msgspec.json.encode(Verified("99", 1, "0" * 64))])
        past.flush()
        [told], _ = await seen(store, Cut())
        assert [gap.partition(":")[0] for gap in told[3]] == ["it is not what the source had"]
        assert (await fold(store)).reason == FOLDED_OTHERWISE.format(stream=stream.name)
        assert store.names(CHECKPOINTS, "", None) == [key]

    asyncio.run(story())


def _line(stream: Stream) -> bytes:
    kind, name, uid, version = stream.versions[-1]
    object_ = {"metadata": {"name": name, "namespace": "n", "uid": uid, "resourceVersion": version}}
    return msgspec.json.encode({"type": kind, "object": object_})
