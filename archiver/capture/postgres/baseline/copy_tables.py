"""Rows of tables under one held snapshot, by several workers; large tables are shared by ranges of pages.

Locks: a worker holds ACCESS SHARE on one table while it copies one range of it, so a migration waits for a range, never for a baseline.
What a migration does in between is found by the table's file: an older snapshot sees a truncated or rewritten table *empty* (manual
13.6), so a table whose file is no longer the snapshot's is not copied but named as missed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import itertools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import psycopg
import structlog
from psycopg import sql

from archiver.capture.postgres.baseline.copy_parts import RowTooLarge, copy_parts
from archiver.capture.postgres.baseline.large_rows import LargeRows, planned_by_others
from archiver.capture.postgres.session.access import Access, Session, restricts_views, translated, unsendable
from archiver.capture.postgres.session.oversized import BufferWatch, memory_reader
from archiver.capture.postgres.session.snapshot import HeldSnapshot, import_snapshot
from archiver.journal.keys import part_key
from archiver.journal.parts import Part
from archiver.postgres.records import Table, TableRows

_RANGE_BYTES = 256 << 20
"""A table larger than this is copied in ranges of this size."""

_log = structlog.get_logger()

_GONE = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName, psycopg.errors.WrongObjectType)
"""What COPY by a name of the snapshot says after DDL."""
_RESTRICTED = psycopg.errors.ObjectNotInPrerequisiteState
"""What it says of a view that stands in the table's place, when ranges are selected."""


class PartSink(Protocol):
    """What of the journal's writer is needed here."""

    async def put_part(self, key: str, data: bytes) -> None:
        """Durable on return."""
        ...


@dataclass(frozen=True)
class CopyLimits:
    """How much at once."""

    jobs: int
    part_bytes: int
    compression_level: int
    largest_row_bytes: int = 1 << 30
    """Rows whose text is larger are left out."""
    range_bytes: int = _RANGE_BYTES


@dataclass(frozen=True)
class CopyResult:
    """Rows of the tables that could be copied, in the order asked for."""

    tables: list[TableRows]
    missed: list[int]
    """Tables (oids) that DDL made unreadable."""
    too_large: dict[int, int]
    """Tables that were copied but for so many rows, which are too large."""


class _Range(NamedTuple):
    table: Table
    number: int
    first: int
    """Page."""
    end: int | None
    """Page after the last; None for the rest of the table, however long it is by now."""
    whole: bool
    watched: bool
    """Rows that are too large are not looked for beforehand: whoever copies it must not receive one."""


async def copy_tables(
    held: HeldSnapshot,
    access: Access,
    tables: Sequence[Table],
    sink: PartSink,
    *,
    source: str,
    identity: str,
    limits: CopyLimits,
    progress: Callable[[int, int], None] | None = None,
) -> CopyResult:
    """Copy ``tables``, as the catalog shows them under ``held``; every part is durable on return.

    Parts go below ``part_prefix(source, identity)``. ``progress(rows, raw bytes)``: running totals. Cancellation stops all workers.
    Raises what ``access.translated`` and ``sink`` say.
    """
    numbers = itertools.count()
    totals = [0, 0]
    parts: dict[int, dict[int, list[Part]]] = defaultdict(dict)
    missed: set[int] = set()
    too_large: dict[int, int] = defaultdict(int)
    async with held.reading() as session:
        ranges, large_rows = await _ranges(session, tables, limits)
    work = iter(ranges)

    async def store(data: bytes) -> str:
        key = part_key(source, identity, next(numbers))
        await sink.put_part(key, data)
        return key

    async def to_parts(session: Session, command: bytes, watch: BufferWatch | None, pool: concurrent.futures.Executor) -> list[Part]:
        size, level = limits.part_bytes, limits.compression_level
        return await copy_parts(session.pgconn, command, store, part_bytes=size, level=level, pool=pool, watch=watch)

    async def worker(pool: concurrent.futures.Executor) -> None:
        session, now = await access.connect(), None
        try:
            for piece in work:
                if piece.table.oid in missed:
                    continue
                if now is None and _selects(piece, large_rows):
                    now = await access.connect()
                if session.closed:
                    session = await access.connect()
                watch = BufferWatch(limits.largest_row_bytes, memory_reader()) if piece.watched else None
                run = functools.partial(to_parts, session, watch=watch, pool=pool)
                found = await _copy_range(session, now, held.name, piece, large_rows, run)
                if found is None:
                    missed.add(piece.table.oid)
                    _log.warning(
                        "table_missed", source=source, table=f"{piece.table.schema}.{piece.table.name}", reason="DDL during the copy"
                    )
                    continue
                copied, left_out = found
                if left_out:
                    too_large[piece.table.oid] += left_out
                parts[piece.table.oid][piece.number] = copied
                totals[0] += sum(part.rows for part in copied)
                totals[1] += sum(part.raw_size for part in copied)
                if progress:
                    progress(*totals)
        finally:
            await session.close()
            if now is not None:
                await now.close()

    with concurrent.futures.ThreadPoolExecutor(limits.jobs, "copy") as pool:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(limits.jobs, len(tables))):
                    group.create_task(worker(pool))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
    return CopyResult(
        [
            _rows_of(table, itertools.chain.from_iterable(part for _, part in sorted(parts[table.oid].items())))
            for table in tables
            if table.oid not in missed
        ],
        [table.oid for table in tables if table.oid in missed],
        {oid: count for oid, count in too_large.items() if oid not in missed},
    )


def within_pages(first: int, end: int | None) -> sql.Composable:
    """The condition that a row stands on these pages."""
    low = sql.SQL("ctid >= {}::tid").format(sql.Literal(f"({first},0)"))
    return low if end is None else sql.SQL("{} AND ctid < {}::tid").format(low, sql.Literal(f"({end},0)"))


def copy_command(table: Table, first: int, end: int | None, *, whole: bool, small: sql.Composable | None = None) -> bytes:
    """COPY of a range of pages; ``whole``: of everything. ``small``: only of rows for which this holds."""
    name, columns = sql.Identifier(table.schema, table.name), table.carried
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
    if whole and small is None:
        listed = sql.SQL(" ({})").format(names) if columns else sql.SQL("")
        return sql.SQL("COPY {}{} TO STDOUT").format(name, listed).as_bytes(None)
    where = within_pages(first, end)
    if small is not None:
        where = sql.SQL("{} AND {}").format(where, small)
    return sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE {}) TO STDOUT").format(names, name, where).as_bytes(None)


async def _ranges(session: Session, tables: Sequence[Table], limits: CopyLimits) -> tuple[list[_Range], LargeRows]:
    """Largest tables first, so that no worker begins a long one when the others are done; and what finds rows that are too large."""
    try:
        restricted = await restricts_views(session)
        # They are found, and left out, by a SELECT; see below.
        unsafe = await planned_by_others(session, tables)
        selected = [table for table in tables if restricted and table.oid not in unsafe]
        large_rows = await LargeRows.look(session, selected, limits.largest_row_bytes)
        cursor = await session.execute(
            "SELECT c.oid::int8, coalesce(pg_relation_size(c.oid), 0), current_setting('block_size')::int"
            " FROM pg_class c WHERE c.oid = ANY(%s::oid[])",
            [[table.oid for table in tables]],
        )
        sizes = {oid: (size, block) for oid, size, block in await cursor.fetchall()}
    except psycopg.Error as error:
        raise translated(error, "measuring tables") from error
    found: list[_Range] = []
    for table in sorted(tables, key=lambda table: (-sizes.get(table.oid, (0, 1))[0], table.oid)):
        size, block = sizes.get(table.oid, (0, 8192))
        # A range is selected, which a view in the table's place would answer, and which the planner looks at indexes for. COPY of a table
        # by its name refuses views by itself, and plans nothing.
        watched = not restricted or table.oid in unsafe
        step = max(1, size) if watched else max(1, limits.range_bytes // block)
        starts = list(range(0, max(1, -(-size // block)), step))
        found += [
            _Range(table, number, first, None if first == starts[-1] else first + step, len(starts) == 1, watched)
            for number, first in enumerate(starts)
        ]
    return found, large_rows


def _selects(piece: _Range, large_rows: LargeRows) -> bool:
    """Whether it is copied by a query, or measured by one."""
    return not piece.whole or large_rows.possible(piece.table)


async def _copy_range(
    session: Session,
    now: Session | None,
    snapshot: str,
    piece: _Range,
    large_rows: LargeRows,
    to_parts: Callable[[bytes], Awaitable[list[Part]]],
) -> tuple[list[Part], int] | None:
    """Its parts, and how many rows were left out because they are too large; ``None`` where DDL made the table unreadable.

    ``now``: a session without a snapshot, for what ``_selects``. The planner sees indexes that are newer than ``snapshot``.
    """
    table = piece.table
    try:
        await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await import_snapshot(session, snapshot)
        found = None
        if await _same_file(session, table) and not (now and _selects(piece, large_rows) and await planned_by_others(now, [table])):
            left_out, small = 0, None
            if large_rows.possible(table):
                left_out, condition = await large_rows.find(session, table, within_pages(piece.first, piece.end))
                small = condition if left_out else None
            found = await to_parts(copy_command(table, piece.first, piece.end, whole=piece.whole, small=small)), left_out
        await session.execute("COMMIT")
        return found
    except (*_GONE, _RESTRICTED):
        await session.execute("ROLLBACK")
        return None
    except RowTooLarge:
        await session.close()
        return [], 1
    except psycopg.Error as error:
        if unsendable(error) and not session.closed:
            # Only where large rows are not looked for.
            await session.execute("ROLLBACK")
            return [], 1
        raise translated(error, f"copying table {table.schema}.{table.name}") from error


async def _same_file(session: Session, table: Table) -> bool:
    """Lock the table; whether name and file still belong to it: both functions look at the newest committed state, not at the snapshot."""
    name = sql.Identifier(table.schema, table.name)
    await session.execute(sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(name))
    cursor = await session.execute(
        "SELECT to_regclass(%s)::oid::int8, pg_relation_filenode(%s::oid)::int8", [name.as_string(None), table.oid]
    )
    if await cursor.fetchone() != (table.oid, table.filenode):
        return False
    return not table.redacted or await _same_names(session, table)


async def _same_names(session: Session, table: Table) -> bool:
    """Whether the columns still have their names, by which COPY asks for them: else it could be given one that is hidden.

    Like the functions above, it looks at the newest committed state.
    """
    cursor = await session.execute(
        "SELECT n, (pg_identify_object_as_address('pg_class'::regclass, %s::oid, n)).object_names[3] FROM unnest(%s::int[]) n",
        [table.oid, [column.attnum for column in table.carried]],
    )
    return dict(await cursor.fetchall()) == {column.attnum: column.name for column in table.carried}


def _rows_of(table: Table, parts: Iterable[Part]) -> TableRows:
    columns = table.carried
    return TableRows(
        table.oid,
        table.schema,
        table.name,
        table.mode,
        [column.name for column in columns],
        [column.attnum for column in columns],
        list(parts),
    )
