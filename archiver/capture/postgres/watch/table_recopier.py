"""Tables whose rows the stream alone does not keep true: their gaps, when they are copied again, and the copying.

Insert-only tables are here for ever: the server's statistics say when rows were updated or deleted, never which.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.capture.postgres.baseline.copy_tables import CopyLimits
from archiver.capture.postgres.baseline.recopy import RecopyResult, recopy_tables
from archiver.capture.postgres.catalog.horizon import Horizon, running_here
from archiver.capture.postgres.watch.database_poll import unreadable
from archiver.capture.postgres.watch.stale_tables import StaleTable, StaleTables
from archiver.errors import Unavailable
from archiver.journal.entry import Kind, Run
from archiver.postgres.lsn import parse_position
from archiver.postgres.records import Catalog, Table

if TYPE_CHECKING:
    from archiver.capture.postgres.catalog.scope import Scope
    from archiver.capture.postgres.session.access import Access, Session
    from archiver.clock import Clock
    from archiver.journal.writer import Writer

STATISTICS_SECONDS = 75.0
"""A write may be counted this much after its commit (the server's own bound is 60 s)."""

_log = structlog.get_logger()


class TableRecopier:
    """Records the gap of a table whose rows are not known, and copies the table again. All methods are called by one task."""

    def __init__(
        self,
        source: str,
        access: Access,
        scope: Scope,
        writer: Writer,
        clock: Clock,
        horizon: Horizon,
        *,
        limits: CopyLimits,
        interval_seconds: float,
    ) -> None:
        """``horizon`` is kept by the caller. ``interval_seconds``: insert-only tables are copied at most this often."""
        self._source = source
        self._access = access
        self._scope = scope
        self._writer = writer
        self._clock = clock
        self._horizon = horizon
        self._limits = limits
        self._interval = interval_seconds
        self._stale = StaleTables()
        self._copied_writes: dict[int, int] = {}
        self._known_until: dict[int, str] = {}
        self._last_copy: dict[int, float] = {}
        self._task: asyncio.Task[RecopyResult] | None = None
        self._copying: dict[int, tuple[StaleTable, int]] = {}
        self._began_at = 0.0
        self._began_writes: Mapping[int, int] = {}
        self._began_floor = ""
        self.gaps = 0
        """Gaps recorded so far."""

    @property
    def pending(self) -> list[int]:
        """Tables whose rows the journal does not have as they are."""
        return sorted(self._stale.tables)

    @property
    def unknown_since(self) -> int | None:
        """When rows of a table were first seen to be unknown; ``None`` while all are known, but for updates that are not published."""
        marked = [stale.noticed for stale in self._stale.tables.values() if stale.cause != "updates_not_published"]
        return min(marked, default=None)

    @property
    def waits(self) -> bool:
        """Some table can be copied as soon as transactions have ended."""
        return any(stale.waits for stale in self._stale.tables.values())

    def journaled(self, catalog: Catalog) -> frozenset[int]:
        """Captured tables of ``catalog`` whose rows the journal has."""
        return frozenset(table.oid for table in catalog.tables if table.mode != "excluded" and table.oid not in self._stale.tables)

    def hold(self, oid: int, waits: frozenset[int]) -> None:
        """A pending table joined a publication: ``waits`` may not have seen it, nor has a copy that began before."""
        if (stale := self._stale.tables.get(oid)) is not None:
            stale.waits |= waits
            stale.round += 1

    async def recall(self, catalog: Catalog, waits: frozenset[int]) -> None:
        """Go on from what the journal's newest PG_SCHEMA says; ``waits``: all that runs now."""
        for table in catalog.tables:
            if table.mode == "insert":
                self._copied_writes[table.oid] = table.copied_writes
                self._known_until[table.oid] = table.known_until
            if table.oid in catalog.pending:
                await self.mark(table, "table_added", "its rows are not in the journal yet", waits=waits)

    def annotate(self, catalog: Catalog) -> Catalog:
        """``catalog`` with what ``recall`` needs."""
        tables = [
            msgspec.structs.replace(
                table, copied_writes=self._copied_writes.get(table.oid, -1), known_until=self._known_until.get(table.oid, "")
            )
            if table.mode == "insert"
            else table
            for table in catalog.tables
        ]
        return msgspec.structs.replace(catalog, tables=tables, pending=self.pending)

    async def mark(
        self, table: Table, reason: str, detail: str, *, cause: str = "table_added", since: str = "", waits: frozenset[int] = frozenset()
    ) -> None:
        """Rows of ``table`` are not known any more since ``since`` (empty: the horizon): record the gap; copy once ``waits`` have ended."""
        not_before = 0.0
        if cause == "updates_not_published":
            not_before = self._last_copy.get(table.oid, -self._interval) + self._interval
        stale = StaleTable(
            f"{table.schema}.{table.name}",
            reason,
            detail,
            cause,
            since or self._horizon.floor(),
            waits,
            not_before,
            table.oid,
            noticed=self._clock.now(),
        )
        if self._stale.mark(table.oid, stale):
            await self._append_gap(stale)

    def keep_only(self, catalog: Catalog) -> None:
        """Forget what is no longer captured."""
        self._stale.keep_only(table.oid for table in catalog.tables if table.mode != "excluded")

    async def watch_writes(self, catalog: Catalog, writes: Mapping[int, int]) -> None:
        """Compare the counts of insert-only tables with those at their last copy."""
        unchanged = self._horizon.floor_before(self._clock.monotonic() - STATISTICS_SECONDS)
        for table in catalog.tables:
            count = writes.get(table.oid)
            if table.mode != "insert" or count is None or table.oid in self._stale.tables:
                continue
            if count != self._copied_writes.get(table.oid, -1):
                await self.mark(
                    table,
                    "updates_not_published",
                    "rows were updated or deleted, and the table has no usable replica identity",
                    cause="updates_not_published",
                    since=self._known_until.get(table.oid, ""),
                )
            elif parse_position(unchanged) > parse_position(self._known_until.get(table.oid, "")):
                self._known_until[table.oid] = unchanged

    async def step(self, session: Session, writes: Mapping[int, int], forbidden: frozenset[int]) -> None:
        """Take over a copy that is done; begin the next one where something can be copied. ``writes``: counted before this moment."""
        if self._task is not None and self._task.done():
            await self._finish()
        if self._task is not None or not self._stale.tables:
            return
        without = forbidden | await unreadable(session, self.pending)
        ready = self._stale.ready(await running_here(session), self._clock.monotonic(), without)
        if not ready:
            return
        self._copying = {oid: (stale, stale.round) for oid, stale in ready.items()}
        self._began_at, self._began_writes, self._began_floor = self._clock.monotonic(), writes, self._horizon.floor()
        copy = recopy_tables(
            self._access, self._scope, set(ready), self._writer, source=self._source, identity=self._clock.unique(), limits=self._limits
        )
        self._task = asyncio.create_task(copy, name=f"{self._source}: copying tables")

    async def wait(self) -> None:
        """Until the running copy is done; for ever when there is none."""
        if self._task is None:
            await asyncio.Event().wait()
        else:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Stop copying."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _finish(self) -> None:
        assert self._task is not None
        task, self._task = self._task, None
        try:
            copied = task.result()
        except Unavailable as error:
            _log.warning("table_copy_failed", source=self._source, error=error.message)
            raise
        done = {table.oid for table in copied.tables}
        for cause in sorted({stale.cause for oid, (stale, _) in self._copying.items() if oid in done}):
            oids = {oid for oid, (stale, _) in self._copying.items() if stale.cause == cause and oid in done}
            body = msgspec.json.encode(copied.snapshot(cause, oids, self._began_floor))
            await self._writer.append(Run.of(self._source, Kind.PG_TABLES, [body], observed=self._clock.now()))
            _log.info("tables_copied", source=self._source, cause=cause, tables=[self._copying[oid][0].name for oid in sorted(oids)])
        for table in copied.tables:
            if table.mode == "insert":
                self._copied_writes[table.oid] = self._began_writes.get(table.oid, -1)
                self._known_until[table.oid] = self._began_floor
            self._last_copy[table.oid] = self._began_at
            # What became stale again while it was copied has a gap that the entry above just ended.
            if (again := self._stale.copied(table.oid, self._copying[table.oid][1])) is not None:
                await self._append_gap(again)

    async def _append_gap(self, stale: StaleTable) -> None:
        self.gaps += 1
        _log.warning("table_gap", source=self._source, table=stale.name, reason=stale.reason, since=stale.since)
        await self._writer.append(Run.of(self._source, Kind.GAP, [msgspec.json.encode(stale.gap())], observed=self._clock.now()))
