"""Rows that are too large to be copied: found before COPY sends them, and left out by a condition.

COPY sends a row as one message, for which libpq takes as much memory as it needs; and rows beyond 1 GB the server cannot send at all.
Whether a table has such rows is asked of ranges that are copied right afterwards, so that their pages are read from disk once. What a
value of text or bytea takes is known without reading it; others are written out if what is stored of them is large enough.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from archiver.capture.postgres.session.access import Session, restricts_views, translated
from archiver.postgres.calling_code import PLANNED_BY_OTHERS
from archiver.postgres.records import Column, Table

COMPRESSION = 256
"""Stored values smaller than the bound by this, and tables that have less out of line, are not looked at: nothing is compressed better."""

TOO_LARGE = "it holds rows that are too large, which are left out"
"""Detail of such a table's gap."""

_BYTEA, _TEXTS = 17, frozenset((25, 1042, 1043))
_TOO_MUCH = (psycopg.errors.ProgramLimitExceeded, psycopg.errors.InternalError_)
"""What the server says when a value is too large even to be measured as text."""


def row_size(columns: list[Column], largest: int, *, measured: bool) -> sql.Composable:
    """Bytes of a row's text, as far as ``columns`` make it large.

    Not ``measured``: values that would be written out count as if they were compressed as well as can be.
    """
    sizes: list[sql.Composable] = []
    for column in columns:
        name = sql.Identifier(column.name)
        if column.type_oid == _BYTEA:
            size = sql.SQL("2 * octet_length({})::int8")
        elif column.type_oid in _TEXTS:
            size = sql.SQL("octet_length({})::int8")
        else:
            # By its output function, as COPY writes it: a cast to text may be a user's function.
            written = "octet_length(format('%s', {}))" if measured else f"{COMPRESSION + 1} * pg_column_size({{}})"
            size = sql.SQL("CASE WHEN pg_column_size({}) >= " + str(largest // COMPRESSION) + " THEN (" + written + ")::int8 END")
        sizes.append(sql.SQL("coalesce(") + size.format(name, name) + sql.SQL(", 0)"))
    return sql.SQL(" + ").join(sizes)


class LargeRows:
    """Finds rows whose text is larger than ``largest`` bytes, in the tables that can have such."""

    def __init__(self, largest: int, columns: dict[int, list[Column]]) -> None:
        """``columns``: by the oid of a table that can, those that can make a row large."""
        self._largest = largest
        self._columns = columns

    @classmethod
    async def look(cls, session: Session, tables: list[Table], largest: int) -> LargeRows:
        """Which of ``tables`` can have such rows: those with enough out of line. Raises ``psycopg.Error``."""
        cursor = await session.execute(
            "SELECT a.attrelid::int8, array_agg(a.attnum::int) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE c.oid = ANY(%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attlen = -1 AND a.attstorage <> 'p'"
            f" AND c.reltoastrelid <> 0 AND pg_relation_size(c.reltoastrelid) >= {largest // COMPRESSION} GROUP BY 1".encode(),
            [[table.oid for table in tables]],
        )
        found: dict[int, list[int]] = dict(await cursor.fetchall())
        columns = {
            table.oid: [column for column in table.carried if column.attnum in found[table.oid]] for table in tables if table.oid in found
        }
        return cls(largest, {oid: listed for oid, listed in columns.items() if listed})

    def possible(self, table: Table) -> bool:
        """Whether ``table`` can have such rows."""
        return table.oid in self._columns

    async def find(self, session: Session, table: Table, within: sql.Composable) -> tuple[int, sql.Composable]:
        """How many rows of ``table`` among those ``within`` (a condition) are too large, and the condition that leaves them out.

        Runs in the caller's transaction, which holds a lock on the table. Raises ``psycopg.Error``.
        """
        try:
            await session.execute("SAVEPOINT measuring")
            return await self._count(session, table, within, measured=True)
        except _TOO_MUCH:
            await session.execute("ROLLBACK TO SAVEPOINT measuring")
            return await self._count(session, table, within, measured=False)

    async def _count(self, session: Session, table: Table, within: sql.Composable, *, measured: bool) -> tuple[int, sql.Composable]:
        size = sql.SQL("({}) > {}").format(row_size(self._columns[table.oid], self._largest, measured=measured), sql.Literal(self._largest))
        name = sql.Identifier(table.schema, table.name)
        cursor = await session.execute(sql.SQL("SELECT count(*) FROM ONLY {} WHERE {} AND {}").format(name, within, size))
        row: tuple[Any, ...] | None = await cursor.fetchone()
        return (row[0] if row else 0), sql.SQL("NOT ({})").format(size)


async def planned_by_others(session: Session, tables: Sequence[Table]) -> frozenset[int]:
    """Tables (oids) that are not to be selected from: the planner would run code of their owners with our rights.

    It computes what is constant in expressions of indexes and statistics. Raises ``psycopg.Error``.
    """
    cursor = await session.execute(PLANNED_BY_OTHERS.encode(), [[table.oid for table in tables]])
    return frozenset(oid for (oid,) in await cursor.fetchall())


async def tables_with_large_rows(session: Session, tables: list[Table], largest: int, seconds: float) -> tuple[dict[str, int], list[str]]:
    """Tables that hold rows too large, with their number, and tables for which ``seconds`` or rights did not suffice.

    None where the server would run a view of a table's name. Raises what ``access.translated`` says.
    """
    found: dict[str, int] = {}
    unknown: list[str] = []
    until = time.monotonic() + seconds
    try:
        large_rows = await LargeRows.look(session, tables if await restricts_views(session) else [], largest)
        for table in filter(large_rows.possible, tables):
            name, left = f"{table.schema}.{table.name}", until - time.monotonic()
            count = await _count_within(session, large_rows, table, left) if left > 0 else None
            if count is None:
                unknown.append(name)
            elif count:
                found[name] = count
    except psycopg.Error as error:
        raise translated(error, "looking for large rows") from error
    return found, unknown


async def _count_within(session: Session, large_rows: LargeRows, table: Table, seconds: float) -> int | None:
    try:
        async with session.transaction():
            await session.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000) + 1}".encode())
            name = sql.Identifier(table.schema, table.name)
            await session.execute(sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(name))
            if await planned_by_others(session, [table]):
                return None
            count, _ = await large_rows.find(session, table, sql.SQL("TRUE"))
    except (psycopg.errors.QueryCanceled, psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
        return None
    return count
