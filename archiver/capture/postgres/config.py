"""What a PostgreSQL source needs to know: the options that a user sets, and with every secret resolved what the service makes of them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from archiver.bounds import Count, Positive


class PostgresOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may set of one database, beside how to log in. The settings inherit it."""

    slot: str = ""
    """Replication slot; empty: ``archiver_<source name>``. Publications are ``<slot>_key`` and ``<slot>_insert``."""
    schemas: list[str] = []
    """Captured schemas; empty: all but the system's."""
    exclude_tables: list[str] = []
    """``schema.table`` names that are not captured; ``*`` matches within a part."""
    redact: list[str] = []
    """``schema.table.column`` names whose values are never captured: the server does not publish them, copies leave them out, and a restore
    has NULL there. ``*`` is anything within a part, dots too. Not for columns that are NOT NULL or part of a key. What was captured before
    stays. Name tables, too, that take values over, that become children of a redacted one (``INHERIT``), or that are made anew with other
    names, before they have rows: nothing else tells of these."""
    strict: bool = False
    """A name in ``schemas`` that the database does not have, and a line of ``exclude_tables`` that matches no table, are refused, and
    count against readiness when they come to match nothing later. Otherwise check, log, ``/readyz`` and a metric name them."""
    ddl: Literal["auto", "trigger", "poll"] = "auto"
    """How schema changes are noticed: event trigger (superuser), catalog poll, or the trigger where rights allow."""
    poll_seconds: Positive = 10.0
    """Catalog, sequences and slot health are read this often."""
    baseline_jobs: Count = 2
    """Connections that copy tables at the same time."""
    part_bytes: Annotated[int, Meta(ge=65536, le=134217728)] = 33_554_432
    """Uncompressed size of one baseline object."""
    largest_row_bytes: Annotated[int, Meta(ge=1048576, le=1073741824)] = 67_108_864
    """Rows and messages whose text is larger are not captured; their table has a gap as long as it holds them. Memory grows with it."""
    insert_only_snapshot_seconds: Positive = 3600.0
    """Tables whose updates cannot be published are copied again this often, if they changed."""
    slot_timeout_seconds: Positive = 60.0
    """Creating a slot waits for transactions that are open; give up after this and name them."""
    allow_unlimited_wal: bool = False
    """Start although ``max_slot_wal_keep_size`` is -1: a stopped archiver can then fill the source's disk."""
    adopt_new_system: bool = False
    """Accept that the database behind the DSN is another cluster than the journal knows; it is recorded as a gap."""
    on_history_lost: Literal["rebaseline", "stop"] = "rebaseline"
    """When the slot no longer has what follows the journal: record a gap and take a new baseline, or stop this source."""
    streaming: bool = True
    """Receive large transactions while they run, instead of after they were spilled to the source's disk."""
    synchronous: bool = False
    """This archiver is named in ``synchronous_standby_names``: acknowledge every keepalive without delay (RPO = 0)."""
    pg_bin: str = ""
    """Folder with pg_dump and pg_restore; empty: the newest found on PATH and in the usual places."""


class PostgresConfig(PostgresOptions, frozen=True, kw_only=True):
    """One database as capture uses it."""

    dsn: str
    """A complete libpq connection string or URI, password included. Never logged: ``access.describe`` tells it without secrets."""
    slot: str
    """The replication slot's name, never empty."""
    heartbeat_seconds: float = 10.0
    """A position without changes is journaled this often (``archive.heartbeat_seconds``)."""
    queue_bytes: int = 16_777_216
    """Received and not yet taken over by the journal's buffer; reading pauses beyond it."""

    @property
    def publications(self) -> tuple[str, str]:
        """Tables captured whole, and tables of which only inserts and truncates may be published."""
        return f"{self.slot}_key", f"{self.slot}_insert"
