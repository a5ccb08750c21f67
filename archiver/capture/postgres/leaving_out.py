"""A transaction that cannot be received is left out of the journal, by name, and the rest goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.capture.postgres.start.left_out import affected, gaps_of, tables_written, with_pending
from archiver.journal.entry import Kind
from archiver.postgres.lsn import format_position
from archiver.postgres.records import Schema

if TYPE_CHECKING:
    from archiver.capture.postgres.config import PostgresConfig
    from archiver.capture.postgres.session.oversized import Transaction
    from archiver.capture.postgres.session.replication import Connection
    from archiver.capture.postgres.source_entries import SourceEntries

log = structlog.get_logger()


@dataclass(frozen=True)
class LeftOut:
    """What leaving a transaction out has changed."""

    schema: Schema
    """The journal's schema now: its tables are to be copied."""
    tables: frozenset[int]
    gaps: int


async def leave_out(
    source: str,
    begun: Transaction,
    position: int,
    newest: tuple[Schema, bytes],
    config: PostgresConfig,
    entries: SourceEntries,
    query: Connection,
) -> LeftOut:
    """Journal that the transaction ``begun`` is left out from ``position`` on, and that its tables are to be copied; durable on return.
    ``newest``: the journal's schema and its dump. The slot must not be in use.
    """
    written = await tables_written(query, config.slot, config.publications, begun.xid, begun.commit)
    schema, dump = newest
    tables = affected(schema.catalog, written)
    gaps = gaps_of(tables, position=position, exact=written is not None)
    names = [f"{table.schema}.{table.name}" for table in tables]
    log.error("transaction_left_out", source=source, xid=begun.xid, reason="too_large", tables=names, exact=written is not None)
    oids = frozenset(table.oid for table in tables)
    # Behind what is left out nobody knows what was announced.
    schema = msgspec.structs.replace(with_pending(schema, oids), sealing=None)
    # What is to be copied comes first: once the position is known, nothing but the journal tells of it.
    await entries.append(Kind.PG_SCHEMA, msgspec.json.encode(schema), dump)
    # A table that the journal's schema does not have yet is found, and copied, as a new one.
    kind, bodies = (Kind.GAP, [msgspec.json.encode(gap) for gap in gaps]) if gaps else (Kind.PROGRESS, [b""])
    await entries.append(kind, *bodies, position=format_position(begun.commit + 1))
    await entries.durable()
    return LeftOut(schema, oids, len(gaps))
