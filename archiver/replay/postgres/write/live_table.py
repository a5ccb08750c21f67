"""The living table beside one of the past: its columns and key, its rows under one snapshot, and what a script would set off there.

Only read, in a transaction that cannot write. Rows are copied from the tables that hold them, since that plans no query: what an index on
a function of somebody's calls when a query is planned would run with our rights.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from archiver.errors import Invalid, Refused
from archiver.postgres.calling_code import PLANNED_BY_OTHERS
from archiver.postgres.captured_systems import CapturedDatabase, is_captured
from archiver.replay.postgres.plan.excerpt_plan import ExcerptTable
from archiver.replay.postgres.write.target_database import Connection, explained, pin

if TYPE_CHECKING:
    from archiver.replay.excerpt import Excerpt

_TABLE = """
SELECT c.oid::int8, c.relkind::text, c.relrowsecurity, pg_is_in_recovery(),
       (SELECT system_identifier::text FROM pg_control_system()), current_database()::text,
       ARRAY(SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()),
       ARRAY(SELECT l.relid::int8 FROM pg_partition_tree(c.oid) l WHERE l.isleaf)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s
"""
_COLUMNS = """
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.atttypid::int8, a.atttypmod, a.attgenerated::text, a.attidentity::text
  FROM pg_attribute a WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_KEY = """
SELECT a.attname::text, o.oprname::text, n.nspname::text, l.lanname IN ('c', 'internal')
  FROM pg_index i
 CROSS JOIN LATERAL unnest(i.indkey[0:i.indnkeyatts - 1], i.indclass[0:i.indnkeyatts - 1]) WITH ORDINALITY k (attnum, class, place)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
  JOIN pg_opclass oc ON oc.oid = k.class JOIN pg_am m ON m.oid = oc.opcmethod AND m.amname = 'btree'
  JOIN pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
       AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
  JOIN pg_operator o ON o.oid = ao.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
  JOIN pg_proc p ON p.oid = o.oprcode JOIN pg_language l ON l.oid = p.prolang
 WHERE i.indrelid = %s::oid AND i.indisprimary AND i.indisvalid ORDER BY k.place
"""
_SET_OFF = """
SELECT 'trigger ' || t.tgname || ' calls ' || t.tgfoid::regproc::text FROM pg_trigger t
 WHERE t.tgrelid = ANY(%s::oid[]) AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
UNION
SELECT 'rule ' || r.rulename || ' takes part' FROM pg_rewrite r WHERE r.ev_class = ANY(%s::oid[]) AND r.ev_enabled IN ('O', 'A')
UNION
SELECT 'rows of ' || k.conrelid::regclass::text || ' refer to it by ' || k.conname
       || CASE WHEN k.confdeltype IN ('c', 'n', 'd') THEN ', and are ' || CASE k.confdeltype WHEN 'c' THEN 'deleted' ELSE 'changed' END
                 || ' with what is deleted' ELSE '' END
  FROM pg_constraint k WHERE k.contype = 'f' AND k.confrelid = ANY(%s::oid[]) AND k.conparentid = 0
 ORDER BY 1
"""
_LEAVES = """
SELECT n.nspname::text, c.relname::text, c.relkind::text FROM unnest(%s::oid[]) l (oid) JOIN pg_class c ON c.oid = l.oid
  JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY c.oid
"""


@dataclass(frozen=True, slots=True)
class LiveColumn:
    """One column as it is now."""

    name: str
    type: str
    type_oid: int
    type_modifier: int
    generated: str
    identity: str


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """One column of the primary key, and the operator by which its index finds a value."""

    name: str
    operator: str
    operator_schema: str
    own_code: bool
    """The operator is no function of users."""


@dataclass(frozen=True, slots=True)
class LiveTable:
    """A table with a primary key."""

    oid: int
    schema: str
    name: str
    partitioned: bool
    columns: list[LiveColumn]
    """Those that can be written, in order."""
    layout: list[LiveColumn]
    """All of them."""
    key: list[KeyColumn]
    holders: list[tuple[str, str]]
    """Tables that hold its rows: schema and name."""
    indexed: bool
    """Rows may be asked for by key: nobody's code runs when such a query is planned or answered."""
    naming: set[str]
    """Columns whose values are names of other objects."""
    notes: list[str]

    @property
    def shown(self) -> str:
        """For people."""
        return f"{self.schema}.{self.name}"


@asynccontextmanager
async def one_snapshot(connection: Connection) -> AsyncIterator[None]:
    """All that is read within it is of one moment, and nothing can be written."""
    try:
        await pin(connection)
        # Rows that a policy hides would look deleted; this makes the server refuse instead.
        await connection.execute(
            b"SELECT pg_catalog.set_config('row_security', 'off', false), pg_catalog.set_config('constraint_exclusion', 'off', false)"
        )
        await connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield
        await connection.execute(b"ROLLBACK")
    except psycopg.errors.InsufficientPrivilege as error:
        raise Refused(
            "this role may not read all rows of the live table: it has no SELECT there, or row-level security holds for it",
            hint="name another role in --to: the owner, or one with BYPASSRLS; rows that it does not see would look deleted",
        ) from error
    except psycopg.Error as error:
        raise explained(error, "reading the live table", rows=True) from error


async def look_at(connection: Connection, past: ExcerptTable, excerpt: Excerpt, captured: Collection[CapturedDatabase]) -> LiveTable:
    """The table of the same name there; ``captured``: databases in which it should be the same one.

    ``Refused``: it is gone, is no table, has no primary key, or its columns differ.
    """
    cursor = await connection.execute(_TABLE.encode(), (past.table.schema, past.table.name))
    row = await cursor.fetchone()
    if row is None:
        raise Refused(
            f"the target has no table {past.name}",
            hint="restore it beside with --into-schema; a script can only change a table that is there",
        )
    oid, kind, secured, standby, system, database, slots, leaves = row
    if kind not in ("r", "p"):
        raise Refused(f"{past.name} is no table in the target", hint="restore the table beside with --into-schema")
    layout = await _columns(connection, oid)
    _require_same(past, layout)
    key = await _key(connection, oid, past)
    _require_chosen_by(key, excerpt, past)
    parts = leaves if kind == "p" else [oid]
    holders = []
    cursor = await connection.execute(_LEAVES.encode(), (parts,))
    for schema, name, each in await cursor.fetchall():
        if each != "r":
            raise Refused(f"{schema}.{name}, a partition of {past.name}, is no table of this database", hint="its rows cannot be compared")
        holders.append((schema, name))
    cursor = await connection.execute(PLANNED_BY_OTHERS.encode(), (parts,))
    calm = not await cursor.fetchall()
    notes = [f"when the script runs: {text}" for text in await _set_off(connection, [oid, *parts])]
    if oid != past.table.oid and is_captured(system, database, slots, captured):
        notes.append(f"{past.name} is another table than at the point: that one was dropped or renamed since, and this one has its name")
    if secured:
        notes.append("the table has row-level security: the script must be run by a role that sees and may write all of its rows")
    if standby:
        notes.append("the live rows are read from a standby: what it has not replayed is not compared")
    columns = [column for column in layout if not column.generated]
    indexed = calm and all(each.own_code for each in key)
    return LiveTable(oid, past.table.schema, past.table.name, kind == "p", columns, layout, key, holders, indexed, past.naming, notes)


async def read_rows(connection: Connection, live: LiveTable, rows: Mapping[str, Sequence[str]]) -> AsyncGenerator[bytes]:
    """Lines of COPY text with its ``columns``, each with its newline; where it can be asked for, only those of the chosen ``rows``."""
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in live.columns)
    operators = {each.name: each for each in live.key}
    for holder in live.holders:
        name = sql.Identifier(*holder)
        if rows and live.indexed:
            wanted = sql.SQL(" AND ").join(_any_of(operators[column], values) for column, values in rows.items())
            query = sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE {}) TO STDOUT").format(columns, name, wanted)
        else:
            query = sql.SQL("COPY {} ({}) TO STDOUT").format(name, columns)
        try:
            async with connection.cursor().copy(query) as copy:
                async for line in copy:
                    yield bytes(line)
        except psycopg.DataError as error:
            if rows and live.indexed:
                raise Invalid(
                    f"a value of --rows is none of its column of {live.shown}", hint="write it as PostgreSQL prints it"
                ) from error
            raise


def _any_of(key: KeyColumn, values: Sequence[str]) -> sql.Composable:
    operator = sql.SQL("OPERATOR({}.{})").format(sql.Identifier(key.operator_schema), sql.SQL(key.operator))
    one = [sql.SQL("{} {} {}").format(sql.Identifier(key.name), operator, sql.Literal(value)) for value in values]
    return sql.SQL("({})").format(sql.SQL(" OR ").join(one))


async def _columns(connection: Connection, oid: int) -> list[LiveColumn]:
    cursor = await connection.execute(_COLUMNS.encode(), (oid,))
    return [LiveColumn(*row) for row in await cursor.fetchall()]


def _require_same(past: ExcerptTable, layout: Sequence[LiveColumn]) -> None:
    if past.redacted:
        raise Refused(
            f"{', '.join(past.redacted)} of {past.name} is redacted: the archive has no values to compare, and would write NULL over those"
            " that are there",
            hint="restore it beside with --into-schema, and write the statements yourself",
        )
    then = {column.name: (column.type, column.generated) for column in past.table.columns}
    now = {column.name: (column.type, column.generated) for column in layout}
    if then == now:
        return
    added = [f"{name} is new" for name in now if name not in then]
    gone = [f"{name} is gone" for name in then if name not in now]
    other = [f"{name} was {_told(then[name])} and is {_told(now[name])}" for name in then if name in now and then[name] != now[name]]
    raise Refused(
        f"the columns of {past.name} are not those of the point: {'; '.join([*added, *gone, *other])}",
        hint="restore it beside with --into-schema, and write the statements yourself",
    )


def _told(column: tuple[str, str]) -> str:
    return f"{column[0]}, generated" if column[1] else column[0]


async def _key(connection: Connection, oid: int, past: ExcerptTable) -> list[KeyColumn]:
    cursor = await connection.execute(_KEY.encode(), (oid,))
    key = [KeyColumn(*row) for row in await cursor.fetchall()]
    if not key:
        raise Refused(
            f"{past.name} has no primary key now by which a row can be found",
            hint="restore it beside with --into-schema, and compare there",
        )
    captured = {column.name for column in past.columns}
    if (computed := next((each.name for each in key if each.name not in captured), None)) is not None:
        raise Refused(
            f"{computed}, of the key of {past.name}, is generated: it is not captured", hint="restore it beside with --into-schema"
        )
    return key


def _require_chosen_by(key: Sequence[KeyColumn], excerpt: Excerpt, past: ExcerptTable) -> None:
    names = [each.name for each in key]
    for column in excerpt.rows:
        if column not in names:
            # By another column a row could be chosen on one side and not on the other.
            raise Invalid(f"{column} is not of the primary key of {past.name}", hint=f"rows are chosen by it: {', '.join(names)}")


async def _set_off(connection: Connection, oids: Sequence[int]) -> list[str]:
    cursor = await connection.execute(_SET_OFF.encode(), (list(oids), list(oids), list(oids)))
    return [text for (text,) in await cursor.fetchall()]
