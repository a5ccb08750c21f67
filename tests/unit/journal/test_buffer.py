"""The bounded buffer, against a model of it."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.errors import Unavailable
from archiver.journal.buffer import Buffer, weight
from archiver.journal.entry import Run
from tests.simulation.loop import play
from tests.unit.journal.forge import frames

LIMIT, SEGMENT = 2000, 700


@given(st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_order_numbers_and_bounds(seed: int) -> None:
    """Runs leave in the order of the calls, numbered without holes; what is held stays in its bound, and nobody waits for ever."""

    async def story() -> None:
        rng = random.Random(seed)
        buffer = Buffer(LIMIT, SEGMENT, 5, lambda: None)
        offered: list[tuple[Run, int | asyncio.Future[int]]] = []
        taken: list[Run] = []
        outstanding: list[tuple[int, int]] = []
        released = 0

        def send() -> None:
            runs, size = buffer.take()
            assert size == sum(map(weight, runs))
            assert size <= SEGMENT or len(runs) == 1
            taken.extend(runs)
            outstanding.append((size, len(runs)))

        for _ in range(rng.randint(1, 60)):
            what = rng.random()
            if what < 0.6:
                run = frames(f"s{len(offered)}", *[b"x" * rng.choice([0, 10, 300, 5000])] * rng.randint(1, 3))
                offered.append((run, buffer.offer(run)))
            elif what < 0.75 and buffer.pending:
                send()
            elif what < 0.95 and outstanding:
                size, count = outstanding.pop(0)
                buffer.release(size)
                released += count
            elif isinstance(place := rng.choice(offered)[1] if offered else 0, asyncio.Future):
                place.cancel()
            admitted = sum(isinstance(place, int) or (place.done() and not place.cancelled()) for _, place in offered)
            assert buffer.held_bytes <= LIMIT or admitted - released == 1
        while outstanding or buffer.pending:
            if buffer.pending:
                send()
            buffer.release(outstanding.pop(0)[0])
        assert buffer.empty
        assert buffer.held_bytes == 0
        await asyncio.sleep(0)
        kept = [(run, place) for run, place in offered if isinstance(place, int) or not place.cancelled()]
        assert taken == [run for run, _ in kept]
        following = 5
        for run, place in kept:
            assert (place if isinstance(place, int) else place.result()) == following
            following += run.count

    play(story())


def test_failing_reaches_everybody() -> None:
    """Whoever waits when the writer ends gets its error; who gave up is left alone."""

    async def story() -> None:
        buffer = Buffer(LIMIT, SEGMENT, 1, lambda: None)
        places = [buffer.offer(frames("db", b"x" * 1500)) for _ in range(4)]
        assert places[0] == 1
        waiting = [place for place in places if isinstance(place, asyncio.Future)]
        waiting[0].cancel()
        error = Unavailable("gone")
        buffer.fail(error)
        assert [place.exception() for place in waiting[1:]] == [error, error]
        assert waiting[0].cancelled()

    play(story())
