"""What every source has in common when its history files are written: a walk over whole segments, files, one commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from archiver.errors import Refused
from archiver.journal.remedies import HISTORY_ANEW
from archiver.lake.history_table import TableWriter, is_of_this_journal, read_table
from archiver.maintenance.history_step import FILE_BYTES, HistoryStep

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.entry import Placed
    from archiver.journal.reader import Reader
    from archiver.lake.delta_log import TableState
    from archiver.lake.progress import Progress


_IDLE_SEGMENTS = 256
"""So many that say nothing of a source are read again, rather than to publish that each time."""
_JOINED = 256
"""Tables that become one when so many have come: each takes some kilobytes, even if it has one record."""


async def read_state(reader: Reader, source: str) -> TableState:
    """The table of ``source``. ``Refused`` when it is of another journal, or nobody knows how far it reaches."""
    state = await read_table(reader.store, source)
    if state.version >= 0 and (state.progress is None or not await is_of_this_journal(reader, state.progress)):
        raise Refused(f"the history files of {source} are of another journal", hint=HISTORY_ANEW)
    return state


class StepWalk:
    """One step of one source: the journal from where ``progress`` ends, whatever becomes of the records."""

    def __init__(self, reader: Reader, progress: Progress) -> None:
        self._reader, self._progress = reader, progress

    async def walk(self, last: int, step_entries: int, take: Callable[[Placed], Awaitable[None]]) -> tuple[int, int]:
        """Hand over the runs of segments up to ``last``, until there were ``step_entries``; the last entry, and the segment behind it."""
        segment, covered = self._progress.segment, self._progress.covered
        async with aclosing(self._reader.walk(self._progress.resume_segment, last=last)) as steps:
            async for each, valid in steps:
                if valid:
                    for placed in each.placed():
                        if placed.first + placed.run.count > self._progress.resume_entry:
                            await take(placed)
                    covered = max(covered, each.header.first + each.header.count - 1)
                segment = max(segment, each.header.number + 1)
                if covered - self._progress.covered >= step_entries:
                    break
        return covered, segment

    async def keep(self, tables: list[pa.Table]) -> None:
        """Records that belong to this step."""
        raise NotImplementedError


class StepWriter(StepWalk):
    """Writes the records of a step. Memory: those of one file."""

    def __init__(self, reader: Reader, clock: Clock, progress: Progress) -> None:
        super().__init__(reader, progress)
        self._writer = TableWriter(reader.store, clock, progress.source)
        self._tables: list[pa.Table] = []
        self._loose = 0
        """Of the newest tables, how many were not joined yet."""
        self._size = 0

    async def keep(self, tables: list[pa.Table]) -> None:
        """Records that belong to this step."""
        for table in tables:
            self._tables.append(table)
            self._size += table.nbytes
            self._loose += 1
            if self._loose == _JOINED:
                self._tables[-_JOINED:] = [pa.concat_tables(self._tables[-_JOINED:]).combine_chunks()]
                self._loose = 0
            if self._size >= FILE_BYTES:
                await self._end()

    async def publish(self, state: TableState, there: Progress, segment: int, *, done: bool) -> HistoryStep:
        """Name what was kept, and ``there`` as where to go on. ``segment``: behind what was covered."""
        await self._end()
        source = self._progress.source
        if done and not self._writer.rows and state.version >= 0 and segment < self._progress.segment + _IDLE_SEGMENTS:
            return HistoryStep(source, done, self._progress.covered, self._progress.newest)
        resume = await self._reader.find_seq(there.resume_entry) if there.resume_entry <= there.covered else segment
        chain = (await self._reader.before(segment)).chain.hex()
        there = msgspec.structs.replace(there, segment=segment, chain=chain, resume_segment=min(resume, segment))
        if not await self._writer.commit(state, there):
            await self._writer.discard()
            return HistoryStep(source, covered=self._progress.covered, reason="another maintainer was faster: its files stay")
        written = sum(file.size for file in self._writer.added)
        return HistoryStep(source, done, there.covered, there.newest, self._writer.rows, len(self._writer.added), written)

    async def _end(self) -> None:
        tables, self._tables, self._size, self._loose = self._tables, [], 0, 0
        if tables:
            await self._writer.add(tables)
