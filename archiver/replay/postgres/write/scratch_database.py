"""A database that exists as long as it is needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress

import psycopg
from psycopg import conninfo, sql

from archiver.errors import Invalid, Refused, Unavailable
from archiver.postgres.connecting import connect


@asynccontextmanager
async def scratch_database(dsn: str, name: str, *, never_on: Collection[str] = ()) -> AsyncIterator[str]:
    """Create database ``name`` at the server of ``dsn``, give its DSN, and drop it at the end, whatever happened.

    What is restored brings functions and triggers with it, which run with the rights of the scratch role. So the server must be none of the
    systems ``never_on``, which are identifiers. Raises ``Refused`` when it is one, ``Invalid`` when the role may not create databases or
    the DSN is wrong, ``Unavailable`` when the server does not answer.
    """
    try:
        inside = conninfo.make_conninfo(dsn, dbname=name)
    except psycopg.ProgrammingError:
        raise Invalid("the scratch DSN is not a connection string", hint="write postgresql://user@host/database") from None
    await _require_other(dsn, never_on)
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    try:
        await _execute(dsn, sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    except (asyncio.CancelledError, Unavailable):
        # The server may have made it before anybody heard of that.
        with suppress(Invalid, Unavailable):
            await _execute(dsn, drop)
        raise
    try:
        yield inside
    finally:
        await _execute(dsn, drop)


async def abandoned_databases(dsn: str, prefix: str) -> list[str]:
    """Databases whose names begin with ``prefix`` and that nobody is connected to: left by whoever was killed. Raises as above."""
    query = sql.SQL(
        "SELECT pg_catalog.string_agg(d.datname, ' ' ORDER BY d.datname) FROM pg_catalog.pg_database d"
        " WHERE pg_catalog.starts_with(d.datname, {})"
        " AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid)"
    ).format(sql.Literal(prefix))
    found = await _execute(dsn, query)
    return found.split()


async def _require_other(dsn: str, never_on: Collection[str]) -> None:
    query = sql.SQL("SELECT system_identifier::text FROM pg_catalog.pg_control_system()").format()
    system = await _execute(dsn, query) if never_on else ""
    if system in never_on and system:
        raise Refused(
            f"the scratch server is a captured one (system {system})",
            hint="name a server of its own: the functions and triggers that a drill restores run there with the scratch role's rights",
        )


async def _execute(dsn: str, statement: sql.Composed) -> str:
    """The first column of the first row, if the statement gives any."""
    try:
        async with await connect(dsn, "connecting to the scratch server", connect_timeout="10") as connection:
            cursor = await connection.execute(statement)
            row = await cursor.fetchone() if cursor.description else None
            return str(row[0]) if row and row[0] is not None else ""
    except psycopg.errors.InsufficientPrivilege:
        raise Invalid("the scratch role may not create databases", hint="ALTER ROLE … CREATEDB at the scratch server") from None
    except psycopg.OperationalError as error:
        text = error.diag.message_primary or "it does not answer"
        raise Unavailable(f"the scratch server does not do it: {text}", hint="does it still run? Try again") from None
    except psycopg.Error as error:
        text = error.diag.message_primary or type(error).__name__
        raise Invalid(f"the scratch server does not do it: {text}", hint="name a server that takes writes") from None
