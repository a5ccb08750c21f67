"""Creating, changing and dropping the replication slot."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import psycopg

from archiver.capture.postgres.session.replication import Connection, explained, quoted
from archiver.errors import Unavailable


class SlotExistsError(Exception):
    """Somebody else created a slot of this name since it was looked for."""


@dataclass(frozen=True)
class NewSlot:
    """A new slot."""

    consistent_point: str
    """Every transaction whose commit record starts at or after it will be delivered; every earlier one is in the snapshot."""
    snapshot: str
    """Exported; importable until the next command on the replication connection."""


async def create_slot(replication: Connection, query: Connection, name: str, *, failover: bool, timeout_seconds: float) -> NewSlot:
    """Create the logical slot ``name``, with FAILOVER (17 and newer) or without.

    Waits for transactions that write; gives up after ``timeout_seconds`` and names them.

    Leaves no slot when it raises ``Unavailable``, ``Refused`` or ``SlotExistsError``, or is cancelled.
    """
    options = "SNAPSHOT 'export', FAILOVER true" if failover else "SNAPSHOT 'export'"
    command = f"CREATE_REPLICATION_SLOT {quoted(name)} LOGICAL pgoutput ({options})"
    try:
        async with asyncio.timeout(timeout_seconds):
            cursor = await replication.execute(command.encode())
            row = await cursor.fetchone()
    except TimeoutError:
        raise Unavailable(
            f"creating slot {name} waited {timeout_seconds:g} s for open transactions{await _writers(query)}",
            hint="end them, or raise slot_timeout_seconds; it is tried again",
        ) from None
    except psycopg.errors.DuplicateObject as error:
        raise SlotExistsError(name) from error
    except psycopg.Error as error:
        raise explained(error, f"creating slot {name}") from error
    assert row is not None
    return NewSlot(consistent_point=str(row[1]), snapshot=str(row[2]))


async def set_failover(replication: Connection, name: str, *, failover: bool) -> None:
    """Give the slot FAILOVER, or take it away (17 and newer). Raises ``Unavailable`` while somebody uses it."""
    try:
        await replication.execute(f"ALTER_REPLICATION_SLOT {quoted(name)} (FAILOVER {'true' if failover else 'false'})".encode())
    except psycopg.Error as error:
        raise explained(error, f"changing slot {name}") from error


async def drop_slot(replication: Connection, name: str) -> None:
    """Drop the slot. Raises ``Unavailable`` while somebody uses it; the message names the process. Nothing when it is gone already."""
    try:
        await replication.execute(f"DROP_REPLICATION_SLOT {quoted(name)}".encode())
    except psycopg.errors.UndefinedObject:
        return
    except psycopg.Error as error:
        raise explained(error, f"dropping slot {name}") from error


async def _writers(query: Connection) -> str:
    """Processes and prepared transactions that hold a transaction id, for a message."""
    try:
        cursor = await query.execute(
            b"SELECT l.pid, p.gid FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = l.transactionid"
            b" WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()"
            b" ORDER BY age(l.transactionid) DESC LIMIT 5"
        )
        rows = await cursor.fetchall()
    except psycopg.Error:
        return ""
    names = [f"process {pid}" if pid else f"prepared transaction {gid}" for pid, gid in rows]
    return f": {', '.join(names)}" if names else ""
