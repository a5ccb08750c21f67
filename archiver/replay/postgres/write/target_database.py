"""The database that is restored into: reaching it, and reasons to leave it alone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import conninfo

from archiver.errors import ArchiverError, Corrupt, Invalid, Refused, Unavailable
from archiver.postgres.captured_systems import CapturedDatabase, is_captured
from archiver.postgres.connecting import OWN_PATH, connect
from archiver.postgres.connection_string import without_secrets
from archiver.replay.postgres.plan.plan import RestorePlan
from archiver.replay.postgres.write.queued_code import FORGET_CURSORS

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_SESSION = {
    "client_encoding": "UTF8",
    "search_path": OWN_PATH,
    "array_nulls": "on",
    # With "on" the planner computes what is constant in checks, by functions of users.
    "constraint_exclusion": "partition",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "xmloption": "content",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "lc_monetary": "C",
    "timezone": "UTC",
    "bytea_output": "hex",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # A materialized view shows what its owner may see.
    "row_security": "on",
}
"""Rows were captured under these output settings, and nothing of the role's may end a long restore."""

_SET = "SELECT pg_catalog.set_config(%s, %s, false)"


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    """One connection in autocommit mode. Raises ``Invalid`` for a DSN that libpq or the server refuses, ``Unavailable``."""
    try:
        conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise Invalid("the target is not a connection string", hint="write postgresql://user@host/database or host=… dbname=…") from None
    connection = await connect(dsn, "connecting to the target", **_defaults(dsn))
    try:
        yield connection
    finally:
        # An open transaction ends with its session.
        await connection.close()


def _defaults(dsn: str) -> dict[str, str]:
    given = conninfo.conninfo_to_dict(dsn)
    wanted = {"application_name": "archiver restore", "connect_timeout": "10"}
    return {name: value for name, value in wanted.items() if name not in given}


def shown(dsn: str) -> str:
    """The DSN without its secrets."""
    values = {name: value for name, value in without_secrets(conninfo.conninfo_to_dict(dsn)).items() if name != "passfile"}
    return conninfo.make_conninfo("", **values)


async def pin(connection: Connection) -> None:
    """Set what reading the rows depends on. Again after a script, which may have changed it."""
    for name, value in _SESSION.items():
        await connection.execute(_SET, (name, value))
    if connection.info.server_version >= 170000:
        await connection.execute(_SET, ("transaction_timeout", "0"))


def pinning(connection: Connection, encoding: str, *, backslashes: bool) -> bytes:
    """As ``pin`` and then ``pin_for_schema``, to stand after a script: code that it called may have set how the next is read."""
    values = {**_SESSION, **_for_schema(encoding, backslashes=backslashes)}
    if connection.info.server_version >= 170000:
        values["transaction_timeout"] = "0"
    # Strings without backslashes are read alike under every setting.
    calls = (f"pg_catalog.set_config('{name}', '{value}', false)" for name, value in values.items())
    return f"SELECT {', '.join(calls)};\n".encode()


@dataclass(frozen=True)
class TargetFacts:
    """What the target is."""

    schemas: list[str]
    role: str
    """Who restores."""
    superusers: list[str]


async def inspect_target(
    connection: Connection, plan: RestorePlan, *, no_owner: bool, configured: Collection[CapturedDatabase] = ()
) -> TargetFacts:
    """Look before anything is touched. ``Refused`` names all that is missing: version, extensions, roles; or that it is captured.

    ``configured``: databases that are captured now, beside those that the plan's archive names.
    """
    cursor = await connection.execute(
        "SELECT system_identifier::text, current_database(), pg_is_in_recovery(),"
        " ARRAY(SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()) FROM pg_control_system()"
    )
    row = await cursor.fetchone()
    assert row is not None
    system, database, standby, slots = row
    if is_captured(system, database, slots, [*plan.captured, *configured]):
        raise Refused(
            f"the target is the captured database itself, now or once ({database}, system {system})",
            hint="restore into another database: createdb fresh",
        )
    if standby:
        raise Refused("the target server is a standby: it cannot be written to", hint="name its primary")
    version = connection.info.server_version
    if version // 10000 < plan.schema.server_version // 10000:
        raise Refused(
            f"the target is PostgreSQL {version // 10000}, the captured server was {plan.schema.server_version // 10000}",
            hint="restore into the same or a newer major version",
        )
    missing = await _missing(connection, "SELECT name FROM pg_available_extensions", plan.extensions)
    if missing:
        raise Refused(
            f"the target server lacks extensions: {', '.join(missing)}", hint="install their packages on the target server, then try again"
        )
    if not no_owner:
        missing = await _missing(connection, "SELECT rolname FROM pg_roles", plan.roles)
        if missing:
            raise Refused(
                f"the target server lacks roles: {', '.join(missing)}",
                hint="CREATE ROLE them there, or leave out ownership and grants with --no-owner",
            )
    cursor = await connection.execute(
        "SELECT ARRAY(SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),"
        " current_user::text, ARRAY(SELECT rolname::text FROM pg_roles WHERE rolsuper)"
    )
    row = await cursor.fetchone()
    assert row is not None
    return TargetFacts(*row)


async def _missing(connection: Connection, query: str, wanted: Sequence[str]) -> list[str]:
    cursor = await connection.execute(query.encode())
    there = {name for (name,) in await cursor.fetchall()}
    return [name for name in wanted if name not in there]


_FOR_SCHEMA = {
    "check_function_bodies": "off",
    "client_min_messages": "warning",
    "xmloption": "content",
}
"""What pg_restore sets before it makes anything."""


async def pin_for_schema(connection: Connection, encoding: str, *, backslashes: bool = False) -> None:
    """Set what the SQL of a dump in ``encoding`` depends on. ``backslashes``: they escape in its strings. Afterwards ``pin`` again."""
    for name, value in _for_schema(encoding, backslashes=backslashes).items():
        await connection.execute(_SET, (name, value))


def _for_schema(encoding: str, *, backslashes: bool) -> dict[str, str]:
    return {**_FOR_SCHEMA, "client_encoding": encoding, "standard_conforming_strings": "off" if backslashes else "on"}


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[None]:
    """All within it or nothing. Raises what ``explained`` says; ``Unavailable`` when the connection was lost in its COMMIT."""
    committing = False
    try:
        async with connection.transaction():
            yield
            await connection.execute(FORGET_CURSORS)
            committing = True
    except psycopg.Error as error:
        # Ended while it waits for a standby, the server has committed too.
        if committing and (error.sqlstate or "57").startswith(("08", "57")):
            raise Unavailable(
                "restoring: the connection was lost while the target was to commit: whether it did is not known",
                hint="look into the target: either all of the restore is there, or nothing was changed",
            ) from error
        raise explained(error, "restoring") from error


_LINE = re.compile(r"line (\d+)(?:, column ([^:]+))?")
_FUNCTION = re.compile(r"^(?:PL/\S+|SQL) function .*$", re.MULTILINE)
"""In an error's context: it was raised inside a function, whose words may quote anything, under any SQLSTATE."""
_EXISTS_ALREADY = frozenset({"42P07", "42710", "42723", "42P06", "42P04", "42712"})


def explained(error: psycopg.Error, doing: str, *, rows: bool = False) -> ArchiverError:
    """What a driver's error means for the user. ``rows``: the server was reading rows, so its words may quote them and are left out."""
    state = error.sqlstate or ""
    if not state:
        lines = str(error).strip().splitlines()
        text = lines[0] if lines and isinstance(error, psycopg.OperationalError) else type(error).__name__
        return Unavailable(f"{doing}: {text}", hint="nothing was changed; check the target and try again")
    context = error.diag.context or ""
    function = _FUNCTION.search(context)
    # Data exceptions quote values, and so may what a function of the user's raises.
    if rows or function or state.startswith(("22", "P0")):
        place = _LINE.search(context) if rows else None
        where = f" at row {place[1]}" + (f", column {place[2]}" if place[2] else "") if place else ""
        where += f" in {function[0]}" if function else ""
        text = f"{doing}: {type(error).__name__}{where} (SQLSTATE {state})"
    else:
        text = f"{doing}: {error.diag.message_primary or type(error).__name__} (SQLSTATE {state})"
    return _kind(state, text)


def _kind(state: str, text: str) -> ArchiverError:
    if state.startswith("28") or state == "3D000":
        return Invalid(text, hint="check host, user, password and database of the target")
    if state.startswith(("08", "53", "57")):
        return Unavailable(text, hint="nothing was changed; mend the target and try again")
    if state in _EXISTS_ALREADY:
        return Refused(text, hint="nothing was changed; restore into an empty database, or replace what is there with --overwrite")
    if state == "2BP01":
        return Refused(text, hint="nothing was changed; something else in the target depends on what would be replaced")
    if state == "42501":
        return Refused(text, hint="nothing was changed; restore as the owner or a superuser, or leave out ownership with --no-owner")
    if state.startswith("23"):
        return Corrupt(
            text, hint="nothing was changed; rows and schema of the point do not fit: choose another point, run `archiver verify`"
        )
    return Refused(text, hint="nothing was changed; mend the target, or choose another point")


def is_fatal(error: ArchiverError) -> bool:
    """Whether nothing else would succeed either: the server is gone, full, or was told to stop."""
    return isinstance(error, Unavailable)
