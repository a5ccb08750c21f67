"""Steps of the clock as entries, and an RPO that they do not touch."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec
import pytest

from archiver.clock import HeldClock
from archiver.journal.entry import Kind, Run
from archiver.journal.reader import Reader
from archiver.journal.records import ClockStep
from archiver.journal.writer import Writer, WriterLimits
from archiver.service.clock_steps import record_steps
from archiver.store.memory import MemoryStore
from tests.simulation.loop import VirtualClock, inline, play
from tests.unit.journal.living import LIMITS, opened, running


class Stepping(VirtualClock):
    """A clock that can be set."""

    ahead = 0

    def now(self) -> int:
        return super().now() + self.ahead


async def _steps(store: MemoryStore) -> list[ClockStep]:
    return [
        msgspec.json.decode(body, type=ClockStep)
        async for placed in Reader(store, offload=inline).read()
        if placed.run.kind is Kind.CLOCK
        for body in placed.run.bodies()
    ]


async def _recorded(writer: Writer, clock: VirtualClock | HeldClock, seconds: float) -> None:
    recording = asyncio.create_task(record_steps(writer, clock))
    await asyncio.sleep(seconds)
    recording.cancel()
    with suppress(asyncio.CancelledError):
        await recording


def test_a_step_is_an_entry_and_times_go_on() -> None:
    """While the clock is a day ahead, what is received is dated by the time that passed."""

    async def story() -> None:
        store, machine = MemoryStore(), Stepping()
        clock = HeldClock(machine)
        writer = await Writer.open(store, clock, instance="a", version="1", sources={}, limits=WriterLimits(**LIMITS), offload=inline)
        async with running(writer):
            machine.ahead = 86_400_000_000
            await _recorded(writer, clock, 3)
            machine.ahead = 0
            await _recorded(writer, clock, 3)
            await writer.durable(await writer.append(Run.of("db", Kind.PROGRESS, [b""], observed=clock.now())))
        assert [(each.step, each.believed, each.reason) for each in await _steps(store)] == [
            (86_400_000_000, False, "set"),
            (0, False, "set"),
        ]
        assert writer.last_commit < machine.now() + 1_000_000

    play(story())


def test_a_clock_behind_the_journal_is_an_entry_and_hides_no_age() -> None:
    """An earlier writer was a day ahead: what it received has no age that could be known, what is received now has."""

    async def story() -> None:
        store = MemoryStore()
        ahead = VirtualClock(VirtualClock().start + 86_400_000_000)
        first = await opened(store, clock=ahead)
        async with running(first):
            await first.durable(await first.append(Run.of("db", Kind.PROGRESS, [b""], observed=ahead.now(), position="1")))
        clock = VirtualClock()
        writer = await opened(store, clock=clock)
        assert writer.rpo_seconds("db") is None
        async with running(writer):
            await record_steps(writer, clock)
            await writer.durable(await writer.append(Run.of("db", Kind.PROGRESS, [b""], observed=clock.now(), position="1")))
            await asyncio.sleep(50)
            assert writer.rpo_seconds("db") == pytest.approx(50, abs=1)
        [step] = await _steps(store)
        assert (step.reason, step.step < -86_000_000_000) == ("behind", True)

    play(story())


def test_a_clock_ahead_fences_no_living_writer() -> None:
    """Silence is what was waited for; how old the newest segment looks to another clock says nothing."""

    async def story() -> None:
        store = MemoryStore()
        first = await opened(store, heartbeat_seconds=1.0)
        async with running(first):
            hour = VirtualClock(VirtualClock().start + 3_600_000_000)
            other = asyncio.create_task(opened(store, clock=hour, instance="b"))
            await asyncio.sleep(300)
            assert not other.done()
            other.cancel()

    play(story())
