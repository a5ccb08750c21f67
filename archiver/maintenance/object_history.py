"""The journal of a cluster behind its history files -> more of them, step by step, as of a database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from archiver.journal.spans import first_segment_of
from archiver.lake.object_changes import ObjectChanges
from archiver.lake.progress import Progress
from archiver.maintenance.history_step import STEP_ENTRIES, HistoryStep
from archiver.maintenance.history_writing import StepWalk, StepWriter, read_state

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.entry import Placed
    from archiver.journal.reader import Reader


async def add_object_history(reader: Reader, clock: Clock, source: str, *, step_entries: int = STEP_ENTRIES) -> HistoryStep:
    """One step of the cluster ``source``: about ``step_entries`` of the journal. Returns and raises as ``add_database_history``."""
    state = await read_state(reader, source)
    tail = await reader.tail()
    if tail is None:
        return HistoryStep(source, done=True, reason="the journal is empty")
    progress = state.progress or await begin(reader, source, list(tail.sources))
    if tail.number < progress.segment:
        return HistoryStep(source, done=True, covered=progress.covered, newest=progress.newest)
    writer = StepWriter(reader, clock, progress)
    changes, covered, segment = await derive(progress, writer, tail.number, step_entries)
    return await writer.publish(state, changes.progress(covered), segment, done=segment > tail.number)


async def derive(progress: Progress, walk: StepWalk, last: int, step_entries: int) -> tuple[ObjectChanges, int, int]:
    """As of a database."""
    changes = ObjectChanges(progress)

    async def feed(placed: Placed) -> None:
        if placed.run.source.startswith(f"{progress.source}/"):
            await walk.keep(await asyncio.to_thread(changes.feed, placed))

    covered, segment = await walk.walk(last, step_entries, feed)
    return changes, covered, segment


async def begin(reader: Reader, source: str, streams: list[str]) -> Progress:
    """Where the first step begins. ``streams``: all of the journal."""
    ours = [name for name in streams if name.startswith(f"{source}/")]
    segment = min([await first_segment_of(reader, name) for name in ours], default=0)
    header = await reader.header(segment)
    entry = header.first if header else 1
    archive = (await reader.identity()).id
    return Progress(
        archive=archive, source=source, covered=entry - 1, segment=segment, chain="", resume_entry=entry, resume_segment=segment
    )
