"""Keeps the journal's knowledge of the schema true while the stream runs, over an ordinary connection of its own."""

from __future__ import annotations

from archiver.capture.postgres.access import Access
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.pg_tools import PgTools
from archiver.clock import Clock
from archiver.journal.postgres_records import Schema
from archiver.journal.writer import Writer


class SchemaWatcher:
    """Polls catalog, publications, sequences and the slot; appends PG_SCHEMA, PG_TABLES, PG_SEQUENCES and GAP entries."""

    slot_health: dict[str, object]
    """Row of ``pg_replication_slots`` as last read (wal_status, safe_wal_size, retained_bytes, confirmed_flush_lsn, source_lsn)."""

    def __init__(
        self,
        source: str,
        access: Access,
        config: PostgresConfig,
        tools: PgTools,
        writer: Writer,
        clock: Clock,
        *,
        known: Schema | None,
        compression_level: int = 1,
    ) -> None:
        """``known``: the baseline's schema, or the journal's newest (``schema_journal.newest_schema``): what changed since is found by it."""
        raise NotImplementedError

    async def run(self) -> None:
        """Watch until cancelled. Raises ``Unavailable`` when the database is gone, and what the writer raises.

        Every entry is complete in itself: cancellation at any moment leaves the journal true, and the next start finds what is missing.
        The first round writes a PG_SCHEMA (cause ``start``) unless ``known`` is the baseline's and still true.
        """
        raise NotImplementedError

    def ddl_seen(self, content: bytes = b"") -> None:
        """A message with prefix ``archiver/ddl`` came through the stream: look at once. May be called from any thread."""
        raise NotImplementedError
