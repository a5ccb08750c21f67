"""Counts of what the journal has behind the history files of a source, read on whenever it has grown.

The records are those that history files would have of it, so that what is counted does not depend on how far these reach.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING

import pyarrow as pa

from archiver.errors import ArchiverError
from archiver.lake.counted_records import COLUMNS, add_records
from archiver.lake.counts import Counts
from archiver.lake.database_changes import DatabaseChanges
from archiver.lake.object_changes import ObjectChanges
from archiver.maintenance import database_history, object_history
from archiver.replay.postgres.write.spill_file import SpillFile

if TYPE_CHECKING:
    from archiver.journal.entry import Placed
    from archiver.journal.reader import Reader
    from archiver.lake.progress import Progress

_AT_ONCE = 100_000
"""Records."""


class TailCounts:
    """What was counted so far, and where to go on."""

    def __init__(self, source: str, changes: DatabaseChanges | ObjectChanges, segment: int) -> None:
        self.counts = Counts()
        self.segment = segment
        """The next one that is read."""
        self.reached = 0
        """When the last run that was read was received, microseconds."""
        self.fed = 0
        """The last run that was counted, by its first entry."""
        self.broken = False
        """Something ended in the middle of a run: what was counted of it is not known, and this is of no further use."""
        self._source, self._changes = source, changes
        self._waiting: list[pa.Table] = []

    @classmethod
    async def begun(cls, reader: Reader, source: str, progress: Progress | None, streams: list[str]) -> TailCounts | None:
        """Behind ``progress``, or where history files would begin; ``None`` for a database without a complete baseline.

        ``streams``: all of the journal. Errors as of ``Reader``.
        """
        cluster = source not in streams
        if progress is None:
            begin = object_history.begin(reader, source, streams) if cluster else database_history.begin(reader, source)
            progress = await begin
        if progress is None:
            return None
        changes = ObjectChanges(progress) if cluster else DatabaseChanges(progress, spill=SpillFile())
        return cls(source, changes, progress.segment if cluster else progress.resume_segment)

    async def go_on(self, reader: Reader, last: int, is_late: Callable[[], bool]) -> None:
        """Read up to segment ``last``, or to the end of one after which ``is_late``.

        Errors as of ``Reader``: what came before is counted, and the next call goes on there; unless ``broken``.
        """
        if self.segment > last:
            return
        stopped = last + 1
        try:
            async with aclosing(reader.read(self.segment, last=last)) as runs:
                async for placed in runs:
                    if placed.segment > self.segment and is_late():
                        stopped = placed.segment
                        break
                    self.segment = placed.segment
                    # After an error it goes on with a segment that was read already.
                    if placed.run.source.partition("/")[0] == self._source and placed.first > self.fed:
                        self.reached = placed.run.observed
                        await self._to_its_end(self._feed, placed)
                        self.fed = placed.first
        except ArchiverError:
            if not self.broken:
                await self._to_its_end(self._flush)
            raise
        await self._to_its_end(self._flush)
        self.segment = stopped

    async def _to_its_end(self, work: Callable[..., None], *given: Placed) -> None:
        self.broken = True
        await asyncio.to_thread(work, *given)
        self.broken = False

    def _feed(self, placed: Placed) -> None:
        self._keep(self._changes.feed(placed))
        if isinstance(self._changes, DatabaseChanges):
            # Rows of copies are no changes.
            self._changes.copies = []

    def _flush(self) -> None:
        if isinstance(self._changes, DatabaseChanges):
            self._keep(self._changes.flush())
        self._count()

    def _keep(self, records: Iterable[pa.Table]) -> None:
        for table in records:
            self._waiting.append(table.select(COLUMNS))
            if sum(each.num_rows for each in self._waiting) >= _AT_ONCE or len(self._waiting) >= 1000:
                self._count()

    def _count(self) -> None:
        if self._waiting:
            add_records(self.counts, pa.concat_tables(self._waiting), self._source)
            self._waiting = []
