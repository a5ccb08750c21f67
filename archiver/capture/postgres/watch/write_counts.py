"""Insert-only tables: the server's statistics say when rows were updated or deleted, never which. Pure."""

from __future__ import annotations

import msgspec

from archiver.postgres.lsn import parse_position
from archiver.postgres.records import NOT_COUNTED, Catalog, Table


class WriteCounts:
    """How many updates and deletes the statistics had counted for each table when it was last copied, and until when that was so."""

    def __init__(self, journaled: Catalog | None) -> None:
        """``journaled``: the journal's newest catalog, which ``annotate`` wrote."""
        self._copied: dict[int, int] = {}
        self._known_until: dict[int, str] = {}
        for table in journaled.tables if journaled is not None else ():
            if table.mode == "insert":
                self.copied(table.oid, table.copied_writes, table.known_until)

    def known_until(self, oid: int) -> str:
        """LSN up to which the rows are known as they were copied; empty: not at all."""
        return self._known_until.get(oid, "")

    def copied(self, oid: int, count: int, floor: str) -> None:
        """A table was copied: ``count`` was read before, and the copy has all that committed before the LSN ``floor``."""
        self._copied[oid], self._known_until[oid] = count, floor

    def changed(self, oid: int, count: int, floor: str) -> bool:
        """Whether something was, or may have been, written since the copy. If not, that is so up to ``floor``, of which the statistics know
        for sure.
        """
        if count == NOT_COUNTED or count != self._copied.get(oid, NOT_COUNTED):
            return True
        if parse_position(floor) > parse_position(self.known_until(oid)):
            self._known_until[oid] = floor
        return False

    def suspicion(self, oid: int, count: int) -> str:
        """Why rows may be otherwise than they were copied, for people, when ``changed`` says so.

        Never more than that: statistics count what is rolled back too, and some of it after a copy that has it.
        """
        copied = self._copied.get(oid, NOT_COUNTED)
        if count == NOT_COUNTED:
            why = "the server counts none, because track_counts is off"
        elif copied == NOT_COUNTED:
            why = "it is not known how many the server had counted when they were copied"
        elif count < copied:
            why = "the server's counts began anew"
        else:
            why = f"the server counted {count - copied} since they were copied"
        return f"rows may have been updated or deleted: {why}; the table has no usable replica identity"

    def annotate(self, catalog: Catalog) -> Catalog:
        """``catalog`` with what the next start must know."""
        return msgspec.structs.replace(catalog, tables=[self._annotated(table) for table in catalog.tables])

    def _annotated(self, table: Table) -> Table:
        if table.mode != "insert":
            return table
        return msgspec.structs.replace(
            table, copied_writes=self._copied.get(table.oid, NOT_COUNTED), known_until=self.known_until(table.oid)
        )
