"""The first state of a source: schema, rows and sequences under the snapshot of its replication slot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from archiver.capture.postgres.baseline.copy_tables import CopyLimits, PartSink, copy_tables
from archiver.capture.postgres.baseline.large_rows import TOO_LARGE
from archiver.capture.postgres.baseline.schema_entry import take_schema
from archiver.capture.postgres.catalog.publication_members import read_members, with_members
from archiver.capture.postgres.catalog.redaction import Redaction
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.catalog.sequences import read_sequences
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.session.access import Access
from archiver.capture.postgres.session.schema_dump import PgTools
from archiver.capture.postgres.session.snapshot import HeldSnapshot
from archiver.journal.records import Gap
from archiver.postgres.records import Schema, Sequences, Snapshot, Table, TableRows


@dataclass(frozen=True)
class Baseline:
    """What the source appends, in this order: PG_SCHEMA (schema, dump), PG_SEQUENCES, CHECKPOINT. All parts are durable already."""

    schema: Schema
    """``catalog.pending`` names the tables that are not whole, because DDL made them unreadable under the snapshot or rows are too
    large: the watcher records gaps and copies them."""
    dump: bytes
    sequences: Sequences
    tables: list[TableRows]
    too_large: dict[int, int]
    """Tables that lack so many rows, which are too large."""

    def gaps(self) -> list[Gap]:
        """What the source appends right behind the CHECKPOINT, which has no room for it: tables that are not whole in it."""
        return [
            Gap(f"table {table.schema}.{table.name}", "too_large", TOO_LARGE, self.schema.lsn, relation=table.oid)
            for table in self.tables
            if table.oid in self.too_large
        ]

    def snapshot(self, replay_from: int) -> Snapshot:
        """Body of the CHECKPOINT; ``replay_from``: number of the entry from which the slot's transactions are in the journal."""
        return Snapshot(self.schema.lsn, self.schema.visible, self.schema.taken, replay_from, self.tables, floor=self.schema.floor)


async def take_baseline(
    held: HeldSnapshot,
    access: Access,
    config: PostgresConfig,
    tools: PgTools,
    sink: PartSink,
    *,
    source: str,
    identity: str,
    compression_level: int = 1,
    writes: Mapping[int, int] | None = None,
    redaction: Redaction | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Baseline:
    """Copy everything that is captured; every part is durable on return.

    Under ``held`` (``hold_snapshot(access, exported=…, lsn=consistent_point)``): streaming may start before this is called. ``sink`` is the
    journal's writer. ``identity`` names the folder of the parts and is never used again. ``writes``: ``Preflight.writes``, read before
    the slot was made. ``progress(rows, bytes)`` is called from the event loop with running totals. Cancellation stops all workers
    and leaves parts that no entry names.
    Raises ``Unavailable`` (try again from a new slot), ``Refused`` for a missing right.
    """
    scope = Scope.of(config, redaction)
    taken = await take_schema(held, access, tools, scope, cause="baseline")
    # Not under the snapshot: the server would keep every sequence locked until that ends.
    async with await access.connect() as session:
        sequences = await read_sequences(session, scope)
    captured = [table for table in taken.schema.catalog.tables if table.mode != "excluded"]
    copied = await copy_tables(
        held,
        access,
        captured,
        sink,
        source=source,
        identity=identity,
        limits=CopyLimits(config.baseline_jobs, config.part_bytes, compression_level, config.largest_row_bytes),
        progress=progress,
    )
    tables = [_known(table, held.lsn, (writes or {}).get(table.oid, -1)) for table in taken.schema.catalog.tables]
    catalog = msgspec.structs.replace(taken.schema.catalog, tables=tables, pending=sorted({*copied.missed, *copied.too_large}))
    async with held.reading() as session:
        catalog = with_members(catalog, await read_members(session, config.publications))
    # Whatever the slot's snapshot does not see commits at or after its consistent point.
    schema = msgspec.structs.replace(taken.schema, catalog=catalog, floor=held.lsn)
    return Baseline(schema, taken.dump, sequences, copied.tables, copied.too_large)


def _known(table: Table, lsn: str, writes: int) -> Table:
    if table.mode != "insert":
        return table
    return msgspec.structs.replace(table, copied_writes=writes, known_until=lsn)
