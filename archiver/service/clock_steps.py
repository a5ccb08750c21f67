"""Steps of the archiver's wall clock, as entries of the journal: around one, times of entries may be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.clock import STEP_SECONDS, HeldClock
from archiver.journal.entry import Kind, Run
from archiver.journal.records import ClockStep

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.writer import Writer

LOOK_SECONDS = 1.0

_log = structlog.get_logger()


async def record_steps(writer: Writer, clock: Clock) -> None:
    """Record that the clock stands behind the journal, if it does; then every step of a ``HeldClock``, until cancelled.

    Raises what ends the writer.
    """
    behind = clock.now() - writer.last_commit
    if behind < -STEP_SECONDS * 1_000_000:
        await _record(writer, ClockStep(clock.now(), behind, reason="behind"))
    while isinstance(clock, HeldClock):
        for step, believed in clock.steps():
            await _record(writer, ClockStep(clock.now(), step, believed))
        await clock.sleep(LOOK_SECONDS)


async def _record(writer: Writer, step: ClockStep) -> None:
    _log.warning("clock_step", seconds=step.step / 1e6, believed=step.believed, reason=step.reason)
    await writer.append(Run.of("", Kind.CLOCK, [msgspec.json.encode(step)], observed=step.time))
