"""Tables whose rows the journal does not know any more: their gaps in the journal, and which of them can be copied again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.capture.postgres.baseline.large_rows import TOO_LARGE
from archiver.capture.postgres.watch.stale_tables import StaleTable, StaleTables
from archiver.journal.entry import Kind, Run
from archiver.postgres.records import UPDATES_NOT_PUBLISHED

if TYPE_CHECKING:
    from archiver.capture.postgres.catalog.horizon import Horizon
    from archiver.clock import Clock
    from archiver.journal.writer import Writer
    from archiver.postgres.records import Catalog, Table, TableRows

TOO_LARGE_SECONDS = 86_400.0
"""A table that lacks rows because they are too large is copied again this often: they may be gone."""

_log = structlog.get_logger()


class TableGaps:
    """Journals the gap of a table whose rows are not known, once, until the table was copied. All methods are called by one task."""

    def __init__(
        self,
        source: str,
        writer: Writer,
        clock: Clock,
        horizon: Horizon,
        *,
        interval_seconds: float,
        lacking: dict[int, float] | None = None,
    ) -> None:
        """``horizon`` is kept by the caller. ``interval_seconds``: insert-only tables are copied at most this often.

        ``lacking``: tables that lack rows because they are too large, and when they are copied again; kept here, and beyond this stream.
        """
        self._source = source
        self._writer = writer
        self._clock = clock
        self._horizon = horizon
        self._interval = interval_seconds
        self._stale = StaleTables()
        self._lacking = lacking if lacking is not None else {}
        self._last_copy: dict[int, float] = {}
        self.recorded = 0
        """Gaps recorded so far."""

    @property
    def pending(self) -> list[int]:
        """Tables whose rows the journal does not have as they are."""
        return sorted(self._stale.tables)

    @property
    def unknown_since(self) -> int | None:
        """When rows of a table were first seen to be unknown; ``None`` while all are known, but for updates that are not published."""
        marked = [stale.noticed for stale in self._stale.tables.values() if stale.cause != UPDATES_NOT_PUBLISHED]
        return min(marked, default=None)

    @property
    def too_large(self) -> list[str]:
        """Tables that lack rows because they are too large."""
        return sorted(stale.name for oid, stale in self._stale.tables.items() if oid in self._lacking)

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

    async def mark(
        self, table: Table, reason: str, detail: str, *, cause: str = "table_added", since: str = "", waits: frozenset[int] = frozenset()
    ) -> None:
        """Rows of ``table`` are not known any more since ``since`` (empty: the horizon): record the gap; copy once ``waits`` have ended."""
        not_before = 0.0
        if cause == UPDATES_NOT_PUBLISHED:
            not_before = self._last_copy.get(table.oid, -self._interval) + self._interval
        self._lacking.pop(table.oid, None)
        stale = self._stale_table(table, reason, detail)
        stale.cause, stale.waits, stale.not_before, stale.since = cause, waits, not_before, since or stale.since
        if self._stale.mark(table.oid, stale):
            await self._append(stale)

    async def recall(self, table: Table, *, waits: frozenset[int], recorded: bool) -> None:
        """The journal's newest catalog says that ``table`` is to be copied; ``waits`` as in ``mark``. ``recorded``: so is its gap."""
        stale = self._stale_table(table, "table_added", "its rows are not in the journal yet")
        stale.waits, stale.not_before = waits, self._lacking.get(table.oid, 0.0)
        if self._stale.mark(table.oid, stale) and not recorded and table.oid not in self._lacking:
            await self._append(stale)

    def _stale_table(self, table: Table | TableRows, reason: str, detail: str) -> StaleTable:
        name = f"{table.schema}.{table.name}"
        return StaleTable(name, reason, detail, "table_added", self._horizon.floor(), oid=table.oid, noticed=self._clock.now())

    def keep_only(self, catalog: Catalog) -> None:
        """Forget what is no longer captured."""
        self._stale.keep_only(table.oid for table in catalog.tables if table.mode != "excluded")

    def ready(self, running: frozenset[int], without: frozenset[int]) -> dict[int, StaleTable]:
        """Those that can be copied under a snapshot taken from now on. ``running``: what runs; ``without``: what may not be read."""
        return self._stale.ready(running, self._clock.monotonic(), without)

    async def copied(self, oid: int, began: int, at: float) -> None:
        """The journal has a copy of a table that was in round ``began`` at ``at`` (monotonic seconds), when copying began."""
        self._last_copy[oid] = at
        self._lacking.pop(oid, None)
        # What became stale again while it was copied has a gap that the copy's entry just ended.
        if (again := self._stale.copied(oid, began)) is not None:
            await self._append(again)

    async def lacks(self, table: TableRows, lsn: str) -> None:
        """``table`` was copied, as it is at ``lsn``, but for rows that are too large."""
        if table.oid in self._stale.tables:
            # It became stale again meanwhile, and will be copied at once.
            return
        stale = self._stale_table(table, "too_large", TOO_LARGE)
        stale.not_before, stale.since = self._clock.monotonic() + TOO_LARGE_SECONDS, lsn
        self._stale.mark(table.oid, stale)
        await self._append(stale)
        self._lacking[table.oid] = stale.not_before

    async def _append(self, stale: StaleTable) -> None:
        self.recorded += 1
        _log.warning("table_gap", source=self._source, table=stale.name, reason=stale.reason, since=stale.since)
        await self._writer.append(Run.of(self._source, Kind.GAP, [msgspec.json.encode(stale.gap())], observed=self._clock.now()))
