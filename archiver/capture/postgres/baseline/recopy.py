"""Rows of some tables once more, under a snapshot of their own, while the stream runs."""

from __future__ import annotations

from dataclasses import dataclass

from archiver.capture.postgres.baseline.copy_tables import CopyLimits, PartSink, copy_tables
from archiver.capture.postgres.catalog.catalog import read_catalog
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.session.access import Access
from archiver.capture.postgres.session.snapshot import hold_snapshot
from archiver.postgres.records import Snapshot, TableRows


@dataclass(frozen=True)
class RecopyResult:
    """What PG_TABLES entries are made of. All parts are durable."""

    lsn: str
    visible: str
    taken: int
    tables: list[TableRows]
    """Without those that DDL made unreadable meanwhile and those that are gone."""
    too_large: dict[int, int]
    """Tables that lack so many rows, which are too large."""

    def snapshot(self, cause: str, oids: set[int], floor: str) -> Snapshot:
        """Body of one entry, with the tables among ``oids``; ``floor``: every transaction that the copy does not see commits behind it."""
        tables = [table for table in self.tables if table.oid in oids]
        return Snapshot(self.lsn, self.visible, self.taken, 0, tables, cause, floor)


async def recopy_tables(
    access: Access, scope: Scope, oids: set[int], sink: PartSink, *, source: str, identity: str, limits: CopyLimits
) -> RecopyResult:
    """Copy the tables ``oids`` as they are now. Cancellation stops it and leaves parts that no entry names. Raises as ``copy_tables``."""
    async with hold_snapshot(access) as held:
        async with held.reading() as session:
            observed = await read_catalog(session, scope)
        tables = [table for table in observed.catalog.tables if table.oid in oids and table.mode != "excluded"]
        copied = await copy_tables(held, access, tables, sink, source=source, identity=identity, limits=limits)
    return RecopyResult(held.lsn, held.visible, held.taken, copied.tables, copied.too_large)
