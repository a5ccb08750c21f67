"""Sequences that were set or restarted, and what they give next after a restore."""

from __future__ import annotations

import asyncio
import uuid

import psycopg
import pytest

from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import restore_to_database
from tests.integration.capture.postgres.rig import capture
from tests.integration.replay.postgres.arrange import baseline, caught_up, plan, run
from tests.servers.compare import differences

TABLES = """
CREATE TABLE runs (id serial PRIMARY KEY, state text);
CREATE TABLE old (id serial PRIMARY KEY);
CREATE SEQUENCE alone; CREATE SEQUENCE "Down" INCREMENT -3 MINVALUE -1000 START -1; CREATE SEQUENCE untouched; CREATE SEQUENCE used;
CREATE SEQUENCE lowest MINVALUE -10 START 5;
INSERT INTO runs (state) SELECT 's' FROM generate_series(1, 9);
INSERT INTO old VALUES (-7);
"""
SET = [
    "ALTER SEQUENCE runs_id_seq RESTART WITH 500",
    "SELECT setval('alone', 1000, false)",
    "SELECT setval('\"Down\"', -100, false)",
    "SELECT setval('lowest', -10, false)",
    "SELECT nextval('used')",
]
NAMES = ("runs_id_seq", "alone", '"Down"', "untouched", "used", "lowest", "old_id_seq")


def following(dsn: str) -> dict[str, int]:
    """What each sequence gives next."""
    found = {}
    with psycopg.connect(dsn) as session:
        for name in NAMES:
            row = session.execute("SELECT nextval(%s::regclass)", (name,)).fetchone()
            assert row is not None
            found[name] = int(row[0])
    return found


async def test_a_sequence_goes_on_where_it_was_set(database: str, target_database: str) -> None:
    """RESTART WITH and setval(…, false) leave no last value; the next one is what counts, read by the baseline or by a poll."""
    run(database, TABLES, *SET[:3])
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        run(database, *SET[3:])
        await caught_up(made, database)
        await asyncio.sleep(1)
        run(database, "SELECT pg_logical_emit_message(true, 'test', 'x')")
        await caught_up(made, database)
        await made.stop()
        await restore_to_database(await plan(made, "latest"), Reader(made.store), made.store, target_database)
    assert [text for text in differences(database, target_database) if not text.startswith("sequences of ")] == []
    assert following(target_database) == following(database)


@pytest.mark.postgres(18)
async def test_a_restart_before_the_next_reading_repeats_nothing(database: str, target_database: str) -> None:
    """Between two readings that differ, the greater of both goes, as ever; rows below the sequence's range harm nothing."""
    run(database, TABLES)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        await asyncio.sleep(1)
        run(database, *SET)
        point = await caught_up(made, database)
        run(database, "INSERT INTO old VALUES (-6)")
        await caught_up(made, database)
        await made.stop()
        await restore_to_database(await plan(made, point), Reader(made.store), made.store, target_database)
    found = following(target_database)
    assert (found["runs_id_seq"], found["alone"], found['"Down"']) == (500, 1000, -100)
    assert (found["used"], found["old_id_seq"]) == (2, 1)
