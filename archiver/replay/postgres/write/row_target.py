"""The table of the target that rows go into, and with whose rights.

Most tables run no code of their users while rows are written: they are written to as fast as COPY can. Where a check, a domain, a generated
column or a partition key calls a function, COPY would run it with the rights of whoever restores, and SET ROLE would be no bound: the
function could set it back. Such rows go into a temporary table first and from there, by a SECURITY DEFINER function of the table's owner,
into the table: in there the server lets nobody change the role.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from archiver.postgres.calling_code import CODE
from archiver.postgres.connecting import OWN_PATH
from archiver.postgres.records import Table
from archiver.replay.postgres.write.queued_code import queued_triggers
from archiver.replay.postgres.write.target_database import pin

if TYPE_CHECKING:
    from archiver.replay.postgres.write.target_database import Connection

_TABLES = (
    CODE
    + """
SELECT wanted.place, c.oid::regclass::text, n.nspname, o.rolname, o.rolsuper OR o.rolname = current_user,
       (SELECT root.relid::regclass::text FROM pg_partition_root(c.oid) AS root (relid) WHERE root.relid <> c.oid),
       EXISTS (SELECT FROM pg_constraint k JOIN caller ON caller.class = 'pg_constraint'::regclass AND caller.object = k.oid
                WHERE k.conrelid = c.oid AND k.contype = 'c')
       OR EXISTS (SELECT FROM pg_attrdef d JOIN caller ON caller.class = 'pg_attrdef'::regclass AND caller.object = d.oid
                   JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                  WHERE d.adrelid = c.oid AND a.attgenerated <> '')
       OR EXISTS (SELECT FROM pg_partition_ancestors(c.oid) AS p (relid)
                    JOIN caller ON caller.class = 'pg_class'::regclass AND caller.object = p.relid WHERE p.relid <> c.oid)
       OR EXISTS (SELECT FROM pg_attribute a JOIN holder h ON h.type = a.atttypid
                   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       EXISTS (SELECT FROM pg_trigger t WHERE NOT t.tgisinternal
                  AND t.tgrelid IN (SELECT c.oid UNION SELECT relid FROM pg_partition_ancestors(c.oid)
                                    UNION SELECT relid FROM pg_partition_tree(c.oid)))
  FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS wanted (schema, name, place)
  JOIN pg_namespace n ON n.nspname = wanted.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
  JOIN pg_roles o ON o.oid = c.relowner
 WHERE c.relkind IN ('r', 'p')
"""
)

_COLUMNS = (
    CODE
    + """
SELECT a.attname, CASE WHEN h.type IS NULL THEN '' ELSE 'pg_catalog.text' END, format_type(a.atttypid, -1)
  FROM pg_attribute a LEFT JOIN holder h ON h.type = a.atttypid
 WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""
)

_CHANGED = """
SELECT count(*) || ' ' || sum(hashtextextended(o::text, 0)::numeric) FROM (
    SELECT 'pg_trigger'::regclass::oid, oid, xmin::text FROM pg_trigger
    UNION ALL SELECT 'pg_rewrite'::regclass, oid, xmin::text FROM pg_rewrite
    UNION ALL SELECT 'pg_constraint'::regclass, oid, xmin::text FROM pg_constraint
    UNION ALL SELECT 'pg_attrdef'::regclass, oid, xmin::text FROM pg_attrdef
    UNION ALL SELECT 'pg_event_trigger'::regclass, oid, xmin::text FROM pg_event_trigger
    UNION ALL SELECT 'pg_proc'::regclass, oid, xmin::text FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT 'pg_operator'::regclass, oid, xmin::text FROM pg_operator WHERE oid >= 16384
    UNION ALL SELECT 'pg_cast'::regclass, oid, xmin::text FROM pg_cast WHERE oid >= 16384
    UNION ALL SELECT 'pg_type'::regclass, oid, xmin::text FROM pg_type WHERE oid >= 16384 AND typnamespace <> pg_my_temp_schema()
    UNION ALL SELECT 'pg_class'::regclass, oid, '' FROM pg_class WHERE oid >= 16384 AND relpersistence <> 't' AND relkind <> 't'
    UNION ALL SELECT 'pg_attribute'::regclass, a.attrelid, a.attnum || ' ' || a.xmin::text FROM pg_attribute a
                JOIN pg_class c ON c.oid = a.attrelid AND c.relpersistence <> 't' AND c.relkind <> 't'
               WHERE a.attrelid >= 16384 AND a.attnum > 0
) o
"""
"""Whatever could make a later statement of ours call a function; temporary tables alone do not."""


@dataclass(frozen=True, slots=True)
class TargetTable:
    """One table of the target."""

    name: str
    """Quoted."""
    schema: str
    """As it is."""
    owner: str
    trusted: bool
    """Its owner has the rights of whoever restores, or more."""
    root: str
    """The partitioned table that it belongs to in the end, quoted; empty for none."""
    runs_code: bool
    """Functions of users are called when a row is written."""
    has_triggers: bool
    """Somebody made a trigger before the restore made any, by a function that it called or in another session."""


async def read_target_tables(connection: Connection, tables: Sequence[Table]) -> dict[int, TargetTable]:
    """Those of ``tables`` (by the source's oid) that the target has."""
    names = ([table.schema for table in tables], [table.name for table in tables])
    cursor = await connection.execute(_TABLES.encode(), names)
    return {tables[place - 1].oid: TargetTable(*facts) for place, *facts in await cursor.fetchall()}


_SET_PATH = "SELECT pg_catalog.set_config('search_path', %s, true)"


class SchemaChangedByRows(Exception):
    """A function that was called for a row made, changed or dropped objects."""


class RowTarget:
    """Takes rows for one table. ``open`` it, put rows, ``close`` it, all in one savepoint."""

    def __init__(self, connection: Connection, table: TargetTable, columns: Sequence[str], *, path: str = "", freeze: bool = False) -> None:
        """``path``: the ``search_path`` under which checks are run. ``freeze``: the table was made or emptied under this savepoint."""
        self._connection, self._table, self._columns, self._path = connection, table, list(columns), path
        self._staged = table.runs_code and not table.trusted and bool(columns)
        self._granted: list[tuple[str, str]] = []
        self._schema = ""
        into = "pg_temp.archiver_rows" if self._staged else table.name
        names = f" ({_names(columns)})" if columns else ""
        self._copy = f"COPY {into}{names} FROM STDIN{' WITH (FREEZE)' if freeze and not self._staged else ''}"

    async def open(self) -> None:
        """Make ready. Raises what the server says."""
        if self._path and not self._staged:
            await self._connection.execute(_SET_PATH, (f"{self._path}, pg_temp",))
        if self._staged:
            await self._grant("DATABASE", _names([self._connection.info.dbname]), "TEMPORARY")
            await self._grant("SCHEMA", _names([self._table.schema]), "USAGE")
            await self._grant("TABLE", self._table.name, "INSERT")
            await self._make_stage()
            self._schema = await self._schema_now()

    async def put(self, pieces: AsyncIterable[bytes | memoryview]) -> int:
        """Write COPY text in pieces of whole rows; how many the server counted. Raises ``SchemaChangedByRows``."""
        if self._staged:
            await self._connection.execute(b"TRUNCATE pg_temp.archiver_rows")
        cursor = self._connection.cursor()
        async with cursor.copy(self._copy.encode()) as copy:
            async for piece in pieces:
                await copy.write(piece)
        # Whatever code ran may have changed how values are read.
        if not self._staged:
            if self._table.runs_code:
                await pin(self._connection)
            return cursor.rowcount
        cursor = await self._connection.execute(b"SELECT pg_temp.archiver_load()")
        row = await cursor.fetchone()
        # What ran may have set another path, for good.
        await self._connection.execute("SELECT pg_catalog.set_config('search_path', %s, false)", (OWN_PATH,))
        await pin(self._connection)
        # Before anything else is done: the owner could have put another function in the place of the one that loads.
        if await self._schema_now() != self._schema or await queued_triggers(self._connection) is not None:
            raise SchemaChangedByRows
        return int(row[0]) if row else 0

    async def close(self) -> None:
        """Remove what ``open`` made."""
        if self._path and not self._staged:
            await self._connection.execute(_SET_PATH, (OWN_PATH,))
        if self._staged:
            await self._connection.execute(b"DROP FUNCTION pg_temp.archiver_load(); DROP TABLE pg_temp.archiver_rows")
            owner = sql.Identifier(self._table.owner).as_string(None)
            for kind, privilege in self._granted:
                await self._connection.execute(f"REVOKE {privilege} ON {kind} FROM {owner}".encode())

    async def _make_stage(self) -> None:
        cursor = await self._connection.execute(_COLUMNS.encode(), (self._table.name,))
        types = {name: (as_text, final) for name, as_text, final in await cursor.fetchall()}
        # A value of a type that calls functions is made in the end only.
        read = ", ".join(f"{_names([name])}{'::pg_catalog.text' if types[name][0] else ''} AS {_names([name])}" for name in self._columns)
        written = ", ".join(f"{_names([name])}{f'::{types[name][1]}' if types[name][0] else ''}" for name in self._columns)
        owner = sql.Identifier(self._table.owner).as_string(None)
        body = (
            f"DECLARE written bigint; BEGIN INSERT INTO {self._table.name} ({_names(self._columns)}) OVERRIDING SYSTEM VALUE"
            f" SELECT {written} FROM pg_temp.archiver_rows; GET DIAGNOSTICS written = ROW_COUNT;"
            # What is deferred would run with the rights of whoever commits.
            " SET CONSTRAINTS ALL IMMEDIATE; RETURN written; END"
        )
        path = f"{self._path}, pg_temp" if self._path else OWN_PATH
        await self._connection.execute(
            f"CREATE TEMP TABLE archiver_rows ON COMMIT DROP AS SELECT {read} FROM ONLY {self._table.name} WITH NO DATA;"
            f"GRANT SELECT ON pg_temp.archiver_rows TO {owner};"
            f"CREATE FUNCTION pg_temp.archiver_load() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {path}"
            f" AS {sql.Literal(body).as_string(self._connection)};"
            f"ALTER FUNCTION pg_temp.archiver_load() OWNER TO {owner}".encode()
        )

    async def _grant(self, kind: str, name: str, privilege: str) -> None:
        """What the owner has given away, for as long as rows are written."""
        asked = {"TABLE": name, "SCHEMA": self._table.schema, "DATABASE": self._connection.info.dbname}[kind]
        cursor = await self._connection.execute(
            f"SELECT pg_catalog.has_{kind.lower()}_privilege(%s, %s, %s)".encode(), (self._table.owner, asked, privilege)
        )
        if await cursor.fetchone() == (False,):
            owner = sql.Identifier(self._table.owner).as_string(None)
            await self._connection.execute(f"GRANT {privilege} ON {kind} {name} TO {owner}".encode())
            self._granted.append((f"{kind} {name}", privilege))

    async def _schema_now(self) -> str:
        cursor = await self._connection.execute(_CHANGED.encode())
        row = await cursor.fetchone()
        return str(row[0]) if row else ""


def _names(columns: Sequence[str]) -> str:
    return sql.SQL(", ").join(map(sql.Identifier, columns)).as_string(None)
