"""The queue between sockets and journal."""

from __future__ import annotations

import asyncio

import pytest

from archiver.capture.kubernetes.outbox import Outbox
from archiver.clock import SystemClock
from archiver.errors import Fenced
from archiver.journal.entry import Kind, Run
from archiver.journal.limits import WriterLimits
from archiver.journal.writer import Writer
from archiver.store.memory import MemoryStore

LIMITS = WriterLimits(puts_per_second=1000.0, put_burst=1000)


def run_of(size: int) -> Run:
    return Run.of("kube/g/things", Kind.K8S_EVENT, [b"x" * size], observed=1, position="1")


async def opened(store: MemoryStore, instance: str = "a") -> Writer:
    return await Writer.open(store, SystemClock(), instance=instance, version="0", sources={}, limits=LIMITS)


async def test_order_and_numbers() -> None:
    """Runs reach the journal in the order in which they were offered, waiting or not; numbers are the journal's."""
    writer = await opened(MemoryStore())
    outbox = Outbox(writer, 1000)
    pump = asyncio.create_task(outbox.run())
    outbox.offer(run_of(1))
    first = await outbox.send(run_of(1))
    outbox.offer(run_of(1))
    assert await outbox.empty() == first + 1
    pump.cancel()
    await asyncio.gather(pump, return_exceptions=True)


async def test_full_is_said_and_never_blocks() -> None:
    """Beyond its limit the queue takes what is offered all the same and says so; room comes when half of it is gone."""
    writer = await opened(MemoryStore())
    outbox = Outbox(writer, 4000)
    assert outbox.offer(run_of(3000))
    assert not outbox.offer(run_of(3000))
    waiting = asyncio.create_task(outbox.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    pump = asyncio.create_task(outbox.run())
    await asyncio.wait_for(waiting, 5)
    assert not outbox.full
    pump.cancel()
    await asyncio.gather(pump, return_exceptions=True)


async def test_what_ends_the_journal_ends_everyone_who_waits() -> None:
    """A fenced writer: the pump, who waits for a number, for room or for emptiness, and who offers later all get it."""
    store = MemoryStore()
    writer = await opened(store)
    commit = asyncio.create_task(writer.run())
    outbox = Outbox(writer, 1000)
    other = await Writer.open(store, SystemClock(), instance="a", version="0", sources={}, limits=LIMITS)
    assert other.epoch > writer.epoch
    await writer.append(run_of(1))
    with pytest.raises(Fenced):
        await commit
    waiting = [asyncio.create_task(each) for each in (outbox.send(run_of(1)), outbox.empty())]
    await asyncio.sleep(0)
    with pytest.raises(Fenced):
        await outbox.run()
    for task in waiting:
        with pytest.raises(Fenced):
            await task
    with pytest.raises(Fenced):
        outbox.offer(run_of(1))
