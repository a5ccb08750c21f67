"""What a PostgreSQL source needs to know, with every secret resolved; the service makes it from the settings."""

from __future__ import annotations

from typing import Literal

import msgspec


class PostgresConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One database. Fields that the settings have too mean what ``settings.model.Postgres`` says."""

    dsn: str
    """A complete libpq connection string or URI, password included. Never logged: ``connection.describe`` tells it without secrets."""
    slot: str
    schemas: list[str] = []
    exclude_tables: list[str] = []
    ddl: Literal["auto", "trigger", "poll"] = "auto"
    poll_seconds: float = 10.0
    baseline_jobs: int = 2
    part_bytes: int = 33_554_432
    insert_only_snapshot_seconds: float = 3600.0
    slot_timeout_seconds: float = 60.0
    allow_unlimited_wal: bool = False
    adopt_new_system: bool = False
    on_history_lost: Literal["rebaseline", "stop"] = "rebaseline"
    streaming: bool = True
    synchronous: bool = False
    pg_bin: str = ""
    heartbeat_seconds: float = 10.0
    """A position without changes is journaled this often (``archive.heartbeat_seconds``)."""
    queue_bytes: int = 16_777_216
    """Received and not yet taken over by the journal's buffer; reading pauses beyond it."""

    @property
    def publications(self) -> tuple[str, str]:
        """Tables captured whole, and tables of which only inserts and truncates may be published."""
        return f"{self.slot}_key", f"{self.slot}_insert"
