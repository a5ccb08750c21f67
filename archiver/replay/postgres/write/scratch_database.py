"""A database that exists as long as it is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import conninfo, sql

from archiver.errors import Invalid, Unavailable


@asynccontextmanager
async def scratch_database(dsn: str, name: str) -> AsyncIterator[str]:
    """Create database ``name`` at the server of ``dsn``, give its DSN, and drop it at the end, whatever happened.

    Raises ``Invalid`` when the role may not create databases or the DSN is wrong, ``Unavailable`` when the server does not answer.
    """
    try:
        inside = conninfo.make_conninfo(dsn, dbname=name)
    except psycopg.ProgrammingError:
        raise Invalid("the scratch DSN is not a connection string", hint="write postgresql://user@host/database") from None
    await _execute(dsn, sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    try:
        yield inside
    finally:
        await _execute(dsn, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


async def _execute(dsn: str, statement: sql.Composed) -> None:
    try:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=10) as connection:
            await connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        raise Invalid("the scratch role may not create databases", hint="ALTER ROLE … CREATEDB at the scratch server") from None
    except psycopg.OperationalError:
        raise Unavailable("the scratch server does not answer", hint="check host, port, user and password of the scratch DSN") from None
    except psycopg.Error as error:
        text = error.diag.message_primary or type(error).__name__
        raise Invalid(f"the scratch server does not do it: {text}", hint="name a server that takes writes") from None
