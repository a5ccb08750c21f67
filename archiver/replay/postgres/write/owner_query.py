"""A query of an owner against a database that was restored for practice: it reads, and nothing else.

One statement, in a transaction that is read-only and rolled back, with a time limit. It runs as ``pg_read_all_data`` where the role may
become that, else as the role itself; rows that a policy would hide are an error, never missing.
"""

from __future__ import annotations

import asyncio

import psycopg

from archiver.errors import Unavailable
from archiver.postgres.connecting import allow_views
from archiver.replay.assertions import Answer
from archiver.replay.postgres.write.target_database import Connection, connected

_SLACK_SECONDS = 30.0
"""Beyond the server's own limit: for a server that does not answer at all."""
_READER = "pg_read_all_data"
_SET = "SELECT pg_catalog.set_config(%s, %s, true)"


async def ask(dsn: str, query: str, *, seconds: float) -> Answer:
    """What ``query`` gives: one row with one column, as text, or no row at all. What the server does not do is the answer's fault.

    Raises ``Unavailable`` when it does not answer, and ``Invalid`` as ``connected`` does.
    """
    try:
        async with asyncio.timeout(2 * seconds + _SLACK_SECONDS), connected(dsn) as connection:
            await allow_views(connection)
            # Only what is prepared is held to be one statement.
            connection.prepare_threshold = 1
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            await _restrict(connection, seconds)
            return await _answer(connection, query)
    except TimeoutError:
        raise Unavailable("asking the restored database: it does not answer", hint="is the scratch server overloaded?") from None
    except psycopg.Error as error:
        if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
            raise Unavailable("asking the restored database: the connection was lost", hint="does the scratch server run?") from None
        return Answer(fault=_told(error))


async def _restrict(connection: Connection, seconds: float) -> None:
    settings = {
        "statement_timeout": str(max(1, int(seconds * 1000))),
        "row_security": "off",
        "search_path": "pg_catalog, public, pg_temp",
    }
    for name, value in settings.items():
        await connection.execute(_SET, (name, value))
    cursor = await connection.execute(
        "SELECT FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) %s AND pg_catalog.pg_has_role(r.oid, 'MEMBER')",
        (_READER,),
    )
    if cursor.rowcount:
        await connection.execute(_SET, ("role", _READER))


async def _answer(connection: Connection, query: str) -> Answer:
    # Two rows are enough to see that it is not one; a cursor takes nothing but a query.
    declare = f"DECLARE archiver_assertion NO SCROLL CURSOR FOR {query.strip().rstrip(';')}"
    await connection.execute(declare.encode(), prepare=True)
    cursor = await connection.execute("FETCH FORWARD 2 FROM archiver_assertion")
    result = cursor.pgresult
    if result is None or result.ntuples == 0:
        return Answer()
    if result.ntuples > 1 or result.nfields != 1:
        rows = "more than one row" if result.ntuples > 1 else "one row"
        return Answer(fault=f"it gives {rows} with {result.nfields} columns, where one value is expected")
    value = result.get_value(0, 0)
    return Answer([None if value is None else value.decode("utf-8", "replace")])


def _told(error: psycopg.Error) -> str:
    state = error.sqlstate or "no SQLSTATE"
    if error.sqlstate == "57014":
        return f"it was ended at its time limit ({state})"
    # Data exceptions quote values, and so may what a function of the user's raises.
    if state.startswith(("22", "23", "P0")):
        return f"the server does not do it: {type(error).__name__} ({state})"
    return f"the server does not do it: {error.diag.message_primary or type(error).__name__} ({state})"
