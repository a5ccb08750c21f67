"""Writes the rows of all tables into the target. A table that does not take its rows is tried again after the others, in weaker forms.

In this order: as it is; again when other tables are filled; with the ``search_path`` that its checks may need; through its partitioned
table; without the checks that the rows break; row by row, those that are refused set aside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg

from archiver.errors import Bug, Refused
from archiver.postgres.records import Table
from archiver.replay.postgres.plan.plan import LeftOutItem, RestoredTable
from archiver.replay.postgres.write.broken_checks import CheckConstraint, as_left_out, broken_checks
from archiver.replay.postgres.write.queued_code import FORGET_CURSORS
from archiver.replay.postgres.write.row_by_row import write_row_by_row
from archiver.replay.postgres.write.row_target import RowTarget, SchemaChangedByRows, TargetTable, read_target_tables
from archiver.replay.postgres.write.target_database import explained, is_fatal

if TYPE_CHECKING:
    from archiver.replay.postgres.write.left_out_file import LeftOutFile
    from archiver.replay.postgres.write.search_paths import SearchPaths
    from archiver.replay.postgres.write.table_rows import TableRows
    from archiver.replay.postgres.write.target_database import Connection

_MEDDLED = "functions that the restore called for it changed the schema"
_MOST_CHECKS = 50
"""Constraints of one table that are taken away, one after the other."""


@dataclass(slots=True)
class _WaitingTable:
    table: Table
    error: psycopg.Error | SchemaChangedByRows


class RowWriter:
    """The rows of one restore. Strict: the first table that does not take them ends it."""

    def __init__(
        self,
        connection: Connection,
        read: Callable[[Table], TableRows],
        paths: SearchPaths,
        aside: LeftOutFile,
        say: Callable[[str, int], None],
        *,
        strict: bool,
        restored: list[RestoredTable] | None = None,
    ) -> None:
        """``say(step, rows)``: how many rows are written so far. ``restored``: a list of tables that several writers share."""
        self._connection, self._read, self._paths, self._aside, self._say = connection, read, paths, aside, say
        self._strict = strict
        self._targets: dict[int, TargetTable] = {}
        self._waiting: list[_WaitingTable] = []
        self.restored: list[RestoredTable] = [] if restored is None else restored
        self.set_aside: list[LeftOutItem] = []
        self.weaker: list[LeftOutItem] = []
        self.notes: list[str] = []

    async def write_alone(self, table: Table, tables: Sequence[Table]) -> bool:
        """Write the rows of one of ``tables`` in a transaction of its own, if it takes them as it is and calls no code of users for it."""
        self._targets = self._targets or await read_target_tables(self._connection, tables)
        target = self._targets.get(table.oid)
        if target is None or target.runs_code or target.has_triggers or not _holds_rows(table):
            return False
        async with self._connection.transaction():
            written = await self._attempt(table, target, freeze=True) is None
            await self._connection.execute(FORGET_CURSORS)
            return written

    async def write(self, tables: Sequence[Table], *, written: Collection[int] = ()) -> None:
        """Write the rows of ``tables``, those that hold rows themselves and are not ``written`` (oids).

        Raises ``Corrupt`` for rows that cannot be read, ``Unavailable``; where strict what ``explained`` says of the first failure.
        """
        self._targets = await read_target_tables(self._connection, tables)
        holding = [table for table in tables if _holds_rows(table) and table.oid not in written]
        there = [table for table in holding if table.oid in self._targets]
        # Where no code of users runs, none can see what is still missing, or get in the way of the others.
        for table in sorted(there, key=lambda each: (self._targets[each.oid].runs_code, each.schema, each.name)):
            meddled = self._targets[table.oid].has_triggers
            error = SchemaChangedByRows() if meddled else await self._attempt(table, self._targets[table.oid], freeze=True)
            if self._strict and isinstance(error, SchemaChangedByRows):
                raise _meddled(table)
            if error is not None:
                self._waiting.append(_WaitingTable(table, error))
        for form in (self._as_it_is, self._in_a_path, self._through_root, self._without_checks, self._row_by_row):
            while await self._round(form):
                await self._round(self._as_it_is)
        for table in holding:
            if table.oid not in self._targets:
                await self._leave_out(table, "the table could not be created")

    async def _round(self, form: Callable[[Table, psycopg.Error], Awaitable[bool]]) -> bool:
        """Whether one of those that wait was written."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if isinstance(each.error, SchemaChangedByRows):
                await self._leave_out(each.table, _MEDDLED)
            elif not await form(each.table, each.error):
                self._waiting.append(each)
        return len(self._waiting) < len(waiting)

    async def _as_it_is(self, table: Table, _: psycopg.Error) -> bool:
        """Only a check that calls functions may find now what it did not find before."""
        target = self._targets[table.oid]
        # Not emptied for FREEZE: it may hold rows that came through its partitioned table.
        return target.runs_code and await self._attempt(table, target) is None

    async def _in_a_path(self, table: Table, _: psycopg.Error) -> bool:
        target = self._targets[table.oid]
        if not target.runs_code:
            return False
        for path in await self._paths.of(table.schema, target.owner):
            if await self._attempt(table, target, path=path) is None:
                self.notes.append(f"rows of {table.schema}.{table.name} were written with search_path = {path}, which their checks need")
                return True
        return False

    async def _through_root(self, table: Table, error: psycopg.Error) -> bool:
        """Where the target would put a row elsewhere: enum values hash otherwise in each database, text may sort otherwise."""
        root = self._root(table)
        if root is None or error.sqlstate != "23514" or error.diag.constraint_name:
            return False
        if await self._attempt(table, root) is not None:
            return False
        self.notes.append(f"rows of {table.schema}.{table.name} went through {root.name}: the target puts some into other partitions")
        return True

    async def _without_checks(self, table: Table, error: psycopg.Error) -> bool:
        checks: dict[str, CheckConstraint] = {}
        target, now = self._targets[table.oid], error
        while len(checks) < _MOST_CHECKS:
            more = {check.name: check for check in await broken_checks(self._connection, target.name, now) if check.name not in checks}
            if not more:
                return False
            checks |= more
            failed = await self._attempt(table, target, without=list(checks.values()))
            if failed is None:
                reason = explained(error, "", rows=True).message.removeprefix(": ")
                self.weaker += [as_left_out(check, reason) for check in checks.values()]
                return True
            if isinstance(failed, SchemaChangedByRows):
                return False
            now = failed
        return False

    async def _row_by_row(self, table: Table, error: psycopg.Error) -> bool:
        root = self._root(table) if error.sqlstate == "23514" and not error.diag.constraint_name else None
        target = root or self._targets[table.oid]
        rows = self._read(table)
        doing = _doing(table)
        columns = [column.name for column in rows.columns]
        await self._connection.execute(b"SAVEPOINT rows")
        aside = self._aside.rows(table, columns)
        into = RowTarget(self._connection, target, columns)
        try:
            await into.open()
            async with aclosing(rows.read()) as pieces:
                found = await write_row_by_row(self._connection, into, pieces, aside, doing)
            await into.close()
        except (psycopg.Error, SchemaChangedByRows) as failed:
            if isinstance(failed, psycopg.Error) and is_fatal(explained(failed, doing)):
                raise explained(failed, doing) from failed
            await self._connection.execute(b"ROLLBACK TO rows; RELEASE rows")
            aside.seek(0)
            aside.truncate()
            meddled = isinstance(failed, SchemaChangedByRows)
            await self._leave_out(table, _MEDDLED if meddled else explained(error, "", rows=True).message.removeprefix(": "))
            return True
        await self._connection.execute(b"RELEASE rows")
        self._done(rows, found.written, 0)
        if found.aside:
            self.set_aside.append(LeftOutItem(f"{table.schema}.{table.name}", found.reason, rows=found.aside))
        return True

    async def _leave_out(self, table: Table, reason: str) -> None:
        rows = self._read(table)
        aside = self._aside.rows(table, [column.name for column in rows.columns])
        async with aclosing(rows.read()) as pieces:
            found = await write_row_by_row(self._connection, None, pieces, aside, _doing(table))
        self.set_aside.append(LeftOutItem(f"{table.schema}.{table.name}", reason, rows=found.aside))

    def _root(self, table: Table) -> TargetTable | None:
        """Its partitioned table; code that any of the partitions runs may run."""
        root = self._targets[table.oid].root
        family = [each for each in self._targets.values() if root and root in (each.root, each.name)]
        top = next((each for each in family if each.name == root), None)
        return replace(top, runs_code=any(each.runs_code for each in family)) if top else None

    async def _attempt(
        self, table: Table, target: TargetTable, *, path: str = "", freeze: bool = False, without: Sequence[CheckConstraint] = ()
    ) -> psycopg.Error | SchemaChangedByRows | None:
        """Write all rows of ``table`` into ``target``, or none."""
        rows = self._read(table)
        size = 0
        before = sum(each.rows for each in self.restored)

        async def pieces(first: memoryview, rest: AsyncIterator[memoryview]) -> AsyncIterator[memoryview]:
            nonlocal size
            size += len(first)
            yield first
            async for piece in rest:
                yield piece
                size += len(piece)
                self._say(f"rows of {table.schema}.{table.name}", before + rows.rows)

        async with aclosing(rows.read()) as read:
            first = await anext(read, None)
            if first is None:
                self._done(rows, 0, 0)
                return None
            self._say(f"rows of {table.schema}.{table.name}", before + rows.rows)
            into = RowTarget(self._connection, target, [column.name for column in rows.columns], path=path, freeze=freeze)
            try:
                if not self._strict:
                    await self._connection.execute(b"SAVEPOINT rows")
                    if freeze:
                        # The server freezes rows only of a table that is new under this savepoint.
                        await self._connection.execute(f"TRUNCATE ONLY {target.name}".encode())
                for check in without:
                    await self._connection.execute(check.away.encode())
                await into.open()
                counted = await into.put(pieces(first, read))
                await into.close()
                for check in without:
                    if check.back:
                        await self._connection.execute(check.back.encode())
                if not self._strict:
                    await self._connection.execute(b"RELEASE rows")
            except (psycopg.Error, SchemaChangedByRows) as error:
                failed = explained(error, _doing(table), rows=True) if isinstance(error, psycopg.Error) else None
                if self._strict or (failed is not None and is_fatal(failed)):
                    raise (failed or _meddled(table)) from error
                await self._connection.execute(b"ROLLBACK TO rows; RELEASE rows")
                return error
        if counted != rows.rows:
            raise Bug(f"{table.schema}.{table.name}: the server counted {counted} rows, {rows.rows} were sent", hint="report it")
        self._done(rows, rows.rows, size)
        return None

    def _done(self, rows: TableRows, written: int, size: int) -> None:
        self.restored.append(RestoredTable(rows.table.schema, rows.table.name, written, rows.changes, size))


def _meddled(table: Table) -> Refused:
    return Refused(f"{_doing(table)}: {_MEDDLED}", hint="nothing was changed; see the functions of its checks")


def _holds_rows(table: Table) -> bool:
    return table.kind != "p" and table.mode != "excluded"


def _doing(table: Table) -> str:
    return f"writing rows of {table.schema}.{table.name}"
