"""One cheap poll of the database: whether anything changed since the last one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import psycopg

from archiver.capture.postgres.catalog.catalog import count_writes
from archiver.capture.postgres.catalog.fingerprint import read_fingerprint
from archiver.capture.postgres.catalog.horizon import log_end_and_running
from archiver.capture.postgres.catalog.publication_members import Members, read_members
from archiver.capture.postgres.session.access import Session, translated
from archiver.postgres.records import Catalog


@dataclass(frozen=True)
class DatabasePoll:
    """What was there at one moment."""

    lsn: str
    """End of the log before anything else was looked at."""
    running: frozenset[int]
    fingerprint: str
    members: Members
    """Who is in our publications."""
    filenodes: dict[int, int]
    """Captured tables to ``relfilenode``."""
    writes: dict[int, int]
    """Insert-only tables to updates and deletes counted so far."""
    time: int = 0
    """By the server's clock, before anything else was looked at."""
    end: str = ""
    """End of the log after everything was looked at: nothing was seen that committed behind it."""
    visible: str = ""
    """The snapshot under which everything was looked at."""


async def poll_database(session: Session, publications: tuple[str, str], catalog: Catalog | None) -> DatabasePoll:
    """Poll over a session in autocommit mode. ``catalog``: whose tables are watched. Raises what ``access.translated`` says."""
    captured = [table.oid for table in catalog.tables if table.mode != "excluded"] if catalog else []
    try:
        [(time,)] = await _rows(session, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8")
        lsn, running = await log_end_and_running(session)
        async with session.transaction():
            await session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            [(visible,)] = await _rows(session, "SELECT pg_current_snapshot()::text")
            poll = DatabasePoll(
                lsn,
                running,
                await read_fingerprint(session),
                await read_members(session, publications),
                dict(await _rows(session, "SELECT oid::int8, relfilenode::int8 FROM pg_class WHERE oid = ANY(%s::oid[])", captured)),
                await count_writes(session, catalog) if catalog else {},
                time,
                visible=visible,
            )
        [(end,)] = await _rows(session, "SELECT pg_current_wal_insert_lsn()::text")
        return replace(poll, end=end)
    except psycopg.Error as error:
        raise translated(error, "looking at the database") from error


async def unreadable(session: Session, oids: list[int]) -> frozenset[int]:
    """Which of these tables the role may not copy, or would copy only in part."""
    try:
        rows = await _rows(
            session,
            "SELECT c.oid::int8 FROM pg_class c WHERE c.oid = ANY(%s::oid[]) AND (row_security_active(c.oid)"
            " OR NOT has_table_privilege(c.oid, 'SELECT') OR NOT has_schema_privilege(c.relnamespace, 'USAGE'))",
            oids,
        )
    except psycopg.Error as error:
        raise translated(error, "looking at rights") from error
    return frozenset(oid for (oid,) in rows)


async def _rows(session: Session, query: str, *values: Any) -> list[tuple[Any, ...]]:
    return await (await session.execute(query.encode(), values)).fetchall()
