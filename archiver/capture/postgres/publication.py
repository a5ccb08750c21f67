"""Our two publications and who is in them. No table is ever published for UPDATE unless the server can identify its rows."""

from __future__ import annotations

from dataclasses import dataclass

from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.access import Session
from archiver.journal.postgres_records import Catalog


@dataclass(frozen=True)
class Reconciled:
    """What was changed, by table oid."""

    added: list[int]
    """Not in either publication before: rows and changes until now are unknown to the stream."""
    moved: list[int]
    """From one publication to the other."""
    removed: list[int]


async def reconcile_publications(connection: Session, config: PostgresConfig, catalog: Catalog) -> Reconciled:
    """Create the two publications or bring their members in line with the modes in ``catalog``, in one transaction.

    Called before the slot is created, for a slot older than its publication fails for ever on 15, and again after each change.
    Raises ``Refused`` when rights are missing or a publication of that name is not ours to use, ``Unavailable`` when a lock is
    not to be had within 5 s.
    """
    raise NotImplementedError
