"""What could go wrong with capture of this database, looked at before anything is touched. Also behind ``archiver check``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.access import Session
from archiver.journal.postgres_records import Catalog


@dataclass(frozen=True)
class Finding:
    """One thing that was found: what it is about, why it matters, what to do."""

    code: str
    """Stable word; docs/reference/postgres-preflight.md has one line for each."""
    about: str
    """``server``, ``role``, ``database``, ``table public.runs``, …"""
    reason: str
    remedy: str


@dataclass(frozen=True)
class Preflight:
    """What a source may expect. ``catalog`` carries the capture mode of each table."""

    server_version: int
    database: str
    role: str
    superuser: bool
    catalog: Catalog
    ddl: Literal["trigger", "poll"]
    """How schema changes will be noticed."""
    refusals: list[Finding]
    warnings: list[Finding]
    notes: list[Finding]

    def raise_refusals(self) -> None:
        """Raise ``Refused`` with every refusal and its remedy; nothing when there is none."""
        raise NotImplementedError


async def preflight(connection: Session, config: PostgresConfig) -> Preflight:
    """Look at server, role, tables and publications over an ordinary session; changes nothing.

    Raises ``Unavailable`` or ``Refused`` only when it cannot even look.
    """
    raise NotImplementedError
