"""Copies tables again whose rows the stream alone does not keep true.

Insert-only tables are here for ever: the server's statistics say when rows were updated or deleted, never which.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.capture.postgres.baseline.copy_tables import CopyLimits
from archiver.capture.postgres.baseline.recopy import RecopyResult, recopy_tables
from archiver.capture.postgres.catalog.horizon import Horizon, running_here
from archiver.capture.postgres.watch.database_poll import unreadable
from archiver.errors import Unavailable
from archiver.journal.entry import Kind, Run
from archiver.postgres.records import UPDATES_NOT_PUBLISHED, Catalog

if TYPE_CHECKING:
    from archiver.capture.postgres.catalog.scope import Scope
    from archiver.capture.postgres.session.access import Access, Session
    from archiver.capture.postgres.watch.stale_tables import StaleTable
    from archiver.capture.postgres.watch.table_gaps import TableGaps
    from archiver.capture.postgres.watch.write_counts import WriteCounts
    from archiver.clock import Clock
    from archiver.journal.writer import Writer

STATISTICS_SECONDS = 75.0
"""A write may be counted this much after its commit (the server's own bound is 60 s)."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class RunningCopy:
    """Tables that are being copied, and what was so when that began."""

    task: asyncio.Task[RecopyResult]
    tables: dict[int, tuple[StaleTable, int]]
    """Each with its round."""
    at: float
    """Monotonic seconds."""
    writes: Mapping[int, int]
    floor: str


class TableRecopier:
    """Copies tables that have a gap, as many at once as can be, in one task beside the caller. All methods are called by one task."""

    def __init__(
        self,
        source: str,
        access: Access,
        scope: Scope,
        writer: Writer,
        clock: Clock,
        horizon: Horizon,
        *,
        gaps: TableGaps,
        counts: WriteCounts,
        limits: CopyLimits,
    ) -> None:
        """``horizon`` is kept by the caller; ``gaps`` says what can be copied."""
        self._source = source
        self._access = access
        self._scope = scope
        self._writer = writer
        self._clock = clock
        self._horizon = horizon
        self._gaps = gaps
        self._counts = counts
        self._limits = limits
        self._copy: RunningCopy | None = None

    async def watch_writes(self, catalog: Catalog, writes: Mapping[int, int]) -> tuple[str, float] | None:
        """Compare the counts of insert-only tables with those at their last copy.

        LSN up to which none was written that has no gap, and how many seconds ago that was; ``None``: there is none, or it is not known.
        """
        pending = frozenset(self._gaps.pending)
        now = self._clock.monotonic()
        unchanged = self._horizon.floor_before(now - STATISTICS_SECONDS)
        watched = [table.oid for table in catalog.tables if table.mode == "insert" and table.oid not in pending]
        for table in catalog.tables:
            count = writes.get(table.oid)
            if table.mode != "insert" or count is None or table.oid in pending:
                continue
            if self._counts.changed(table.oid, count, unchanged):
                await self._gaps.mark(
                    table,
                    UPDATES_NOT_PUBLISHED,
                    self._counts.suspicion(table.oid, count),
                    cause=UPDATES_NOT_PUBLISHED,
                    since=self._counts.known_until(table.oid),
                )
        if not watched or not writes.keys() >= set(watched):
            return None
        return self._horizon.floor_and_age(now, now - STATISTICS_SECONDS)

    async def step(self, session: Session, writes: Mapping[int, int], forbidden: frozenset[int]) -> None:
        """Take over a copy that is done; begin the next one where something can be copied. ``writes``: counted before this moment."""
        if self._copy is not None and self._copy.task.done():
            await self._finish(self._copy)
        if self._copy is not None or not self._gaps.pending:
            return
        without = forbidden | await unreadable(session, self._gaps.pending)
        ready = self._gaps.ready(await running_here(session), without)
        if not ready:
            return
        at, floor = self._clock.monotonic(), self._horizon.floor()
        copy = recopy_tables(
            self._access, self._scope, set(ready), self._writer, source=self._source, identity=self._clock.unique(), limits=self._limits
        )
        task = asyncio.create_task(copy, name=f"{self._source}: copying tables")
        self._copy = RunningCopy(task, {oid: (stale, stale.round) for oid, stale in ready.items()}, at, writes, floor)

    async def wait(self) -> None:
        """Until the running copy is done; for ever when there is none."""
        if self._copy is None:
            await asyncio.Event().wait()
        else:
            await asyncio.wait({self._copy.task})

    async def close(self) -> None:
        """Stop copying."""
        if self._copy is not None:
            self._copy.task.cancel()
            await asyncio.gather(self._copy.task, return_exceptions=True)

    async def _finish(self, copy: RunningCopy) -> None:
        self._copy = None
        try:
            copied = copy.task.result()
        except Unavailable as error:
            _log.warning("table_copy_failed", source=self._source, error=error.message)
            raise
        done = {table.oid for table in copied.tables}
        for cause in sorted({stale.cause for oid, (stale, _) in copy.tables.items() if oid in done}):
            oids = {oid for oid, (stale, _) in copy.tables.items() if stale.cause == cause and oid in done}
            body = msgspec.json.encode(copied.snapshot(cause, oids, copy.floor))
            await self._writer.append(Run.of(self._source, Kind.PG_TABLES, [body], observed=self._clock.now()))
            _log.info("tables_copied", source=self._source, cause=cause, tables=[copy.tables[oid][0].name for oid in sorted(oids)])
        for table in copied.tables:
            if table.mode == "insert":
                self._counts.copied(table.oid, copy.writes.get(table.oid, -1), copy.floor)
            await self._gaps.copied(table.oid, copy.tables[table.oid][1], copy.at)
            if table.oid in copied.too_large:
                await self._gaps.lacks(table, copied.lsn)
