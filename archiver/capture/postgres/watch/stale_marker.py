"""Which tables' rows the journal no longer knows after a change, and which transactions a new copy must wait for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from archiver.capture.postgres.catalog.catalog_diff import compare
from archiver.capture.postgres.catalog.horizon import running_here

if TYPE_CHECKING:
    from archiver.capture.postgres.session.access import Session
    from archiver.capture.postgres.watch.table_gaps import TableGaps
    from archiver.postgres.records import Catalog


class StaleMarker:
    """Marks tables whose rows are no longer known after the schema or the members of a publication changed."""

    def __init__(self, gaps: TableGaps) -> None:
        """``gaps`` takes the marks."""
        self._gaps = gaps
        self._earlier: frozenset[int] = frozenset()
        """Transactions that ran when watching began."""
        self._unseen: dict[int, frozenset[int]] = {}
        """Tables that joined or moved, with the transactions that may have missed it, until they are marked."""
        self._filenodes: dict[int, int] = {}

    async def begin(self, session: Session, journaled: Catalog | None, *, gaps_recorded: bool) -> None:
        """Mark again what ``journaled``, the journal's newest catalog, says is still to be copied. ``gaps_recorded``: so are the gaps."""
        # Whatever an earlier life changed in the publications, only what runs now can have missed it.
        self._earlier = await running_here(session)
        if journaled is None:
            return
        for table in journaled.tables:
            if table.oid in journaled.pending:
                await self._gaps.recall(table, waits=self._earlier, recorded=gaps_recorded)

    def files_seen(self, filenodes: dict[int, int]) -> None:
        """Remember the files of tables, newer than those in the catalog that the next one is compared with."""
        self._filenodes = filenodes

    def missed(self, oids: Iterable[int], running: frozenset[int]) -> None:
        """Remember, until they are marked, that ``running`` may have written to these tables while they were not published."""
        for oid in oids:
            self._unseen[oid] = self._unseen.get(oid, frozenset()) | running

    def joined(self, oids: Iterable[int], running: frozenset[int]) -> None:
        """The same of tables that have just joined or moved: a copy of one that began before does not count."""
        for oid in oids:
            self.missed([oid], running)
            self._gaps.hold(oid, running)

    async def mark(self, before: Catalog, after: Catalog, *, forbidden: frozenset[int], unpublished: frozenset[int]) -> None:
        """Mark what changed from ``before`` to ``after``, and the tables ``unpublished`` for a while, which no catalog shows.

        ``forbidden``: tables that the archiver's role may not publish.
        """
        tables = {table.oid: table for table in after.tables}
        found = {change.oid: change for change in compare(before, after, self._filenodes)}
        for oid, change in found.items():
            waits = self._unseen.get(oid, frozenset()) | self._earlier
            if oid in forbidden:
                await self._gaps.mark(tables[oid], "table_not_readable", "the archiver's role may not publish it", waits=waits)
            else:
                await self._gaps.mark(tables[oid], change.reason, change.detail, cause=change.reason, waits=waits)
        for oid in sorted(unpublished & tables.keys() - found.keys()):
            waits = self._unseen.get(oid, frozenset()) | self._earlier
            await self._gaps.mark(tables[oid], "table_added", "it, or a column of it, was in no publication for a while", waits=waits)
        self._unseen.clear()
        self._gaps.keep_only(after)
