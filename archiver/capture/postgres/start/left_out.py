"""A transaction that cannot be received: which tables it wrote to, and what the journal says of it.

Replication begins behind its commit record, so that the server does not decode it again: nothing else is left out. Its tables are copied
again afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import psycopg

from archiver.capture.postgres.session.replication import Connection
from archiver.journal.entry import Kind, SourceMark
from archiver.journal.reader import Reader
from archiver.journal.records import Gap
from archiver.postgres.lsn import format_position
from archiver.postgres.records import Catalog, Schema, Table

REASON = "too_large"
_SECONDS = 300

# What a change begins with: its type and the table's oid; of a TRUNCATE the number of tables, options, and their oids.
_CHANGES = """
SELECT DISTINCT get_byte(data, 0), CASE WHEN get_byte(data, 0) = ascii('T') THEN substr(data, 1, 4096) ELSE substr(data, 1, 5) END
  FROM pg_logical_slot_peek_binary_changes(%s, %s::pg_lsn, NULL, 'proto_version', '1', 'publication_names', %s, 'binary', 'true')
 WHERE xid::text = %s AND get_byte(data, 0) IN (ascii('I'), ascii('U'), ascii('D'), ascii('T'))
"""


async def tables_written(query: Connection, slot: str, publications: tuple[str, str], xid: int, commit: int) -> frozenset[int] | None:
    """Published tables that a transaction wrote to; ``None`` when the server cannot tell. The slot must not be in use.

    In binary form most values are smaller than as text, so that a server can often show what it cannot send.
    """
    names = ",".join(f'"{name}"' for name in publications)
    try:
        async with query.transaction():
            await query.execute(f"SET LOCAL statement_timeout = '{_SECONDS}s'".encode())
            cursor = await query.execute(_CHANGES.encode(), [slot, format_position(commit + 1), names, str(xid)])
            changes = await cursor.fetchall()
    except psycopg.Error:
        if query.closed:
            raise
        return None
    return frozenset(oid for kind, head in changes for oid in _oids(kind, bytes(head)))


def _oids(kind: int, head: bytes) -> Iterable[int]:
    if kind != ord("T"):
        return [int.from_bytes(head[1:5], "big")]
    count = int.from_bytes(head[1:5], "big")
    return [int.from_bytes(head[at : at + 4], "big") for at in range(6, min(6 + 4 * count, len(head) - 3), 4)]


def gaps_of(tables: Iterable[Table], *, position: int, exact: bool) -> list[Gap]:
    """What is missing of ``tables`` from ``position`` on. ``exact``: the transaction did write to them."""
    detail = "a transaction holds a row that is too large to be received; it is left out"
    if not exact:
        detail += ", and this table may be one of those that it wrote to"
    return [
        Gap(
            what=f"table {table.schema}.{table.name}",
            reason=REASON,
            detail=detail,
            from_position=format_position(position),
            relation=table.oid,
        )
        for table in tables
    ]


def with_pending(schema: Schema, oids: frozenset[int]) -> Schema:
    """``schema`` with ``oids`` among the tables that are to be copied, whose gaps are recorded elsewhere."""
    catalog = msgspec.structs.replace(schema.catalog, pending=sorted(oids.union(schema.catalog.pending)))
    return msgspec.structs.replace(schema, catalog=catalog, cause="poll" if schema.cause == "baseline" else schema.cause)


def affected(catalog: Catalog, written: frozenset[int] | None) -> list[Table]:
    """Captured tables among ``written``; all of them when that is not known."""
    return [table for table in catalog.tables if table.mode != "excluded" and (written is None or table.oid in written)]


async def newest_dump(reader: Reader, source: str, mark: SourceMark) -> tuple[Schema, bytes] | None:
    """The newest PG_SCHEMA entry with its dump. Raises ``Corrupt``, ``Unavailable``."""
    found: tuple[Schema, bytes] | None = None
    async for placed in reader.read(mark.schema_segment, last=mark.schema_segment):
        if placed.run.source == source and placed.run.kind is Kind.PG_SCHEMA:
            schema, dump = placed.run.bodies()
            found = msgspec.json.decode(schema, type=Schema), bytes(dump)
    return found
