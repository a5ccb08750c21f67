"""The replication connection: a logical walsender session, and what its errors mean.

psycopg 3 has no replication interface; what is used beyond ``execute`` stands here and in ``stream`` and nowhere else.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import conninfo, sql

from archiver.capture.postgres.session.access import Access, translated
from archiver.capture.postgres.session.session_settings import pin
from archiver.errors import ArchiverError, Invalid, Refused, Unavailable
from archiver.postgres.connecting import POOLER, connect

SENDER_TIMEOUT_SECONDS = 30.0
"""``wal_sender_timeout`` of our own session (any role may set it): a busy moment of ours is no reason to be cut off."""

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class Unpublished(Unavailable):
    """What follows was written while a publication of ours did not exist, and the server (before 18) can never decode it."""


async def connect_replication(access: Access, name: str) -> Connection:
    """A walsender session: one command at a time, no parameters. ``synchronous_standby_names`` matches ``name``.

    Raises ``Unavailable``, ``Invalid`` or ``Refused``.
    """
    values = access.arguments()
    values |= {"replication": "database", "application_name": name}
    values["options"] += f" -c wal_sender_timeout={SENDER_TIMEOUT_SECONDS:g}s"
    connection = await connect("", "connecting for replication", **values)
    try:
        await connection.execute(pin())
    except psycopg.Error as error:
        await connection.close()
        raise explained(error, "connecting for replication") from error
    except BaseException:
        await connection.close()
        raise
    return connection


async def identify(replication: Connection) -> tuple[Any, ...]:
    """System id, timeline, end of the log and database, as the server says them. Raises as ``explained`` has it."""
    try:
        row = await (await replication.execute(b"IDENTIFY_SYSTEM")).fetchone()
    except psycopg.Error as error:
        raise explained(error, "asking the server who it is") from error
    assert row is not None
    return row


class Undecodable(Unavailable):
    """The server failed in itself while it decoded its log. At that place of the log it may fail for ever."""


def explained(error: psycopg.Error, doing: str) -> ArchiverError:
    """``access.translated``, and the errors that only replication has."""
    found = translated(error, doing)
    if error.sqlstate == "55006":
        return Unavailable(found.message, hint="another consumer holds the slot: stop it, or wait until the server notices that it is gone")
    if error.sqlstate == "42601":
        return Invalid(f"{doing}: the other end does not speak the replication protocol ({found.message})", hint=POOLER)
    if error.sqlstate == "53400":
        return Refused(found.message, hint="raise max_replication_slots, or drop slots that nobody uses")
    if error.sqlstate == "42501":
        return Refused(found.message, hint="the role needs the REPLICATION attribute: ALTER ROLE … REPLICATION")
    return found


def describe(dsn: str) -> str:
    """The DSN for people: who, where, which database; no password and no other secret."""
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return "(a connection string that cannot be read)"
    host = given.get("host") or given.get("hostaddr") or "localhost"
    port = f":{given['port']}" if given.get("port") else ""
    user = f"{given['user']}@" if given.get("user") else ""
    return f"postgresql://{user}{host}{port}/{given.get('dbname') or given.get('user') or ''}"


def quoted(name: str) -> str:
    """An identifier, quoted."""
    return sql.Identifier(name).as_string(None)


def literal(text: str) -> str:
    """A string literal for the replication grammar, which knows neither parameters nor escapes."""
    return "'" + text.replace("'", "''") + "'"
