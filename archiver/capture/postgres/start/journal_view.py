"""The newest schema of a source that the journal holds: what a start compares the catalog with."""

from __future__ import annotations

import msgspec

from archiver.journal.entry import Kind, SourceMark
from archiver.journal.reader import Reader
from archiver.postgres.records import Schema


async def newest_schema(reader: Reader, source: str, mark: SourceMark) -> Schema | None:
    """The newest PG_SCHEMA entry of ``source``; None when there is none. Reads one segment. Raises ``Corrupt``, ``Unavailable``."""
    if mark.schema_slot < 0:
        return None
    found: Schema | None = None
    async for placed in reader.read(mark.schema_slot, to_slot=mark.schema_slot):
        if placed.run.source == source and placed.run.kind is Kind.PG_SCHEMA:
            found = msgspec.json.decode(next(placed.run.bodies()), type=Schema)
    return found
