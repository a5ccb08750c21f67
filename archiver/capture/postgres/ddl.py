"""Event triggers that announce schema changes in the stream, in the transaction that made them."""

from __future__ import annotations

from archiver.capture.postgres.access import Session

PREFIX = "archiver/ddl"
"""Of the transactional logical messages."""


async def install(connection: Session) -> bool:
    """Install or upgrade function and triggers; True when they are there afterwards, False when the role's rights do not suffice."""
    raise NotImplementedError


async def uninstall(connection: Session) -> None:
    """Remove triggers, function and schema; nothing when they are not there."""
    raise NotImplementedError
