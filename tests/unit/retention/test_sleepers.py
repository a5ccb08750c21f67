"""Create-if-absent forgets deleted keys: whoever slept while numbers were filled and retired can create them again."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from archiver.errors import ArchiverError, Fenced
from archiver.journal.boundary import Boundary, Kept, Retired
from archiver.journal.keys import boundary_key, segment_key
from archiver.journal.reader import Reader
from archiver.journal.verifier import verify
from archiver.journal.writer import Writer
from archiver.store.memory import MemoryStore
from tests.simulation.loop import VirtualClock, inline, play
from tests.unit.journal.living import opened, run_of, running


class SleepyStore(MemoryStore):
    """``sleep`` is awaited before a segment is created, once: that is when its writer sleeps."""

    def __init__(self) -> None:
        super().__init__("sleepy")
        self.asleep, self.woken = asyncio.Event(), asyncio.Event()
        self.sleeper = -1

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        if key == segment_key(self.sleeper):
            self.sleeper = -1
            self.asleep.set()
            await self.woken.wait()
        return await super().put_if_absent(key, data)


async def written(writer: Writer, count: int) -> None:
    for _ in range(count):
        await writer.durable(await writer.append(run_of(position="1")))


async def retire(store: MemoryStore, first: int) -> None:
    """All before ``first`` goes, as a pass does it."""
    reader = Reader(store, offload=inline)
    end = await reader.before(first)
    fence = await reader.before(end.session + 1)
    boundary = Boundary(
        archive=end.archive,
        number=1,
        first=first,
        chain=end.chain.hex(),
        epoch=end.epoch,
        session=end.session,
        next=end.next,
        time=end.time,
        sources=dict(end.sources),
        kept=[Kept(end.session, end.session, fence.chain.hex())],
    )
    assert await store.put_if_absent(boundary_key(1), msgspec.json.encode(boundary))
    for number in set(range(first)) - {end.session}:
        await store.delete(segment_key(number))


@pytest.mark.parametrize("place", ["fence", "segment"])
def test_a_writer_that_slept_acknowledges_nothing(place: str) -> None:
    """Before its fence, or before a segment: it wakes up, creates a retired number, and ends. What it left is nothing to anybody."""

    async def story() -> None:
        store, clock = SleepyStore(), VirtualClock()
        first = await opened(store, clock=clock)
        async with running(first):
            await written(first, 2)
            await first.close()
        told: list[str] = []
        if place == "fence":
            # It has looked: segment 4 is free. Nothing tells it how long it slept, not even its own clocks.
            store.sleeper = 4
            sleeper: asyncio.Task[object] = asyncio.create_task(opened(store, instance="sleeper", clock=clock))
            await store.asleep.wait()
        else:
            writer = await opened(store, instance="sleeper", clock=clock)
            writer.on_durable("db", told.append)
            store.sleeper = 5
            sleeper = asyncio.create_task(_one(writer))
            await store.asleep.wait()
        await clock.sleep(100)
        other = await opened(store, instance="other", clock=clock)
        async with running(other):
            await written(other, 3)
            await other.close()
        other = await opened(store, instance="other", clock=clock)
        async with running(other):
            await written(other, 20)
            await retire(store, 15)
            store.woken.set()
            with pytest.raises(Fenced):
                await sleeper
            assert told == []
            assert store.peek(segment_key(4 if place == "fence" else 5)) is not None, "it did create the number"
            await written(other, 2)
        report = await verify(store, offload=inline, deep=True)
        assert (report.ok, report.strays, report.boundary != "") == (True, [], True)
        reader = Reader(store, offload=inline)
        assert {placed.segment async for placed in reader.read(15)} == set(range(15, await reader.last() + 1))
        with pytest.raises(Retired):
            await reader.segment(6)
        assert await reader.header(5) is None

    play(story())


async def _one(writer: Writer) -> None:
    async with running(writer):
        await written(writer, 1)


def test_a_writer_begins_where_the_journal_ends() -> None:
    """With the oldest segments gone, the end is found, the fence put, and the chain goes on."""

    async def story() -> None:
        store, clock = MemoryStore("x"), VirtualClock()
        for _ in range(3):
            writer = await opened(store, clock=clock)
            async with running(writer):
                await written(writer, 10)
                last = writer.durable_segment
                await writer.close()
            if await Reader(store, offload=inline).boundary() is None:
                await retire(store, last - 3)
        reader = Reader(store, offload=inline)
        assert await reader.last() == 35
        assert (await verify(store, offload=inline)).ok

    play(story())


def test_an_unreadable_boundary_stops_everything() -> None:
    """Nobody knows then where the archive begins: nothing is read, and nothing is written."""

    async def story() -> None:
        store, clock = MemoryStore("x"), VirtualClock()
        writer = await opened(store, clock=clock)
        async with running(writer):
            await written(writer, 10)
            await writer.close()
        await retire(store, 5)
        store.replace(boundary_key(1), b"{}")
        with pytest.raises(ArchiverError, match="boundaries"):
            await Reader(store, offload=inline).last()
        with pytest.raises(ArchiverError, match="boundaries"):
            await opened(store, clock=clock)
        assert not (await verify(store, offload=inline)).ok

    play(story())
