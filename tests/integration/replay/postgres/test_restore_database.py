"""Capture, journal and restore on real servers, judged by SQL alone."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from pathlib import Path

import pytest

from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import restore_to_database, restore_to_folder
from tests.integration.capture.postgres.rig import capture
from tests.integration.replay.postgres.agents import CHANGES, FILL, SCHEMA
from tests.integration.replay.postgres.arrange import ask, baseline, caught_up, plan, quiet, run
from tests.integration.replay.postgres.copies import expected
from tests.servers.compare import differences
from tests.servers.postgres import PostgresServer


@pytest.fixture
def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


async def test_a_good_state_comes_back_exactly(postgres: PostgresServer, database: str, target_database: str, slot: str) -> None:
    """Schema, rows of every kind of table, sequences and views equal those of the source at the point, not at the journal's end."""
    run(database, SCHEMA, FILL)
    async with capture(database, slot, poll_seconds=0.5) as made:
        await baseline(made)
        await asyncio.to_thread(run, database, *CHANGES)
        lsn = await caught_up(made, database)
        with expected(postgres, database) as good:
            run(
                database,
                "UPDATE runs SET state = 'ruined'",
                "DELETE FROM ledger",
                "TRUNCATE events",
                "DROP VIEW open_runs",
                "ALTER TABLE runs DROP raw",
            )
            await quiet(made, database)
            planned = await plan(made, lsn)
            report = await restore_to_database(planned, Reader(made.store), made.store, target_database)
            assert planned.gaps == []
            assert "rows in tables of extensions" in planned.not_included[-1]
            assert planned.schema.certain, planned.schema.reason
            run(good, "TRUNCATE cache", "REFRESH MATERIALIZED VIEW per_state")
            for dsn in (good, target_database):
                assert ask(dsn, "SELECT relispopulated FROM pg_class WHERE relname = 'never_filled'") is False
                run(dsn, "DROP MATERIALIZED VIEW never_filled")
            found = differences(good, target_database)
            assert [text for text in found if not text.startswith("sequences of ")] == []
    assert report.constraints_not_valid == ["public.runs runs_amount"]
    assert {f"{table.schema}.{table.name}": table.rows for table in report.tables}["public.nothing"] == 1


@pytest.mark.postgres(16, 18)
async def test_inserts_are_all_there_where_the_key_is_generated(database: str, target_database: str, slot: str) -> None:
    """The stream has such a key only in part, and rows that agree in that part are different rows."""
    run(
        database,
        "CREATE TABLE t (a int, b int, g int GENERATED ALWAYS AS (b * 10) STORED, PRIMARY KEY (a, g))",
        "INSERT INTO t VALUES (1, 1), (1, 2)",
    )
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        run(database, "INSERT INTO t VALUES (1, 3), (1, 4)", "INSERT INTO t VALUES (2, 1)")
        await quiet(made, database)
        await restore_to_database(await plan(made, "latest"), Reader(made.store), made.store, target_database)
    assert differences(database, target_database) == []


EVENT_TRIGGER = """
CREATE TABLE audit (tag text, n int);
CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.audit VALUES (TG_TAG, 1); END $$;
CREATE MATERIALIZED VIEW tags AS SELECT tag, count(*) FROM audit GROUP BY tag;
CREATE EVENT TRIGGER note_all ON ddl_command_end EXECUTE FUNCTION note();
COMMENT ON EVENT TRIGGER note_all IS 'all of it';
CREATE TABLE one (id int PRIMARY KEY);
"""


@pytest.mark.postgres(16, 18)
async def test_event_triggers_do_not_see_the_restore(
    postgres: PostgresServer, database: str, target_database: str, slot: str, tmp_path: Path
) -> None:
    """What an event trigger wrote at the source comes back, and nothing that the restore itself would make it write."""
    run(database, EVENT_TRIGGER)
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        run(database, "CREATE TABLE two (id int PRIMARY KEY)")
        await quiet(made, database)
        planned, reader = await plan(made, "latest"), Reader(made.store)
        await restore_to_database(planned, reader, made.store, target_database)
        await restore_to_folder(planned, reader, made.store, tmp_path)
    rows = "SELECT string_agg(tag, ',' ORDER BY tag) FROM audit"
    assert ask(target_database, rows) == ask(database, rows)
    assert ask(target_database, "SELECT obj_description(oid) FROM pg_event_trigger WHERE evtname = 'note_all'") == "all of it"
    with postgres.database() as name:
        psql = [
            str(postgres.bin / "psql"),
            "--no-psqlrc",
            "--quiet",
            f"--dbname={postgres.dsn(name)}",
            f"--file={tmp_path / 'restore.sql'}",
        ]
        await asyncio.to_thread(subprocess.run, psql, check=True, capture_output=True)
        assert ask(postgres.dsn(name), rows) == ask(database, rows)
