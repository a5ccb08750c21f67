"""The first state of a source: schema, rows and sequences under the snapshot of its replication slot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from archiver.capture.postgres.access import Access
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.pg_tools import PgTools
from archiver.capture.postgres.snapshot import Held
from archiver.journal.postgres_records import Schema, Sequences, Snapshot, TableRows
from archiver.journal.writer import Writer


@dataclass(frozen=True)
class Baseline:
    """What the source appends, in this order, once all parts are durable: PG_SCHEMA (schema, dump), PG_SEQUENCES, CHECKPOINT."""

    schema: Schema
    dump: bytes
    sequences: Sequences
    tables: list[TableRows]

    def snapshot(self, replay_from: int) -> Snapshot:
        """Body of the CHECKPOINT; ``replay_from``: number of the PG_STREAM entry that this baseline's slot began with."""
        raise NotImplementedError


async def take_baseline(
    held: Held,
    access: Access,
    config: PostgresConfig,
    tools: PgTools,
    writer: Writer,
    *,
    source: str,
    identity: str,
    compression_level: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Baseline:
    """Copy everything that is captured; every part is durable on return.

    Under ``held`` (``hold_snapshot(access, exported=…, lsn=consistent_point)``): streaming may start before this is called. ``identity`` names
    the folder of the parts and is never used again. ``progress(rows, bytes)`` is called from the event loop with running totals.
    Cancellation stops all workers and leaves parts that no entry names. Tables that DDL made unreadable under the snapshot are left
    out and named in ``schema.catalog.pending``: the watcher records the gap and copies them again.
    Raises ``Unavailable`` (try again from a new slot), ``Refused`` for a missing right.
    """
    raise NotImplementedError
