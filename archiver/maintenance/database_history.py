"""The journal of a database behind its history files -> more of them, step by step.

    state of the log -> journal from where a decoder must go on, to a segment's end -> files -> one commit

Each step is durable when given. Killed at any moment it leaves files that nothing names.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Refused
from archiver.journal.parts import fetch_part, opened
from archiver.lake.database_changes import Copy, DatabaseChanges
from archiver.lake.history_table import TableWriter, is_of_this_journal, read_table
from archiver.lake.progress import Progress
from archiver.lake.row_records import copied_rows
from archiver.maintenance.history_step import FILE_BYTES, FORGET, STEP_ENTRIES, HistoryStep
from archiver.postgres.lsn import parse_lsn
from archiver.replay.postgres.plan.point_location import first_checkpoint

if TYPE_CHECKING:
    import pyarrow as pa

    from archiver.clock import Clock
    from archiver.journal.reader import Reader
    from archiver.lake.delta_log import TableState
    from archiver.postgres.records import TableRows


async def add_database_history(reader: Reader, clock: Clock, source: str, *, step_entries: int = STEP_ENTRIES) -> HistoryStep:
    """One step: about ``step_entries`` of the journal. ``HistoryStep.done``: nothing is left. ``Refused`` when the files are of another
    journal; ``Corrupt``, ``Invalid`` and ``Unavailable``, as reading does.
    """
    state = await read_table(reader.store, source)
    progress = state.progress
    if state.version >= 0 and (progress is None or not await is_of_this_journal(reader, progress)):
        raise Refused(f"the history files of {source} are of another journal", hint=FORGET)
    tail = await reader.tail()
    if progress is None and (progress := await _begin(reader, source)) is None:
        return HistoryStep(source, done=True, reason="it has no complete baseline yet")
    if tail is None or tail.number < progress.segment:
        return HistoryStep(source, done=True, covered=progress.covered)
    return await _Step(reader, clock, progress, step_entries).take(state, tail.number)


async def _begin(reader: Reader, source: str) -> Progress | None:
    found = await first_checkpoint(reader, source)
    if found is None:
        return None
    entry = found.record.replay_from
    segment = await reader.find_seq(entry)
    return Progress(
        archive=(await reader.identity()).id,
        source=source,
        covered=entry - 1,
        segment=segment,
        chain="",
        resume_entry=entry,
        resume_segment=segment,
        from_lsn=parse_lsn(found.record.lsn),
        baseline=found.ref.seq,
    )


class _Step:
    """One step of one source. Memory: the records of one file, and what unfinished transactions hold."""

    def __init__(self, reader: Reader, clock: Clock, progress: Progress, step_entries: int) -> None:
        self._reader, self._progress, self._step_entries = reader, progress, step_entries
        self._changes = DatabaseChanges(progress)
        self._writer = TableWriter(reader.store, clock, progress.source)
        self._tables: list[pa.Table] = []
        self._size = 0

    async def take(self, state: TableState, last: int) -> HistoryStep:
        """Cover the journal up to segment ``last`` at most, and publish."""
        progress, source = self._progress, self._progress.source
        segment, covered = progress.segment, progress.covered
        async with aclosing(self._reader.walk(progress.resume_segment, last=last)) as steps:
            async for each, valid in steps:
                if valid:
                    for placed in each.placed():
                        if placed.run.source == source and placed.first + placed.run.count > progress.resume_entry:
                            await self._keep(await asyncio.to_thread(self._changes.feed, placed))
                            for copy in self._changes.copies:
                                await self._copy(copy)
                            self._changes.copies = []
                    covered = max(covered, each.header.first + each.header.count - 1)
                segment = max(segment, each.header.number + 1)
                if covered - progress.covered >= self._step_entries:
                    break
        await self._keep(await asyncio.to_thread(self._changes.flush))
        await self._end()
        there = await self._changed(covered, segment)
        if not await self._writer.commit(state, there):
            return HistoryStep(source, covered=progress.covered, reason="another maintainer was faster: its files stay")
        return HistoryStep(source, segment > last, covered, self._writer.rows, len(self._writer.added), self._written())

    def _written(self) -> int:
        return sum(file.size for file in self._writer.added)

    async def _changed(self, covered: int, segment: int) -> Progress:
        found = self._changes.progress(covered)
        resume = await self._reader.find_seq(found.resume_entry) if found.resume_entry <= covered else segment
        chain = (await self._reader.before(segment)).chain.hex()
        return msgspec.structs.replace(found, segment=segment, chain=chain, resume_segment=min(resume, segment))

    async def _keep(self, tables: list[pa.Table]) -> None:
        self._tables += tables
        self._size += sum(table.nbytes for table in tables)
        if self._size >= FILE_BYTES:
            await self._end()

    async def _end(self) -> None:
        if self._tables:
            await self._writer.add(self._tables)
        self._tables, self._size = [], 0

    async def _copy(self, copy: Copy) -> None:
        for table in copy.snapshot.tables:
            name, lsn = f"{table.schema}.{table.name}", parse_lsn(copy.snapshot.lsn)
            mark = self._changes.mark(name, table.oid, "copy", copy.entry, copy.segment, (copy.era, lsn), copy.snapshot.taken)
            await self._keep([mark])
            known = self._changes.tables.get(table.oid)
            key = known.key if known is not None and known.mode == "key" and set(known.key) <= set(table.attnums) else []
            names = [name for attnum, name in sorted(zip(table.attnums, table.columns, strict=True)) if attnum in key]
            self._changes.identify(table.oid, names or None)
            for part in table.parts:
                text = await asyncio.to_thread(opened, part, await fetch_part(self._reader.store, part))
                await self._keep([await asyncio.to_thread(_rows, self._progress.source, copy, table, key, text)])


def _rows(source: str, copy: Copy, table: TableRows, key: list[int], text: bytes) -> pa.Table:
    place = (copy.era, parse_lsn(copy.snapshot.lsn), copy.entry, copy.as_of, copy.snapshot.taken)
    return copied_rows(source, table, key, text, place)
