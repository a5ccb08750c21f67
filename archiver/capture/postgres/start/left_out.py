"""A transaction that cannot be received: which tables it wrote to, and what the journal says of it.

Replication begins behind its commit record, so that the server does not decode it again: nothing else is left out. Its tables are copied
again afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import psycopg

from archiver.capture.postgres.session.replication import Connection
from archiver.journal.records import Gap
from archiver.postgres.lsn import format_position
from archiver.postgres.records import Catalog, Schema, Table

REASON = "too_large"
_SECONDS = 300

# A change begins with its type and the table's oid; a TRUNCATE has the number of tables, options, and their oids.
_CHANGES = """
SELECT DISTINCT (get_byte(data, at)::int8 << 24) + (get_byte(data, at + 1) << 16) + (get_byte(data, at + 2) << 8) + get_byte(data, at + 3)
  FROM pg_logical_slot_peek_binary_changes(%s, %s::pg_lsn, NULL, 'proto_version', '1', 'publication_names', %s, 'binary', 'true')
 CROSS JOIN LATERAL (SELECT 1 WHERE get_byte(data, 0) <> ascii('T') UNION ALL
                     SELECT 6 + 4 * i FROM generate_series(0, (get_byte(data, 3) << 8) + get_byte(data, 4) - 1) i
                      WHERE get_byte(data, 0) = ascii('T')) places (at)
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
    return frozenset(oid for (oid,) in changes)


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
