"""One snapshot that a transaction of ours holds and many connections read: the baseline's, or a fresh one while streaming."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import psycopg

from archiver.capture.postgres.session.access import Access, Session, translated
from archiver.errors import Bug

_NAME = re.compile(r"[0-9A-F-]+")


@dataclass(frozen=True)
class HeldSnapshot:
    """A snapshot that stays importable for as long as its holder's transaction is open."""

    connection: Session
    """REPEATABLE READ, READ ONLY, inside the snapshot. May be used for queries under it, by one task at a time, through ``reading``."""
    name: str
    """For ``SET TRANSACTION SNAPSHOT`` and ``pg_dump --snapshot``."""
    lsn: str
    """Every transaction that the snapshot sees commits before it."""
    visible: str
    taken: int
    """Server time, microseconds."""

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[Session]:
        """``connection``, to read the catalog under the snapshot; locks on what was read are given back at the end.

        This transaction may stay open for hours while pg_dump and the copies run in sessions that begin later. If it kept a lock on a
        catalog, who rewrites that (VACUUM FULL pg_class) would wait for it, every new session for him, and it for ours: the server sees
        no circle, and nobody could log in. Raises ``Unavailable``.
        """
        try:
            async with self.connection.transaction(force_rollback=True):
                yield self.connection
        except psycopg.Error as error:
            raise translated(error, "reading the catalog") from error


@contextlib.asynccontextmanager
async def hold_snapshot(access: Access, *, exported: str = "", lsn: str = "") -> AsyncIterator[HeldSnapshot]:
    """Hold the snapshot ``exported`` by ``CREATE_REPLICATION_SLOT`` (then ``lsn`` is its consistent point); a fresh one when it is empty.

    It is exported again under a name of our own. So once the body is entered, the replication connection that made the slot may go on
    to START_REPLICATION: no later import depends on it (measured on 15, 16 and 18).

    Raises ``Unavailable`` when the server does not answer or ``exported`` is gone already.
    """
    connection = await access.connect()
    try:
        try:
            held = await _hold(connection, exported, lsn)
        except psycopg.Error as error:
            raise translated(error, "taking a snapshot") from error
        yield held
    finally:
        # The transaction ends with the session; nothing needs an answer.
        await connection.close()


async def _hold(connection: Session, exported: str, lsn: str) -> HeldSnapshot:
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    await import_snapshot(connection, exported)
    cursor = await connection.execute(
        "SELECT pg_catalog.pg_export_snapshot(), pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_current_wal_insert_lsn()::text,"
        " (EXTRACT(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::int8"
    )
    row = await cursor.fetchone()
    assert row is not None
    name, visible, now, taken = row
    return HeldSnapshot(connection, name, lsn or now, visible, taken)


async def import_snapshot(connection: Session, name: str) -> None:
    """Make ``name`` the snapshot of the transaction that just began; nothing for the empty name."""
    if not name:
        return
    if not _NAME.fullmatch(name):
        raise Bug("the name of a snapshot has other characters than the server gives it")
    await connection.execute(f"SET TRANSACTION SNAPSHOT '{name}'".encode())
