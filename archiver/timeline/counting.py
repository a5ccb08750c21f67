"""Counts of an archive's changes: from its history files, and from the tail of the journal behind them.

Of a history file the columns that say what, how and when are decoded, each file once: files never change. What the files do not have yet is
read in the journal as ``archiver log`` reads it, within ``MOST_ENTRIES`` and ``MOST_SECONDS``; what lies before or behind that is told as
not counted.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from archiver.errors import ArchiverError
from archiver.history.span.bounds import Bounds
from archiver.history.span.selection import Selection
from archiver.history.span.span_log import SpanLog
from archiver.journal.reader import Reader
from archiver.lake.history_table import is_of_this_journal, open_file, read_groups, read_table
from archiver.replay.points import Point
from archiver.timeline.counts import CHANGES, DELETIONS, Cells, Counts, Lane, merged

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.kept_segments import KeptSegments
    from archiver.journal.segment import SegmentHeader
    from archiver.lake.data_file import DataFile
    from archiver.store.protocol import Store

MOST_ENTRIES = 500_000
"""Of the journal, the newest ones, that are read for a source behind its history files."""
MOST_SECONDS = 60.0
"""That reading them may take."""
_COLUMNS = ("name", "committed", "operation")
_AT_ONCE = 8
"""Row groups."""
_log = structlog.get_logger()


class Uncounted(msgspec.Struct, frozen=True):
    """A time of a source whose changes were not counted, microseconds. 0: from the beginning on."""

    source: str
    since: int
    until: int


class _Counted(msgspec.Struct):
    """What is counted of one source."""

    files: dict[str, Counts] = {}
    covered: int = 0
    """Entry up to which the files have all."""
    tail: Counts | None = None
    tail_to: int = 0
    uncounted: list[Uncounted] = []
    problem: str = ""


class Counted(msgspec.Struct, frozen=True):
    """What is known now."""

    counts: Counts
    uncounted: list[Uncounted]
    problems: list[str]
    begin: int
    """When the journal begins, and when it ends."""
    end: int
    busy: bool
    clusters: list[str]
    """Sources whose changes are of objects."""


class Counter:
    """Counts in the background, and gives what there is."""

    def __init__(self, store: Store, kept: KeptSegments, clock: Clock) -> None:
        self._store, self._kept, self._clock = store, kept, clock
        self._sources: dict[str, _Counted] = {}
        self._begin, self._end, self._seen = 0, 0, -1
        self._clusters: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self._whole = Counts()

    async def counted(self, patience: float) -> Counted:
        """What is counted, once all is, or after ``patience`` seconds. Raises what reading the journal's end raises."""
        # Several ask at once: each waits for the one task.
        task = self._task = self._task or asyncio.create_task(self._count())
        await asyncio.wait([task], timeout=patience)
        busy = not task.done()
        if not busy:
            self._task = None if self._task is task else self._task
            task.result()
        each = list(self._sources.values())
        problems = [one.problem for one in each if one.problem]
        return Counted(self._whole, [gap for one in each for gap in one.uncounted], problems, self._begin, self._end, busy, self._clusters)

    async def stop(self) -> None:
        """End what runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _count(self) -> None:
        reader = Reader(self._store, kept=self._kept)
        tail = await reader.tail()
        if tail is None:
            return
        if not self._begin:
            first = await reader.header(await reader.bisect(lambda _: True))
            self._begin = first.time if first else tail.time
        self._end = max(tail.time, tail.observed_max)
        self._clusters = sorted({name.partition("/")[0] for name in tail.sources if "/" in name})
        if tail.number == self._seen:
            return
        for source in sorted({name.partition("/")[0] for name in tail.sources}):
            known = self._sources.setdefault(source, _Counted())
            try:
                await self._count_source(reader, source, known, tail)
                known.problem = ""
            except ArchiverError as error:
                known.problem = f"{source}: {error.message}"
                _log.warning("timeline_not_counted", source=source, reason=error.message)
            self._join()
        self._seen = tail.number

    def _join(self) -> None:
        every = [each for one in self._sources.values() for each in (*one.files.values(), one.tail) if each is not None]
        self._whole = merged(every)

    async def _count_source(self, reader: Reader, source: str, known: _Counted, tail: SegmentHeader) -> None:
        state = await read_table(reader.store, source)
        usable = state.progress is not None and await is_of_this_journal(reader, state.progress)
        known.files = {path: counts for path, counts in known.files.items() if usable and path in state.files}
        covered = state.progress.covered if usable and state.progress else 0
        for path in sorted(state.files if usable else ()):
            if path not in known.files:
                known.files[path] = await self._file(await open_file(reader.store, source, path, state), source)
                self._join()
        if known.covered != covered or known.tail is None:
            known.covered, known.tail, known.tail_to, known.uncounted = covered, Counts(), covered, []
        await self._tail(reader, source, known, tail)

    async def _file(self, file: DataFile, source: str) -> Counts:
        found = Counts()
        for at in range(0, file.count, _AT_ONCE):
            groups = list(range(at, min(at + _AT_ONCE, file.count)))
            records = await read_groups(self._store, file, groups, _COLUMNS)
            await asyncio.to_thread(_add, found, records, source)
        return found

    async def _tail(self, reader: Reader, source: str, known: _Counted, tail: SegmentHeader) -> None:
        last = tail.first + tail.count - 1
        boundary = await reader.boundary()
        first = max(known.tail_to, last - MOST_ENTRIES, boundary.next - 1 if boundary else 0)
        if first > known.tail_to:
            since, until = [await _time_of(reader, entry) if entry else 0 for entry in (known.tail_to, first)]
            known.uncounted.append(Uncounted(source, since, until))
        start = Point(str(first), "entry", first) if first else None
        log = SpanLog(reader, Selection(sources=frozenset((source,))), Bounds(start, Point(str(last), "entry", last)))
        tally: dict[tuple[str, int], list[int]] = {}
        deadline, stopped = self._clock.monotonic() + MOST_SECONDS, 0
        async with aclosing(log.changes()) as changes:
            async for change in changes:
                if change.operation in CHANGES:
                    cell = tally.setdefault((change.kind or change.table, change.time // 1_000_000), [0, 0])
                    cell[0] += 1
                    cell[1] += change.operation in DELETIONS
                if self._clock.monotonic() > deadline:
                    stopped = change.time
                    break
        assert known.tail is not None
        for name in {name for name, _ in tally}:
            cells = [(second, *count) for (of, second), count in tally.items() if of == name]
            known.tail.add(Lane(source, name), Cells(*np.array(cells, np.int64).T))
        known.tail_to = last
        if stopped:
            known.uncounted.append(Uncounted(source, stopped, max(tail.time, tail.observed_max)))


async def _time_of(reader: Reader, entry: int) -> int:
    header = await reader.header(await reader.find_seq(entry))
    return (header.observed_max or header.time) if header else 0


def _add(found: Counts, records: pa.Table, source: str) -> None:
    operation = pc.utf8_lower(records["operation"])
    chosen = pc.is_in(operation, pa.array(sorted(CHANGES)))
    names = records["name"].filter(chosen).combine_chunks().dictionary_encode()
    seconds = records["committed"].cast(pa.int64()).filter(chosen).to_numpy() // 1_000_000
    deleted = pc.is_in(operation.filter(chosen), pa.array(sorted(DELETIONS))).to_numpy(zero_copy_only=False).astype(np.int64)
    places = names.indices.to_numpy()
    for place, name in enumerate(names.dictionary.to_pylist()):
        mine = places == place
        found.add(Lane(source, name), Cells(seconds[mine], np.ones(int(mine.sum()), np.int64), deleted[mine]))
