"""Opening a connection, and why a server did not let us in: with its SQLSTATE, and a hint that names that cause and no other.

libpq reports a refusal at the start of a session as text alone. The code is in the message that the server sent, so where it matters the
attempt is made once more with libpq's own trace, kept in memory (it can hold a password), and the code is read from there.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import time
from typing import Any

import psycopg
from psycopg import conninfo, pq

from archiver.errors import ArchiverError, Invalid, Refused, Unavailable
from archiver.pages import page
from archiver.postgres.connection_string import guarded

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_ANSWERED = re.compile(r"failed: \S+:  ?(.+)")
"""libpq's text when a server answered: the severity, in the server's language, and what it said."""
_CODE = re.compile(rb'ErrorResponse\t[^\n]*? C "([0-9A-Z]{5})"')
_STANDBY = ("session is read-only", "server is in hot standby mode")
POOLER = "connect to the server itself: a pooler (PgBouncer and the like) hands on neither start-up settings nor replication nor snapshots"
_TRACE_SECONDS = 10.0

OWN_PATH = "pg_catalog, pg_temp"
"""``search_path`` of what we say ourselves. Where ``pg_temp`` is not named it comes first, and what stands there anybody's code may have
made in this session."""
MANUAL = "its forms: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING"
"""For a connection string that libpq does not understand."""


async def connect(dsn: str, doing: str, **more: Any) -> Connection:
    """A connection in autocommit mode that prepares nothing, guarded as ``connection_string`` has it. ``more``: as for ``psycopg.connect``.

    A bare name means the server's own object, whatever role and database set, and nobody's view is read (``allow_views``).
    Raises as ``refusal`` has it; ``doing`` is what it says we were at.
    """
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise Invalid(f"{doing}: libpq does not understand the connection string", hint=MANUAL) from None
    more |= guarded({**given, **more})
    try:
        connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=None, **more)
    except psycopg.Error as error:
        state = await asyncio.to_thread(refusal_state, conninfo.make_conninfo(dsn, **more), str(error))
        raise refusal(str(error), state, doing) from error
    try:
        await connection.execute(f"SELECT pg_catalog.set_config('search_path', '{OWN_PATH}', false)".encode())
        await connection.execute(_restricting("view, foreign-table"))
    except psycopg.Error as error:
        await connection.close()
        said = error.diag.message_primary or "the connection was lost"
        raise Unavailable(f"{doing}: {said}", hint="the session could not be made safe; it is tried again") from error
    except BaseException:
        await connection.close()
        raise
    return connection


async def allow_views(connection: Connection) -> None:
    """For what runs the user's own queries, with nobody's rights but their owner's."""
    await connection.execute(_restricting(""))


def _restricting(kinds: str) -> bytes:
    """Functions of a view that stands under a name that we read would run with our rights (CVE-2024-7348). Older servers lack it."""
    return (
        f"SELECT pg_catalog.set_config(name, '{kinds}', false) FROM pg_catalog.pg_settings"
        " WHERE name OPERATOR(pg_catalog.=) 'restrict_nonsystem_relation_kind'"
    ).encode()


def refusal_state(dsn: str, text: str) -> str:
    """SQLSTATE with which the server refused the session, ``text`` being what libpq said; empty: no server answered. Blocks.

    A wrong password is known by its text, so that no second failed login is counted by whoever counts them.
    """
    if not _ANSWERED.search(text):
        return ""
    return "28P01" if "password authentication failed" in text else _traced(dsn)


def _traced(dsn: str) -> str:
    file = os.memfd_create("libpq-trace")
    try:
        session = pq.PGconn.connect_start(dsn.encode())
        try:
            session.trace(os.dup(file))
            session.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS | pq.Trace.REGRESS_MODE)
            until = time.monotonic() + _TRACE_SECONDS
            while time.monotonic() < until:
                step = session.connect_poll()
                if step not in (pq.PollingStatus.READING, pq.PollingStatus.WRITING):
                    break
                waiting = [session.socket]
                select.select(*((waiting, []) if step == pq.PollingStatus.READING else ([], waiting)), [], 1.0)
            session.untrace()
        finally:
            session.finish()
        codes: list[bytes] = _CODE.findall(os.pread(file, 1 << 20, 0))
        return codes[-1].decode() if codes else ""
    except (psycopg.Error, OSError, ValueError):
        return ""
    finally:
        os.close(file)


def refusal(text: str, state: str, doing: str) -> ArchiverError:
    """What it means that no session began: ``text`` by libpq, ``state`` by the server or empty.

    ``Invalid``: the connection string is wrong. ``Refused``: a right is missing. ``Unavailable``: it may work later.
    """
    lines = text.strip().splitlines()
    said = lines[0].removeprefix("connection failed: ") if lines else "no reason given"
    message = f"{doing}: {said} (SQLSTATE {state})" if state else f"{doing}: {said}"
    if "unsupported startup parameter" in text or state in ("08P01", "0A000"):
        return Invalid(message, hint=POOLER)
    if "no pg_hba.conf entry" in text or "pg_hba.conf rejects" in text:
        return Invalid(message, hint="pg_hba.conf of the server needs a line for this role, database and address (and TLS, if it says so)")
    if state == "28P01" or "no password supplied" in text:
        return Invalid(message, hint="the password is wrong, or missing in the connection string and its password reference")
    if state.startswith("28"):
        return Invalid(message, hint="check the user in the connection string: the role must exist at that server, with LOGIN")
    if state == "3D000":
        return Invalid(message, hint="check the database in the connection string; where it names none, libpq takes the user's name")
    if state == "42501" and "parameter" not in text:
        return Refused(message, hint="GRANT CONNECT ON DATABASE … TO … lets the role in")
    if state.startswith(("22", "42")):
        return Invalid(message, hint="the server does not take a setting among the connection string's options")
    if state.startswith("53"):
        return Unavailable(message, hint="all connections are in use: end some, or raise max_connections or the role's or database's limit")
    if state.startswith("57P0"):
        return Unavailable(message, hint="the server is starting, stopping or recovering; it is tried again")
    return _without_answer(text, message)


def _without_answer(text: str, message: str) -> ArchiverError:
    if any(words in text for words in _STANDBY):
        hint = "this is a standby, or takes no writes: give the address of the primary (CloudNativePG: the -rw service)"
        return Unavailable(message, hint=f"{hint}; in the middle of a failover it is tried again")
    if "could not translate host name" in text or "failed to resolve host" in text:
        return Unavailable(message, hint="this host name is not known here: check it, and the namespace that it is in")
    if "SSL" in text or "certificate" in text or "authentication method requirement" in text:
        hint = "databases on other machines are reached by verified TLS and SCRAM: check sslmode, sslrootcert (ca_file), require_auth"
        return Unavailable(message, hint=f"{hint} and what the server offers; {page('howto/prepare-postgres.md#tls')}")
    return Unavailable(message, hint="does the server run, and are host and port of the connection string right?")
