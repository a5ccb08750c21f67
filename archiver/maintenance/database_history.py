"""The journal of a database behind its history files -> more of them, step by step.

    state of the log -> journal from where a decoder must go on, to a segment's end -> files -> one commit

Each step is durable when given. Killed at any moment it leaves files that nothing names.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from archiver.journal.parts import fetch_part, opened
from archiver.lake.database_changes import Copy, DatabaseChanges
from archiver.lake.progress import Progress
from archiver.lake.row_records import copied_rows
from archiver.maintenance.history_step import STEP_ENTRIES, HistoryStep
from archiver.maintenance.history_writing import StepWalk, StepWriter, read_state
from archiver.postgres.lsn import parse_lsn
from archiver.replay.postgres.plan.point_location import first_checkpoint
from archiver.replay.postgres.write.spill_file import SpillFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from archiver.clock import Clock
    from archiver.journal.entry import Placed
    from archiver.journal.reader import Reader
    from archiver.postgres.records import TableRows


_PIECE_BYTES = 4 << 20
"""Records, or the rows of a copy that become some, that are taken at once."""


async def add_database_history(reader: Reader, clock: Clock, source: str, *, step_entries: int = STEP_ENTRIES) -> HistoryStep:
    """One step: about ``step_entries`` of the journal. ``HistoryStep.done``: nothing is left. ``Refused`` when the files are of another
    journal; ``Corrupt``, ``Invalid`` and ``Unavailable``, as reading does.
    """
    state = await read_state(reader, source)
    progress = state.progress
    tail = await reader.tail()
    if progress is None and (progress := await begin(reader, source)) is None:
        return HistoryStep(source, done=True, reason="it has no complete baseline yet")
    if tail is None or tail.number < progress.segment:
        return HistoryStep(source, done=True, covered=progress.covered, newest=progress.newest)
    writer = StepWriter(reader, clock, progress)
    changes, covered, segment = await derive(reader, progress, writer, tail.number, step_entries)
    return await writer.publish(state, changes.progress(covered), segment, done=segment > tail.number)


async def derive(reader: Reader, progress: Progress, walk: StepWalk, last: int, step_entries: int) -> tuple[DatabaseChanges, int, int]:
    """Hand the records of one step to ``walk``, up to segment ``last``; where its changes stand, the last entry, the segment behind it."""
    return await _Step(reader, progress, walk).take(last, step_entries)


async def begin(reader: Reader, source: str) -> Progress | None:
    """Where the first step begins; ``None`` while there is no complete baseline."""
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
    """One step of one database. Memory: the records of one file; what unfinished transactions hold is put aside."""

    def __init__(self, reader: Reader, progress: Progress, walk: StepWalk) -> None:
        self._reader, self._source = reader, progress.source
        self._changes = DatabaseChanges(progress, spill=SpillFile())
        self._writer = walk

    async def take(self, last: int, step_entries: int) -> tuple[DatabaseChanges, int, int]:
        """See ``derive``."""
        covered, segment = await self._writer.walk(last, step_entries, self._feed)
        await self._keep(self._changes.flush())
        return self._changes, covered, segment

    async def _feed(self, placed: Placed) -> None:
        if placed.run.source != self._source:
            return
        await self._keep(self._changes.feed(placed))
        for copy in self._changes.copies:
            await self._copy(copy)
        self._changes.copies = []

    async def _keep(self, records: Iterator[pa.Table]) -> None:
        while tables := await asyncio.to_thread(_some, records):
            await self._writer.keep(tables)

    async def _copy(self, copy: Copy) -> None:
        for table in copy.snapshot.tables:
            name, lsn = f"{table.schema}.{table.name}", parse_lsn(copy.snapshot.lsn)
            mark = self._changes.mark(name, table.oid, "copy", copy.entry, copy.segment, (copy.era, lsn), copy.snapshot.taken)
            await self._writer.keep([mark])
            known = self._changes.tables.get(table.oid)
            key = known.key if known is not None and known.mode == "key" and set(known.key) <= set(table.attnums) else []
            names = [name for attnum, name in sorted(zip(table.attnums, table.columns, strict=True)) if attnum in key]
            self._changes.identify(table.oid, names or None)
            for part in table.parts:
                text = await asyncio.to_thread(opened, part, await fetch_part(self._reader.store, part))
                for piece in pieces(text):
                    await self._writer.keep([await asyncio.to_thread(_rows, self._source, copy, table, key, piece)])


def _some(records: Iterator[pa.Table]) -> list[pa.Table]:
    """The next of them, as many as are worth to be taken together; none when there are no more."""
    found, size = [], 0
    for table in records:
        found.append(table)
        size += table.nbytes
        if size >= _PIECE_BYTES:
            break
    return found


def pieces(text: bytes) -> Iterator[bytes]:
    """Whole rows of COPY text, some of them at a time."""
    at = 0
    while at < len(text):
        end = text.find(b"\n", min(at + _PIECE_BYTES, len(text)) - 1) + 1 or len(text)
        yield text[at:end]
        at = end


def _rows(source: str, copy: Copy, table: TableRows, key: list[int], text: bytes) -> pa.Table:
    place = (copy.era, parse_lsn(copy.snapshot.lsn), copy.entry, copy.as_of, copy.snapshot.taken)
    return copied_rows(source, table, key, text, place)
