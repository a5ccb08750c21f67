"""Counts of an archive's changes: from its history files, and from the journal behind them.

What a history file counts to stands beside it, and is read once: files never change. Of one without that the columns that say what, how and
when are decoded. What the files do not have yet is read in the journal as they would be written (``TailCounts``), for ``MOST_SECONDS`` at a
time; what was not reached is told as not counted. Where cells are too many, all of them are kept by the minute, and then by the hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.errors import ArchiverError, Corrupt
from archiver.journal.reader import Reader
from archiver.lake.counted_records import COLUMNS, add_records
from archiver.lake.counts import COARSER, MOST_CELLS, Counts, Lane, merged
from archiver.lake.history_table import is_of_this_journal, open_file, read_counts, read_groups, read_table, say_passed_over
from archiver.timeline.tail_counts import TailCounts

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.kept_segments import KeptSegments
    from archiver.journal.segment import SegmentHeader
    from archiver.lake.delta_log import TableState
    from archiver.store.protocol import Store

MOST_SECONDS = 60.0
"""That the journal is read for all sources, before what is known is given."""
_AT_ONCE = 8
"""Row groups, or files."""
_JOIN_SECONDS = 1.0
"""How often what is known by then is made one while files are counted."""
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
    streams: list[str] = []
    """All that the journal has: databases, and streams of clusters."""


class Counter:
    """Counts in the background, and gives what there is."""

    def __init__(self, store: Store, kept: KeptSegments, clock: Clock) -> None:
        self._store, self._kept, self._clock = store, kept, clock
        self._sources: dict[str, _Counted] = {}
        self._begin, self._end, self._seen = 0, 0, -1
        self._clusters: list[str] = []
        self._streams: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self._whole = Counts()
        self._resolution = 1
        """Seconds of a cell, of all that is kept."""
        self._joined: tuple[object, ...] = ()
        """What was joined last, and when."""
        self._joined_at = float("-inf")

    @property
    def lanes(self) -> Collection[Lane]:
        """Those that are known now."""
        return self._whole.lanes.keys()

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
        return Counted(self._whole, left, problems, self._begin, self._end, busy, self._clusters, self._streams)

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
        self._streams = sorted(tail.sources)
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
        parts = tuple((tuple(one.files), one.tail, one.tail and one.tail.fed) for one in self._sources.values())
        if parts == self._joined:
            return
        self._joined = parts
        self._bound()
        tails = [one.tail.counts for one in self._sources.values() if one.tail is not None]
        self._whole = merged([*tails, *(each for one in self._sources.values() for each in one.files.values())])
        self._joined_at = self._clock.monotonic()

    async def _count_source(self, reader: Reader, source: str, known: _Counted, tail: SegmentHeader, deadline: float) -> None:
        state = await read_table(reader.store, source)
        progress = state.progress if state.progress is not None and await is_of_this_journal(reader, state.progress) else None
        covered = progress.covered if progress else 0
        if known.covered != covered or (known.tail is not None and known.tail.broken):
            # Before the files are counted: they may have what the tail has, and the next one may not be readable.
            known.covered, known.tail = covered, None
        known.whole = False
        known.files = {path: counts for path, counts in known.files.items() if progress and path in state.files}
        paths = sorted(path for path in (state.files if progress else ()) if path not in known.files)
        for at in range(0, len(paths), _AT_ONCE):
            # What one of them could not tell is an error once the others are known.
            some = paths[at : at + _AT_ONCE]
            found = await asyncio.gather(*(self._file(source, path, state) for path in some), return_exceptions=True)
            for path, counts in zip(some, found, strict=True):
                if isinstance(counts, Counts):
                    known.files[path] = counts
            if self._clock.monotonic() - self._joined_at > _JOIN_SECONDS:
                self._join()
            for each in found:
                if isinstance(each, BaseException):
                    raise each
        if known.tail is None:
            known.tail = await TailCounts.begun(reader, source, progress, list(tail.sources))
        known.whole = True
        if known.tail is not None:
            await known.tail.go_on(reader, tail.number, lambda: self._clock.monotonic() > deadline)
        else:
            known.problem = f"{source}: it has no complete baseline yet"

    def _bound(self) -> None:
        """Keep times coarser when there are too many cells."""
        several = [each for one in self._sources.values() for each in one.files.values()]
        for resolution in COARSER:
            if sum(each.cells for each in several) > MOST_CELLS:
                self._resolution = max(self._resolution, resolution)
                for each in several:
                    each.coarsen(resolution)

    async def _file(self, source: str, path: str, state: TableState) -> Counts:
        try:
            found = await read_counts(self._store, source, path, state)
        except Corrupt as error:
            say_passed_over(source, error)
            found = None
        found = found or await self._decoded(source, path, state)
        found.coarsen(self._resolution)
        return found

    async def _decoded(self, source: str, path: str, state: TableState) -> Counts:
        file, found = await open_file(self._store, source, path, state), Counts()
        for at in range(0, file.count, _AT_ONCE):
            groups = list(range(at, min(at + _AT_ONCE, file.count)))
            records = await read_groups(self._store, file, groups, COLUMNS)
            await asyncio.to_thread(add_records, found, records, source)
        return found
