"""Reading sequences must cost whoever changes them nothing, and one that cannot be read must not stop the rest."""

from __future__ import annotations

import asyncio
import uuid

import msgspec
import psycopg
import pytest

from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.catalog.sequences import read_sequence_values
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.preflight.preflight import preflight
from archiver.capture.postgres.session.access import Access
from archiver.errors import Unavailable
from archiver.journal.entry import Kind
from archiver.postgres.records import Sequences
from tests.integration.capture.postgres.rig import Capture, capture
from tests.integration.capture.postgres.test_baseline import Sink, run, taken


def _slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


async def _read(made: Capture) -> dict[str, int | None]:
    """The newest reading in the journal."""
    readings = [body for placed in await made.placed() if placed.run.kind is Kind.PG_SEQUENCES for body in placed.run.bodies()]
    return {value.name: value.last_value for value in msgspec.json.decode(readings[-1], type=Sequences).values}


async def test_a_migration_never_loses_against_a_reading(database: str) -> None:
    """It locks one sequence and, later than ``deadlock_timeout``, another that every poll reads: both are its own."""
    run(database, "CREATE SEQUENCE a", "CREATE SEQUENCE b")
    async with capture(database, _slot(), poll_seconds=0.2) as made:
        await made.start()
        with psycopg.connect(database) as migration:
            migration.execute("ALTER SEQUENCE b MAXVALUE 1000")
            await asyncio.sleep(2.5)
            await asyncio.to_thread(migration.execute, b"ALTER SEQUENCE a MAXVALUE 1000")
            migration.execute("SELECT nextval('a'), nextval('b')")

        async def read() -> bool:
            return await _read(made) == {"a": 1, "b": 1}

        await made.until(read)
        assert made.source.status().state == "streaming"


async def test_a_baseline_keeps_no_sequence_locked(database: str) -> None:
    """While rows are copied, however long that takes, sequences can be altered and dropped."""
    run(database, "CREATE TABLE t (id serial PRIMARY KEY)", "INSERT INTO t DEFAULT VALUES", "CREATE SEQUENCE alone")
    sink = Sink()
    sink.open.clear()
    baseline = asyncio.create_task(taken(database, sink))
    await asyncio.wait({baseline, asyncio.create_task(sink.waiting.wait())}, return_when=asyncio.FIRST_COMPLETED)
    run(database, "SET lock_timeout = '1s'; ALTER SEQUENCE t_id_seq MAXVALUE 1000; DROP SEQUENCE alone")
    sink.open.set()
    assert {value.name: value.last_value for value in (await baseline).sequences.values} == {"t_id_seq": 1, "alone": None}


async def test_a_sequence_that_stays_locked_is_not_waited_for(database: str) -> None:
    """The reading fails soon and is made again later; it never tells an older value."""
    run(database, "CREATE SEQUENCE a")
    async with await Access.of(database).connect() as session:
        with psycopg.connect(database) as migration:
            migration.execute("DROP SEQUENCE a")
            with pytest.raises(Unavailable, match="lock timeout"):
                await asyncio.wait_for(read_sequence_values(session, Scope()), 5)
        assert await read_sequence_values(session, Scope()) == []


async def test_a_schema_without_usage_does_not_stop_the_others(database: str) -> None:
    """SELECT on a sequence tells its last value; what it gives before its first one takes USAGE on its schema as well."""
    role = f"reader_{uuid.uuid4().hex[:8]}"
    run(
        database,
        f"CREATE ROLE {role} LOGIN",
        "CREATE SCHEMA hidden CREATE SEQUENCE fresh CREATE SEQUENCE used",
        "SELECT nextval('hidden.used')",
        "CREATE SEQUENCE public.seen START 7",
        "SELECT setval('public.seen', 9, false)",
        f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA hidden, public TO {role}",
    )
    try:
        async with await Access.of(database.replace("postgres@", f"{role}@")).connect() as session:
            values = await read_sequence_values(session, Scope())
            report = await preflight(session, PostgresConfig(dsn=database, slot=_slot()))
    finally:
        run(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    assert {value.name: (value.last_value, value.next_value) for value in values} == {
        "fresh": (None, None),
        "used": (1, None),
        "seen": (None, 9),
    }
    assert [finding.about for finding in report.refusals if finding.code == "schema_rights"] == ["schema hidden"]
