"""Waiting for the first of several tasks, ending tasks, and pauses that grow."""

from __future__ import annotations

import asyncio

import pytest

from archiver.errors import Unavailable
from archiver.waiting import GrowingPause, cancel, first_of, unless


async def test_the_first_to_end_is_told_and_the_rest_run_on() -> None:
    """Waiting neither cancels nor raises; nothing is told when the time passed first."""

    async def fail() -> None:
        raise Unavailable("away")

    failing, waiting = asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(3600))
    assert await first_of(failing, waiting) == {failing}
    assert isinstance(failing.exception(), Unavailable)
    assert not waiting.done()
    assert await first_of(waiting, seconds=0.01) == set()
    await cancel(waiting)


async def test_cancelled_tasks_have_ended_and_their_errors_are_dropped() -> None:
    """One that fails while it is cleaned up does not hide that the other has ended too."""

    async def fail_at_the_end() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise Unavailable("away")

    tasks = [asyncio.create_task(fail_at_the_end()), asyncio.create_task(asyncio.sleep(3600))]
    await asyncio.sleep(0)
    await cancel(*tasks)
    assert all(task.done() for task in tasks)


def test_a_pause_doubles_up_to_its_limit() -> None:
    """And begins again after a reset. A pause that is asked for at its longest doubles the next one too."""
    pause = GrowingPause(1.0, 5.0, least=1.0, most=1.0)
    assert [pause.next(0.5) for _ in range(4)] == [1.0, 2.0, 4.0, 5.0]
    pause.reset()
    assert [pause.next(0.5, at_longest=True), pause.next(0.5)] == [5.0, 2.0]


def test_chance_spreads_a_pause() -> None:
    """Between the least and the most share."""
    pause = GrowingPause(4.0, 4.0, least=0.75, most=1.25)
    assert [pause.next(0.0), pause.next(0.5)] == [3.0, 4.0]
    assert 4.9 < pause.next(0.99) < 5.0


async def test_work_that_ends_first() -> None:
    """Its result, or its error, is the answer; the other waiter leaves nothing behind."""

    async def work(error: Exception | None = None) -> int:
        await asyncio.sleep(0)
        if error:
            raise error
        return 7

    assert await unless(asyncio.Event(), work()) == 7
    with pytest.raises(Unavailable):
        await unless(asyncio.Event(), work(Unavailable("away")))
    assert len(asyncio.all_tasks()) == 1


async def test_a_stop_that_comes_first_cancels_the_work() -> None:
    """The work has ended, its own cleaning up included, when the answer comes."""
    stop, cleaned = asyncio.Event(), []

    async def work() -> int:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)
        return 7

    asyncio.get_running_loop().call_later(0.01, stop.set)
    assert await unless(stop, work()) is None
    assert cleaned == [True]


async def test_being_cancelled_cancels_the_work() -> None:
    """A second signal reaches what is under way."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    task = asyncio.create_task(unless(asyncio.Event(), work()))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
