"""What a thread sets, a task sees."""

from __future__ import annotations

import asyncio

from archiver.capture.postgres.watch.thread_event import ThreadEvent


async def test_a_task_wakes_when_a_thread_sets_the_event() -> None:
    """Set in another thread, it is seen once and is clear again."""
    event = ThreadEvent()
    event.listen()
    await asyncio.to_thread(event.set)
    await asyncio.wait_for(event.wait(), 5)
    assert event.reset()
    assert not event.reset()


async def test_nobody_is_disturbed_before_somebody_listens() -> None:
    """Setting it before ``listen`` does nothing."""
    event = ThreadEvent()
    event.set()
    event.listen()
    await asyncio.sleep(0)
    assert not event.reset()


def test_setting_it_after_the_loop_is_closed_does_nothing() -> None:
    """The thread of the stream may end later than the loop."""
    event = ThreadEvent()

    async def listen() -> None:
        event.listen()

    asyncio.run(listen())
    event.set()
    assert not event.reset()
