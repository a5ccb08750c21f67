"""Reading a restored database although its own code may run: with no right but to read, and nothing that stays.

Whatever reads a table can call functions that came with it: the planner computes what is constant in the predicate of an index, a type
has an output function. SET ROLE would be no bound, because such a function sets it back, and a transaction that is read-only lets a
superuser run programs. So what reads stands in a SECURITY DEFINER function of a role that can do nothing else: in there the server lets
nobody change the role. Role and function are made in a transaction that is never committed, and no killed session leaves them behind.
"""

from __future__ import annotations

import secrets

import psycopg
from psycopg import sql

from archiver.replay.postgres.write.target_database import Connection

_ALL_DATA = "pg_read_all_data"
_SELF = "SELECT rolsuper, rolbypassrls FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user"
_EVENT_TRIGGERS = "SELECT evtname FROM pg_catalog.pg_event_trigger WHERE evtenabled OPERATOR(pg_catalog.<>) 'D'"


async def make_reader(connection: Connection) -> str:
    """In an open transaction, to be rolled back: a role that may read everything and do nothing else. Its name.

    Where we may not make one it is ``pg_read_all_data`` itself, and where we may not become that nobody: the empty name.
    """
    # They would run as we do when the function is made. This command calls none.
    for (name,) in await (await connection.execute(_EVENT_TRIGGERS)).fetchall():
        await connection.execute(sql.SQL("ALTER EVENT TRIGGER {} DISABLE").format(sql.Identifier(name)))
    made = f"archiver_reader_{secrets.token_hex(8)}"
    for name, making in ((made, _making(await _passes_policies(connection), made)), (_ALL_DATA, [])):
        try:
            async with connection.transaction():
                for statement in making:
                    await connection.execute(statement)
                # Whether we may give it a function is seen by doing so.
                await _give(connection, "archiver_none", sql.SQL("void LANGUAGE sql"), "", name)
        except psycopg.errors.InsufficientPrivilege:
            continue
        return name
    return ""


async def _passes_policies(connection: Connection) -> tuple[bool, bool]:
    """Whether we are a superuser, and whether a role that we make may pass policies as we do."""
    superuser, passes = (await (await connection.execute(_SELF)).fetchall())[0]
    return superuser, superuser or (passes and connection.info.server_version >= 160000)


def _making(facts: tuple[bool, bool], name: str) -> list[sql.Composed]:
    superuser, passes = facts
    role = sql.Identifier(name)
    statements = [
        sql.SQL("CREATE ROLE {} {}").format(role, sql.SQL("BYPASSRLS" if passes else "")),
        sql.SQL("GRANT {} TO {}").format(sql.Identifier(_ALL_DATA), role),
    ]
    # Whoever is no superuser gives a function only to a role that it is a member of.
    return statements if superuser else [*statements, sql.SQL("GRANT {} TO CURRENT_USER").format(role)]


async def make_function(connection: Connection, function: str, returns: sql.SQL, body: str, reader: str) -> None:
    """Make ``pg_temp.function()`` with the rights of ``reader`` alone. From here to the end of this savepoint nothing is written."""
    await _give(connection, function, returns, body, reader)
    await connection.execute("SET TRANSACTION READ ONLY")


async def _give(connection: Connection, name: str, returns: sql.SQL, body: str, reader: str) -> None:
    # Its body is first looked at in there.
    await connection.execute("SELECT pg_catalog.set_config('check_function_bodies', 'off', true)")
    function = sql.Identifier(name)
    made = sql.SQL("CREATE FUNCTION pg_temp.{}() RETURNS {} SECURITY DEFINER AS {}").format(function, returns, sql.Literal(body))
    await connection.execute(made)
    if reader:
        await connection.execute(sql.SQL("ALTER FUNCTION pg_temp.{}() OWNER TO {}").format(function, sql.Identifier(reader)))
