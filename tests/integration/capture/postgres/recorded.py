"""What a capture recorded about schema and tables, read without any of the product's replay code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from archiver.journal.entry import Kind
from archiver.postgres.records import Schema, Sequences, Snapshot, TableRows
from archiver.store.memory import MemoryStore
from tests.integration.capture.postgres.rig import SOURCE, Capture

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def rows_of(store: MemoryStore, table: TableRows) -> bytes:
    """The COPY text of a table; checks what its parts say of themselves."""
    texts = []
    for part in table.parts:
        stored = store.peek(part.key)
        assert stored is not None
        text = zstd.decompress(stored)
        assert (len(stored), len(text), text.count(b"\n")) == (part.size, part.raw_size, part.rows)
        assert text.endswith(b"\n")
        texts.append(text)
    return b"".join(texts)


async def schemas(made: Capture) -> list[Schema]:
    """All PG_SCHEMA entries, in order; every one has a dump."""
    found = []
    for placed in await made.placed():
        if placed.run.source == SOURCE and placed.run.kind is Kind.PG_SCHEMA:
            schema, dump = placed.run.bodies()
            assert dump.startswith(b"PGDMP")
            found.append(msgspec.json.decode(schema, type=Schema))
    return found


async def copies(made: Capture, name: str = "") -> list[Snapshot]:
    """PG_TABLES entries, in order; of the table ``name`` only when it is given."""
    found = [
        msgspec.json.decode(body, type=Snapshot)
        for placed in await made.placed()
        if placed.run.kind is Kind.PG_TABLES
        for body in placed.run.bodies()
    ]
    return [copy for copy in found if not name or name in [table.name for table in copy.tables]]


async def newest_rows(made: Capture, name: str) -> list[bytes]:
    """Sorted lines of the newest copy of a table."""
    table = next(table for table in (await copies(made, name))[-1].tables if table.name == name)
    return sorted(rows_of(made.store, table).splitlines())


async def sequences(made: Capture) -> list[dict[str, int | None]]:
    """Name to value, for each PG_SEQUENCES entry."""
    return [
        {value.name: value.last_value for value in msgspec.json.decode(body, type=Sequences).values}
        for placed in await made.placed()
        if placed.run.kind is Kind.PG_SEQUENCES
        for body in placed.run.bodies()
    ]


async def gap_reasons(made: Capture, what: str) -> list[str]:
    """Reasons of the gaps of ``what``, in order."""
    return [gap.reason for gap in await made.gaps() if gap.what == what]


def names(tables: Sequence[TableRows]) -> list[str]:
    return [table.name for table in tables]
