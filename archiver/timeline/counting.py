"""Counts of an archive's changes: from its history files, and from the journal behind them.

Of a history file the columns that say what, how and when are decoded, each file once: files never change. What the files do not have yet is
read in the journal as they would be written (``TailCounts``), for ``MOST_SECONDS`` at a time; what was not reached is told as not counted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.errors import ArchiverError
from archiver.journal.reader import Reader
from archiver.lake.history_table import is_of_this_journal, open_file, read_groups, read_table
from archiver.timeline.counts import Counts, merged
from archiver.timeline.tail_counts import COLUMNS, TailCounts, add_records

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.kept_segments import KeptSegments
    from archiver.journal.segment import SegmentHeader
    from archiver.lake.data_file import DataFile
    from archiver.store.protocol import Store

MOST_SECONDS = 60.0
"""That the journal is read for all sources, before what is known is given."""
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
    whole: bool = False
    """Whether all that there are are counted, and it is known where to go on behind them."""
    covered: int = -1
    """Entry up to which the files have all."""
    tail: TailCounts | None = None
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
        """What is counted, once all is, or after ``patience`` seconds. Raises what reading the journal's end raises.

        Who asks may be cancelled: what is being counted goes on.
        """
        # Several ask at once: each waits for the one task.
        task = self._task = self._task or asyncio.create_task(self._count())
        await asyncio.wait([task], timeout=patience)
        busy = not task.done()
        if not busy:
            self._task = None if self._task is task else self._task
            task.result()
        each = list(self._sources.values())
        problems = [one.problem for one in each if one.problem]
        left = [
            Uncounted(source, known.tail.reached if known.tail is not None and known.whole else 0, self._end)
            for source, known in self._sources.items()
            if not busy and (not known.whole or (known.tail is not None and known.tail.segment <= self._seen))
        ]
        return Counted(self._whole, left, problems, self._begin, self._end, busy, self._clusters)

    async def stop(self) -> None:
        """End what runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

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
        self._seen = tail.number
        deadline = self._clock.monotonic() + MOST_SECONDS
        for source in sorted({name.partition("/")[0] for name in tail.sources}):
            known = self._sources.setdefault(source, _Counted())
            try:
                known.problem = ""
                await self._count_source(reader, source, known, tail, deadline)
            except ArchiverError as error:
                known.problem = f"{source}: {error.message}"
                _log.warning("timeline_not_counted", source=source, reason=error.message)
        self._join()

    def _join(self) -> None:
        tails = [one.tail.counts for one in self._sources.values() if one.tail is not None]
        self._whole = merged([*tails, *(each for one in self._sources.values() for each in one.files.values())])

    async def _count_source(self, reader: Reader, source: str, known: _Counted, tail: SegmentHeader, deadline: float) -> None:
        state = await read_table(reader.store, source)
        progress = state.progress if state.progress is not None and await is_of_this_journal(reader, state.progress) else None
        covered = progress.covered if progress else 0
        if known.covered != covered or (known.tail is not None and known.tail.broken):
            # Before the files are counted: they may have what the tail has, and the next one may not be readable.
            known.covered, known.tail = covered, None
        known.whole = False
        known.files = {path: counts for path, counts in known.files.items() if progress and path in state.files}
        for path in sorted(state.files if progress else ()):
            if path not in known.files:
                known.files[path] = await self._file(await open_file(reader.store, source, path, state), source)
                self._join()
        if known.tail is None:
            known.tail = await TailCounts.begun(reader, source, progress, list(tail.sources))
        known.whole = True
        if known.tail is not None:
            await known.tail.go_on(reader, tail.number, lambda: self._clock.monotonic() > deadline)
        else:
            known.problem = f"{source}: it has no complete baseline yet"

    async def _file(self, file: DataFile, source: str) -> Counts:
        found = Counts()
        for at in range(0, file.count, _AT_ONCE):
            groups = list(range(at, min(at + _AT_ONCE, file.count)))
            records = await read_groups(self._store, file, groups, COLUMNS)
            await asyncio.to_thread(add_records, found, records, source)
        return found
