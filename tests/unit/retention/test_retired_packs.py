"""Packs of retired segments go with them, and no reader takes anything from what is left."""

from __future__ import annotations

import msgspec
import pytest

from archiver.journal import whole_segments
from archiver.journal.boundary import Boundary, Retired, newest_boundary
from archiver.journal.keys import PACKS, SEGMENTS, boundary_key, hold_key, pack_key, segment_key
from archiver.journal.reader import Reader
from archiver.journal.verifier import verify
from archiver.maintenance.packing import pack_segments
from archiver.retention.clean_up import clean_up
from archiver.store.memory import MemoryStore
from tests.simulation.loop import VirtualClock, inline, play
from tests.unit.journal.forge import Forgery, frames

COUNT = 400
FIRST = 230


def journal() -> MemoryStore:
    forgery = Forgery()
    forgery.open()
    while forgery.number < COUNT:
        forgery.add(frames("db", str(forgery.number).encode(), position=str(forgery.number)))
    return forgery.store


async def packed(store: MemoryStore) -> None:
    async for _ in pack_segments(Reader(store, packs=False, offload=inline), VirtualClock(), span=100, behind=50):
        pass


async def retired(store: MemoryStore) -> Boundary:
    end = await Reader(store, offload=inline).before(FIRST)
    boundary = Boundary(
        archive=end.archive,
        number=1,
        first=FIRST,
        chain=end.chain.hex(),
        epoch=end.epoch,
        session=end.session,
        next=end.next,
        time=end.time,
        sources=dict(end.sources),
    )
    store.create(boundary_key(1), msgspec.json.encode(boundary))
    return boundary


def test_packs_go_with_their_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once nothing is held; also the one across the boundary, in which they would live on, and what stays is packed anew."""
    monkeypatch.setattr(whole_segments, "_LONG_WALK", 0)

    async def story() -> None:
        store = journal()
        await packed(store)
        assert store.names(PACKS) == [pack_key(at, at + 99) for at in (0, 100, 200)]
        boundary = await retired(store)
        store.create(hold_key("case"), b"{}")
        assert await clean_up(store, boundary) == 0
        assert len(store.names(PACKS)) == 3
        store.replace(hold_key("case"), None)
        assert await clean_up(store, boundary) == FIRST + 3
        assert (store.names(PACKS), store.names(SEGMENTS)[0]) == ([], segment_key(FIRST))
        await packed(store)
        assert store.names(PACKS) == [pack_key(FIRST, FIRST + 99)]
        reader = Reader(store, offload=inline)
        assert [placed.segment async for placed in reader.read(FIRST)] == list(range(FIRST, COUNT))
        with pytest.raises(Retired):
            await anext(reader.read(FIRST - 1))
        report = await verify(store, offload=inline)
        assert (report.ok, report.packs, report.bad_packs) == (True, 1, []), report.verdict
        assert await newest_boundary(store) == boundary
        await packed(store)
        assert store.names(PACKS) == [pack_key(FIRST, FIRST + 99)]

    play(story())


def test_a_slow_maintainer_leaves_nothing_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It slept while its segments were retired, and makes their pack then: nobody reads it, and the next pass deletes it."""
    monkeypatch.setattr(whole_segments, "_LONG_WALK", 0)

    async def story() -> None:
        store = journal()
        late = store.copy()
        await packed(late)
        boundary = await retired(store)
        await clean_up(store, boundary)
        store.create(pack_key(0, 99), late.peek(pack_key(0, 99)) or b"")
        reader = Reader(store, offload=inline)
        assert [placed.segment async for placed in reader.read(FIRST)] == list(range(FIRST, COUNT))
        report = await verify(store, offload=inline)
        assert (report.ok, report.packs, report.bad_packs) == (True, 0, []), report.verdict
        await clean_up(store, boundary)
        assert store.names(PACKS) == []

    play(story())
