"""Messages with our prefix that somebody without any right sends: they are hints, and cost nobody a restore."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import psycopg
import pytest

from archiver.journal.reader import Reader
from archiver.postgres.lsn import parse_lsn, parse_position
from archiver.replay.postgres.restore import restore_to_database
from tests.integration.capture.postgres.rig import Capture, capture
from tests.integration.replay.postgres.arrange import ask, baseline, caught_up, plan, quiet, run

FORGED = {
    "not utf-8": r"'\x7b22746167223a22ff227d'::bytea",
    "nested": "'{\"x\":' || repeat('[', 200000) || repeat(']', 200000) || '}'",
    "nested in what is read": "'{\"objects\":' || repeat('[', 100000)",
    "large": "'{\"objects\":[],\"tag\":\"' || repeat('x', 20000000) || '\"}'",
    "a number that none can be": "'{\"objects\":[{\"oid\":' || repeat('9', 10000) || '}]}'",
    "not json": "'no'",
    "empty": "''",
    "plausible": '\'{"tag":"ALTER TABLE","objects":[]}\'',
}


@pytest.fixture
async def made(database: str) -> AsyncIterator[Capture]:
    run(database, "CREATE TABLE runs (id int PRIMARY KEY, note text)", "INSERT INTO runs VALUES (1, 'a'), (2, 'b')")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        yield made


def as_guest(database: str, statement: str) -> None:
    """In a session of a role that may log in and nothing else."""
    with psycopg.connect(database, autocommit=True) as session:
        session.execute("DROP ROLE IF EXISTS archiver_guest")
        session.execute("CREATE ROLE archiver_guest")
        session.execute("SET ROLE archiver_guest")
        session.execute(statement.encode())


@pytest.mark.parametrize("content", FORGED.values(), ids=FORGED.keys())
async def test_no_message_makes_a_point_unrestorable(made: Capture, database: str, target_database: str, content: str) -> None:
    """Whatever a message says, points behind it are planned and restored, and capture goes on."""
    as_guest(database, f"SELECT pg_logical_emit_message(true, 'archiver/ddl', {content})")
    run(database, "INSERT INTO runs VALUES (3, 'c')")
    lsn = await caught_up(made, database)
    planned = await plan(made, lsn)
    assert planned.gaps == []
    await restore_to_database(planned, Reader(made.store), made.store, target_database, allow_gaps=False)
    assert ask(target_database, "SELECT string_agg(id || note, ',' ORDER BY id) FROM runs") == "1a,2b,3c"
    assert made.errors == []


async def test_a_look_at_the_catalog_settles_what_was_announced_for_nothing(made: Capture, database: str) -> None:
    """Nobody without rights keeps the schema at a point uncertain: capture looks, and journals that nothing had changed."""
    as_guest(database, f"SELECT pg_logical_emit_message(true, 'archiver/ddl', {FORGED['plausible']})")
    run(database, "INSERT INTO runs VALUES (3, 'c')")
    lsn = await caught_up(made, database)
    async with asyncio.timeout(60):
        while not (planned := await plan(made, lsn)).schema.certain:
            run(database, "UPDATE runs SET note = note")
            await caught_up(made, database)
    assert planned.doubts == []


async def test_a_message_does_not_say_that_a_column_is_another(made: Capture, database: str, target_database: str) -> None:
    """A column that is dropped and added again keeps its old values at points before that, although a message told of a change earlier."""
    oid = ask(database, "SELECT 'runs'::regclass::oid::int8")
    as_guest(database, f"""SELECT pg_logical_emit_message(true, 'archiver/ddl', '{{"tag":"ALTER TABLE","objects":[{{"oid":{oid}}}]}}')""")
    forged = await caught_up(made, database)

    def looked() -> bool:
        watcher = made.source._watcher
        return watcher is not None and parse_position(watcher._recopier._horizon.floor()) > parse_lsn(forged)

    await made.until(looked)
    run(database, "INSERT INTO runs VALUES (3, 'c')", "UPDATE runs SET note = 'B' WHERE id = 2")
    before = await caught_up(made, database)
    with psycopg.connect(database) as session:
        session.execute("ALTER TABLE runs DROP COLUMN note")
        session.execute("ALTER TABLE runs ADD COLUMN note text")
    run(database, "INSERT INTO runs VALUES (4, 'd')")
    await quiet(made, database)
    planned = await plan(made, before)
    await restore_to_database(planned, Reader(made.store), made.store, target_database, allow_gaps=False)
    assert ask(target_database, "SELECT string_agg(id || note, ',' ORDER BY id) FROM runs") == "1a,2B,3c"
