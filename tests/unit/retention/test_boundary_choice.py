"""Where a boundary may stand, and what stays before it."""

from __future__ import annotations

import msgspec

from archiver.journal.extent import Extent, Span
from archiver.journal.keys import boundary_key, segment_key
from archiver.journal.reader import Reader
from archiver.journal.verifier import verify
from archiver.retention.boundary_choice import choose
from archiver.retention.departing import Departing
from archiver.retention.judging import Judged
from archiver.retention.needs import Need, lowered
from archiver.store.memory import MemoryStore
from tests.simulation.loop import VirtualClock, inline, play
from tests.unit.journal.living import opened, run_of, running


def test_needs_across_a_boundary_lower_it() -> None:
    """As far as they reach, one through another; what ends well before it does not."""
    needs = [Need(Span(40, 60), "a"), Need(Span(30, 41), "b"), Need(Span(10, 28), "c"), Need(Span(70, 99), "d")]
    assert lowered(50, needs) == (30, "b")
    assert lowered(29, needs) == (10, "c")
    assert lowered(65, needs) == (65, "")


def test_places_and_numbers() -> None:
    """Of kept spans and what follows the boundary."""
    extent = Extent(10, [Span(0, 1), Span(4, 6)])
    numbers = [0, 1, 4, 5, 6, 10, 11, 12]
    assert [extent.number(place) for place in range(8)] == numbers
    assert [extent.place(number) for number in numbers] == list(range(8))
    assert [number in extent for number in range(11)] == [n in numbers for n in range(11)]
    assert [extent.before(number) for number in (0, 1, 3, 4, 10, 12)] == [-1, 0, 1, 1, 6, 11]
    assert [extent.end_of_run(number) for number in (0, 5, 10)] == [1, 6, None]
    assert [extent.start_of_run(number) for number in (1, 6, 12)] == [0, 4, 10]
    assert [extent.starts_run(number) for number in (0, 1, 4, 10, 11)] == [False, False, True, True, False]


def test_marks_stand_in_what_stays() -> None:
    """Headers have the marks alone that changed: the boundary begins where all of them stand, and so do kept spans."""

    async def story() -> None:
        store, clock = MemoryStore("x"), VirtualClock()
        for _ in range(2):
            writer = await opened(store, clock=clock)
            async with running(writer):
                for number in range(60):
                    await writer.durable(await writer.append(run_of(position=str(number), source=f"s{number % 20}")))
                await writer.close()
        before = {number: await Reader(store, offload=inline).header(number) for number in range(100)}
        for most in (110, 100, 57, 80):
            reader = Reader(store, offload=inline)
            choice = await choose(reader, [Need(Span(37, 38), "somebody"), Need(Span(44, 44), "other")], most)
            assert choice.first <= most
            assert await reader.marks_of(choice.first) == choice.first
            tail = await reader.tail()
            assert tail is not None
            boundary = Judged(tail, choice, Departing(), {}, {}, 0.0, {}).boundary(1, "", {}, 1)
            twin = store.copy()
            twin.create(boundary_key(1), msgspec.json.encode(boundary))
            for number in range(choice.first):
                if number not in boundary.extent:
                    twin.replace(segment_key(number), None)
            there = Reader(twin, offload=inline)
            for number in range(100):
                assert await there.header(number) == (before[number] if number in boundary.extent else None)
            assert 37 in boundary.extent
            report = await verify(twin, offload=inline)
            assert (report.ok, report.strays) == (True, []), report.verdict

    play(story())
