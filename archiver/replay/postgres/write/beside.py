"""An excerpt -> a schema that is made for it, in one transaction: in the living database or another one.

Tables are made from the columns as the catalog had them, never from the text of a dump: no name in such text has to be found and
rewritten, and no default, foreign key, trigger or policy comes along that could point at what lives.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from archiver.errors import Bug, Refused
from archiver.postgres.captured_systems import CapturedDatabase, is_captured
from archiver.replay.excerpt import Excerpt
from archiver.replay.postgres.plan.excerpt_plan import ExcerptTable
from archiver.replay.postgres.plan.plan import RestoredTable, RestorePlan
from archiver.replay.postgres.write.chosen_rows import ChosenRows
from archiver.replay.postgres.write.column_types import MadeColumn, made_columns
from archiver.replay.postgres.write.target_database import Connection, explained, transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from archiver.replay.postgres.write.table_rows import TableRows

_FACTS = """
SELECT system_identifier::text, current_database()::text, pg_is_in_recovery(),
       has_database_privilege(current_database(), 'CREATE'), to_regnamespace(quote_ident(%s)) IS NOT NULL,
       ARRAY(SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()),
       ARRAY(SELECT evtname::text || ' (' || evtfoid::regproc::text || ')' FROM pg_event_trigger
              WHERE evtenabled IN ('O', 'A') AND evtevent IN ('ddl_command_start', 'ddl_command_end') ORDER BY evtname)
  FROM pg_control_system()
"""

_GRANTED = """
SELECT 'SCHEMA', quote_ident(n.nspname), CASE WHEN acl.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END
  FROM pg_namespace n, aclexplode(n.nspacl) acl WHERE n.nspname = %s AND acl.grantee <> n.nspowner
UNION
SELECT 'TABLE', quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       CASE WHEN acl.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) acl
 WHERE n.nspname = %s AND acl.grantee <> c.relowner
"""


@dataclass(frozen=True, slots=True)
class BesideLook:
    """What would be made, and what should be known before."""

    columns: dict[int, list[MadeColumn]]
    """By the table's oid at the source."""
    notes: list[str]


async def look_beside(
    connection: Connection,
    plan: RestorePlan,
    excerpt: Excerpt,
    chosen: Sequence[ExcerptTable],
    *,
    into_source: bool,
    configured: Collection[CapturedDatabase],
) -> BesideLook:
    """Look at the target; nothing is changed. ``Refused``: it is a standby, has the schema already, or is captured and may not be."""
    cursor = await connection.execute(_FACTS.encode(), (excerpt.into_schema,))
    row = await cursor.fetchone()
    assert row is not None
    system, database, standby, may_create, exists, slots, triggers = row
    captured = is_captured(system, database, slots, [*plan.captured, *configured])
    if captured and not into_source:
        raise Refused(
            f"the target is the captured database itself, now or once ({database}, system {system})",
            hint="say --into-source to make a new schema beside what lives there, or name another database",
        )
    if standby:
        raise Refused("the target server is a standby: it cannot be written to", hint="name its primary")
    if exists:
        raise Refused(
            f"the target has a schema {excerpt.into_schema} already",
            hint="name another one: what is there is neither replaced nor added to",
        )
    if not may_create:
        raise Refused(
            f"this role may not make a schema in {database}",
            hint="GRANT CREATE ON DATABASE … to it, or name another role or database in --to",
        )
    notes = [f"event trigger {name} runs with the rights of this session when the tables are made" for name in triggers]
    if captured:
        notes.append(
            "the new schema is captured as any other of this database is, where the settings do not choose schemas: drop it when done"
        )
    columns = {}
    for each in chosen:
        columns[each.table.oid] = made = await made_columns(connection, each.columns)
        notes += [f"{each.name}.{column.name} comes {column.note}" for column in made if column.note]
        if len(each.holders) > 1 or each.table.kind == "p":
            notes.append(f"{each.name} comes as one table, with the rows of its {len(each.holders)} partitions")
    return BesideLook(columns, notes)


class BesideWriter:
    """Makes the schema and its tables and fills them."""

    def __init__(self, connection: Connection, excerpt: Excerpt, read: Callable[[ExcerptTable], Sequence[TableRows]]) -> None:
        """``read``: the rows of a table, anew at each call."""
        self._connection, self._excerpt, self._read = connection, excerpt, read
        self.notes: list[str] = []

    async def write(self, chosen: Sequence[ExcerptTable], look: BesideLook, say: Callable[[str, int], None]) -> list[RestoredTable]:
        """All of it or nothing. ``say(step, rows)``. Raises ``Corrupt``, ``Refused``, ``Unavailable``, ``Invalid``."""
        done = []
        async with transaction(self._connection):
            await self._run(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self._excerpt.into_schema)))
            for each in chosen:
                done.append(await self._table(each, look.columns[each.table.oid]))
                say(each.name, sum(table.rows for table in done))
            await self._keep_to_owner()
        return done

    async def _table(self, table: ExcerptTable, columns: list[MadeColumn]) -> RestoredTable:
        doing = f"writing rows of {table.name}"
        await self._run(sql.SQL("SAVEPOINT beside"))
        try:
            written = await self._fill(table, columns)
        except psycopg.DataError as error:
            texts = [column.as_text() if column.of_users else column for column in columns]
            if texts == columns:
                raise explained(error, doing, rows=True) from error
            # Its type lives on: labels of an enum, members of a composite type may be others by now.
            await self._run(sql.SQL("ROLLBACK TO beside"))
            try:
                written = await self._fill(table, texts)
            except psycopg.Error as again:
                raise explained(again, doing, rows=True) from again
            self.notes += [f"{table.name}.{column.name} came {column.note}" for column in texts if column not in columns]
        except psycopg.Error as error:
            raise explained(error, doing, rows=True) from error
        await self._key(table)
        await self._run(sql.SQL("RELEASE beside"))
        return written

    async def _fill(self, table: ExcerptTable, columns: list[MadeColumn]) -> RestoredTable:
        made = [
            sql.SQL("{} {}{}").format(sql.Identifier(each.name), sql.SQL(each.type), sql.SQL(" NOT NULL" if each.not_null else ""))
            for each in columns
        ]
        name = self._name(table)
        await self._run(sql.SQL("CREATE TABLE {} ({})").format(name, sql.SQL(", ").join(made)))
        total = changes = size = 0
        for rows in self._read(table):
            names = [column.name for column in rows.columns]
            chosen, sent = ChosenRows(self._excerpt.rows, names), 0
            listed = sql.SQL("({}) ").format(sql.SQL(", ").join(map(sql.Identifier, names))) if names else sql.SQL("")
            cursor = self._connection.cursor()
            async with cursor.copy(sql.SQL("COPY {} {}FROM STDIN").format(name, listed)) as copy, aclosing(rows.read()) as pieces:
                async for piece in chosen.of(pieces):
                    sent += bytes(piece).count(b"\n")
                    size += len(piece)
                    await copy.write(piece)
            if cursor.rowcount != sent:
                raise Bug(f"{table.name}: the server counted {cursor.rowcount} rows, {sent} were sent", hint="report it")
            total, changes = total + sent, changes + rows.changes
        return RestoredTable(self._excerpt.into_schema, table.table.name, total, changes, size)

    async def _key(self, table: ExcerptTable) -> None:
        """What identified a row there is the primary key here, if the rows let it be."""
        if not table.key or not set(table.key) <= {column.name for column in table.columns}:
            return
        key = sql.SQL(", ").join(map(sql.Identifier, table.key))
        try:
            async with self._connection.transaction():
                await self._run(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(self._name(table), key))
        except psycopg.Error as error:
            if (error.sqlstate or "57").startswith(("08", "53", "57")):
                raise explained(error, f"making the key of {table.name}", rows=True) from error
            self.notes.append(f"{table.name} has no primary key: {type(error).__name__} (SQLSTATE {error.sqlstate})")

    async def _keep_to_owner(self) -> None:
        """Default privileges of the role may give new objects to others; the live table's policies do not come along."""
        cursor = await self._connection.execute(_GRANTED.encode(), (self._excerpt.into_schema, self._excerpt.into_schema))
        for kind, name, grantee in await cursor.fetchall():
            await self._connection.execute(f"REVOKE ALL ON {kind} {name} FROM {grantee}".encode())

    def _name(self, table: ExcerptTable) -> sql.Identifier:
        return sql.Identifier(self._excerpt.into_schema, table.table.name)

    async def _run(self, statement: sql.SQL | sql.Composed) -> None:
        await self._connection.execute(statement)
