"""Signposts: the journal's end is found from them with as many calls in a long archive as in a short one, and never because of them."""

from __future__ import annotations

import asyncio

import pytest

from archiver.errors import Unavailable
from archiver.journal.keys import SEGMENTS, SIGNPOSTS, segment_key, signpost_key, signpost_number
from archiver.journal.last_segment import LastSegment, last_segment
from archiver.journal.segment import HEAD_MAGIC
from archiver.journal.signposts import EVERY, signposts
from archiver.journal.writer import Writer, WriterLimits
from archiver.store.memory import MemoryStore
from tests.simulation.loop import VirtualClock, inline, play
from tests.unit.journal.counting_store import CountingStore


def grown(count: int) -> CountingStore:
    """A journal of ``count`` beginnings of segments, with the signposts that a writer puts."""
    store = CountingStore()
    for number in range(count):
        store.create(segment_key(number), HEAD_MAGIC)
        if number and number % EVERY == 0:
            store.create(signpost_key(number), b"")
    return store


def found_in(store: MemoryStore, known: int = -1) -> LastSegment:
    return play(last_segment(store, known))


def test_keys_sort_the_newest_first() -> None:
    """What a listing begins with is the newest; other names are none."""
    assert sorted(map(signpost_key, range(100))) == [signpost_key(number) for number in reversed(range(100))]
    assert signpost_number(signpost_key(77)) == 77
    assert signpost_number(f"{SIGNPOSTS}x") is None


@pytest.mark.parametrize("extra", [0, 1, EVERY - 1])
def test_the_end_costs_the_same_however_long_the_journal_is(extra: int) -> None:
    """A listing for the newest signpost, a look at its segment, a listing behind it and one behind the end."""
    for length in (4, 40, 160):
        store = grown(length * EVERY + 1 + extra)
        assert found_in(store).number == length * EVERY + extra
        assert store.calls == {"list": 3, "get": 1}


def test_a_few_that_are_missing_cost_nothing() -> None:
    """A writer leaves out what it cannot put: one listing still has what is behind the newest."""
    store = grown(40 * EVERY)
    for number in (38, 39):
        store.replace(signpost_key(number * EVERY), None)
    assert found_in(store).number == 40 * EVERY - 1
    assert store.calls == {"list": 3, "get": 1}


def test_without_any_the_end_is_found_too() -> None:
    """As in an archive that an older program wrote."""
    store = grown(40 * EVERY)
    for key in store.names(SIGNPOSTS):
        store.replace(key, None)
    assert found_in(store).number == 40 * EVERY - 1
    assert store.calls.total() < 40


@pytest.mark.parametrize("lie", [EVERY * 2, 1 << 40, (1 << 64) - 1])
def test_one_that_lies_is_passed_over(lie: int) -> None:
    """It names what is not there: the next one counts, and without one the journal's beginning."""
    store = grown(EVERY + 10)
    store.create(signpost_key(lie), b"")
    store.create(f"{SIGNPOSTS}0-what-is-this", b"")
    assert found_in(store) == LastSegment(EVERY + 9)
    only = grown(10)
    only.create(signpost_key(lie), b"")
    assert found_in(only) == LastSegment(9)


def test_a_stray_at_its_place_is_no_segment() -> None:
    """What stands under a segment's number behind the end, and is none, does not become the end by a signpost."""
    store = grown(10)
    store.create(segment_key(500), b"x")
    store.create(signpost_key(500), b"")
    assert found_in(store) == LastSegment(9, None, (segment_key(500),))


def test_a_hole_behind_it_is_seen() -> None:
    """Segments behind a hole that a signpost does not leap over are found as without one."""
    store = grown(EVERY + 30)
    store.replace(segment_key(EVERY + 10), None)
    found = found_in(store)
    assert (found.number, found.beyond) == (EVERY + 9, EVERY + 29)
    assert found.hole is not None


def test_every_length_without_and_with_signposts() -> None:
    """The end is the same, wherever the search begins."""
    store = MemoryStore("growing")
    for number in range(60):
        store.create(segment_key(number), HEAD_MAGIC)
        assert found_in(store).number == number
        for known in {0, number // 2, number}:
            assert found_in(store, known).number == number


class Refusing(MemoryStore):
    """Puts no signposts while it ``refuses``."""

    refuses = True

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        if self.refuses and key.startswith(SIGNPOSTS):
            raise Unavailable("no")
        return await super().put_if_absent(key, data)


@pytest.mark.parametrize("refuses", [False, True])
def test_a_writer_puts_them(refuses: bool) -> None:
    """Each ``EVERY`` segments; where the store refuses them nothing else changes."""

    async def story() -> None:
        store = Refusing("refusing")
        store.refuses = refuses
        limits = WriterLimits(heartbeat_seconds=1)
        clock = VirtualClock()
        writer = await Writer.open(store, clock, instance="a", version="1", sources={}, limits=limits, offload=inline)
        commit = asyncio.create_task(writer.run())
        while writer.durable_segment < 2 * EVERY + 5:
            await clock.sleep(10)
        assert await signposts(store) == ([] if refuses else [2 * EVERY, EVERY])
        assert await writer.reader().last() == writer.durable_segment
        await writer.close()
        await commit
        assert len(store.names(SEGMENTS)) == writer.durable_segment + 1

    play(story())
