"""A query of an owner against a database that was restored for practice: it reads, and nothing else.

One statement, in a transaction that is read-only and rolled back, with a time limit. It runs as ``reading_only`` has it; rows that a
policy would hide are an error, never missing. Nothing outside of its function relies on what the session has: code that came with the
restore can make cursors and prepared statements under any name.
"""

from __future__ import annotations

import asyncio
import re
import secrets

import psycopg
from psycopg import sql

from archiver.errors import Unavailable
from archiver.postgres.connecting import allow_views
from archiver.replay.assertions import Answer
from archiver.replay.postgres.write.reading_only import make_function, make_reader
from archiver.replay.postgres.write.target_database import Connection, connected

_SLACK_SECONDS = 30.0
"""Beyond the server's own limit: for a server that does not answer at all."""
_SET = "SELECT pg_catalog.set_config(%s, %s, true)"
_BODY = """
DECLARE asked CONSTANT pg_catalog.text := {query}; rows_of pg_catalog.refcursor; line record;
BEGIN
    OPEN rows_of NO SCROLL FOR EXECUTE asked;
    FOR number IN 1..2 LOOP
        FETCH rows_of INTO line;
        EXIT WHEN NOT FOUND;
        RETURN NEXT pg_catalog.format('%s', line);
    END LOOP;
END
"""
"""Two rows are enough to see that it is not one; a cursor takes nothing but a query."""


async def ask(dsn: str, query: str, *, seconds: float) -> Answer:
    """What ``query`` gives: one row with one column, as text, or no row at all. What the server does not do is the answer's fault.

    Raises ``Unavailable`` when it does not answer, and ``Invalid`` as ``connected`` does.
    """
    query = query.strip().rstrip(";")
    try:
        async with asyncio.timeout(2 * seconds + _SLACK_SECONDS), connected(dsn) as connection:
            await allow_views(connection)
            # Never committed: it ends with its session.
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            return await _answer(connection, query, seconds)
    except TimeoutError:
        raise Unavailable("asking the restored database: it does not answer", hint="is the scratch server overloaded?") from None
    except psycopg.Error as error:
        if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
            raise Unavailable("asking the restored database: the connection was lost", hint="does the scratch server run?") from None
        return Answer(fault=_told(error, query))


async def _answer(connection: Connection, query: str, seconds: float) -> Answer:
    reader = await make_reader(connection)
    name = f"archiver_answer_{secrets.token_hex(8)}"
    body = sql.SQL(_BODY).format(query=sql.Literal(query)).as_string(connection)
    await make_function(connection, name, sql.SQL("SETOF pg_catalog.text LANGUAGE plpgsql"), body, reader)
    settings = {
        "statement_timeout": str(max(1, int(seconds * 1000))),
        "row_security": "off",
        "search_path": "pg_catalog, public, pg_temp",
    }
    for setting, value in settings.items():
        await connection.execute(_SET, (setting, value))
    cursor = await connection.execute(f"SELECT * FROM pg_temp.{name}()".encode())
    rows = [fields_of(text) for (text,) in await cursor.fetchall()]
    if not rows:
        return Answer()
    if len(rows) > 1 or len(rows[0]) != 1:
        said = "more than one row" if len(rows) > 1 else "one row"
        return Answer(fault=f"it gives {said} with {len(rows[0])} columns, where one value is expected")
    return Answer(rows[0])


# Possessive: nothing is tried again, however long a value is.
_FIELD = re.compile(r'((?:[^",()\\]++|"(?:[^"\\]++|""|\\.)*+")*+)([,)])', re.DOTALL)


def fields_of(record: str) -> list[str | None]:
    """Values in the text of a record, as the server writes it; ``None`` for NULL. One without columns reads as one NULL."""
    found: list[str | None] = []
    for text, _ in _FIELD.findall(record[1:]):
        found.append(text[1:-1].replace('""', '"').replace(r"\\", "\\") if text.startswith('"') else text or None)
    return found


_OWN_FRAME = re.compile(r"PL/pgSQL function pg_temp_\d+\.archiver_answer_\w+\(\) line \d+ at OPEN")


def _told(error: psycopg.Error, query: str) -> str:
    """Never what code that came with the restore says, under whatever SQLSTATE; nor what quotes a value."""
    try:
        state = psycopg.errors.lookup(error.sqlstate or "").sqlstate or ""
    except KeyError:
        return "the server does not do it, for a reason of the database's own"
    if state == "57014":
        return f"it was ended at its time limit ({state})"
    if state == "42P11":
        return f"it is not one query that gives rows ({state})"
    diag = error.diag
    # The server did not understand the query itself, and points into it.
    if state.startswith("42") and diag.internal_position and diag.internal_query == query and _OWN_FRAME.fullmatch(diag.context or ""):
        return f"the server does not do it: {diag.message_primary} ({state})"
    return f"the server does not do it: {type(error).__name__} ({state})"
