"""Points between schema changes, rewrites and copies; and the other ways to say where."""

from __future__ import annotations

import asyncio
import json
import subprocess
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from archiver.errors import Refused
from archiver.journal.entry import Kind, Run
from archiver.journal.reader import Reader
from archiver.journal.records import Mark
from archiver.replay.postgres.restore import RestorePlan, RestoreReport, restore_to_database, restore_to_folder
from archiver.replay.postgres.write.to_folder import INCOMPLETE
from tests.integration.capture.postgres.recorded import copies
from tests.integration.capture.postgres.rig import SOURCE, Capture, capture
from tests.integration.replay.postgres.agents import CHANGES, FILL, SCHEMA
from tests.integration.replay.postgres.arrange import ask, baseline, caught_up, plan, quiet, run
from tests.integration.replay.postgres.copies import expected
from tests.servers.compare import differences
from tests.servers.postgres import PostgresServer, has_vector

TABLES = """
CREATE TABLE runs (id serial PRIMARY KEY, state text, old text);
INSERT INTO runs (state, old) SELECT 's' || g, 'o' || g FROM generate_series(1, 50) g;
"""

NOW = """SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


@pytest.fixture
def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def made(database: str, slot: str) -> AsyncIterator[Capture]:
    run(database, TABLES)
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        yield made


async def restore(made: Capture, planned: RestorePlan, target: str, *, allow_gaps: bool = False) -> RestoreReport:
    return await restore_to_database(planned, Reader(made.store), made.store, target, allow_gaps=allow_gaps)


async def test_each_side_of_every_schema_change(made: Capture, postgres: PostgresServer, database: str) -> None:
    """Columns that come, go, are renamed and retyped, tables that come and go: before and after each, the database is what it was."""
    steps = [
        ["INSERT INTO runs (state) VALUES ('plain')"],
        ["ALTER TABLE runs ADD COLUMN cost numeric NOT NULL DEFAULT 7", "UPDATE runs SET cost = id WHERE id % 2 = 0"],
        ["ALTER TABLE runs DROP COLUMN old", "ALTER TABLE runs ADD COLUMN old int DEFAULT 3", "UPDATE runs SET old = 4 WHERE id < 5"],
        ["ALTER TABLE runs RENAME COLUMN state TO status", "UPDATE runs SET status = 'renamed' WHERE id = 9"],
        ["CREATE TABLE budgets (id int PRIMARY KEY, run int REFERENCES runs)", "INSERT INTO budgets VALUES (1, 1), (2, 2)"],
        ["ALTER TABLE runs ALTER COLUMN cost TYPE bigint USING (cost * 10)::bigint", "UPDATE runs SET cost = cost + 1 WHERE id < 20"],
        ["ALTER TABLE budgets RENAME TO money", "DELETE FROM money WHERE id = 2", "CREATE INDEX money_run ON money (run)"],
        ["DROP TABLE money", "CREATE TABLE money (id text PRIMARY KEY)", "INSERT INTO money VALUES ('new')"],
    ]
    stops: list[tuple[str, str, list[str]]] = []
    for statements in steps:
        run(database, *statements)
        lsn = await quiet(made, database)
        with expected(postgres, database) as good, postgres.database() as name:
            planned = await plan(made, lsn)
            assert (planned.schema.certain, planned.gaps) == (True, []), statements
            await restore(made, planned, postgres.dsn(name))
            assert differences(good, postgres.dsn(name)) == [], statements
        stops.append((lsn, str(ask(database, "SELECT count(*) FROM runs")), statements))
    # The same points again, from the whole journal.
    for lsn, count, statements in stops:
        planned = await plan(made, lsn)
        assert (planned.schema.certain, planned.gaps) == (True, []), statements
        with postgres.database() as name:
            await restore(made, planned, postgres.dsn(name))
            assert str(ask(postgres.dsn(name), "SELECT count(*) FROM runs")) == count


@pytest.mark.postgres(18)
async def test_rows_that_were_rewritten_unseen_are_a_gap_until_they_are_copied(made: Capture, database: str, target_database: str) -> None:
    """Between a rewrite and its copy the point is refused; with permission it is restored as far as it is known; behind the copy it is exact."""
    before = await caught_up(made, database)
    run(database, "ALTER TABLE runs ALTER COLUMN state TYPE varchar USING upper(state)")
    inside = await caught_up(made, database)
    await quiet(made, database)
    run(database, "UPDATE runs SET old = 'later' WHERE id = 1")
    after = await quiet(made, database)
    assert (await copies(made, "runs"))[-1].cause == "table_rewritten"
    assert (await plan(made, before)).gaps == []
    planned = await plan(made, inside)
    if planned.gaps:
        with pytest.raises(Refused, match="table_rewritten"):
            await restore(made, planned, target_database)
        report = await restore(made, planned, target_database, allow_gaps=True)
        assert report.rows == 50
        run(target_database, "DROP TABLE runs")
    await restore(made, await plan(made, after), target_database)
    assert differences(database, target_database) == []


@pytest.mark.postgres(18)
async def test_without_announcements_a_change_between_two_looks_is_a_gap(database: str, target_database: str, slot: str) -> None:
    """Where the catalog is only polled, the plan says around which points the schema is not known; far from a change it is."""
    run(database, TABLES)
    async with capture(database, slot, poll_seconds=0.3, ddl="poll") as made:
        await baseline(made)
        early = await quiet(made, database)
        await asyncio.sleep(1)
        run(
            database,
            "SELECT pg_logical_emit_message(true, 'test', 'x')",
            "ALTER TABLE runs ADD COLUMN note text",
            "UPDATE runs SET note = 'n' WHERE id = 1",
        )
        between = str(ask(database, "SELECT pg_current_wal_insert_lsn()::text"))
        late = await quiet(made, database)
        planned = await plan(made, between)
        assert not planned.schema.certain
        assert (planned.gaps[-1].what, planned.gaps[-1].reason) == ("schema", "schema_uncertain")
        assert "schema_uncertain" in [gap.reason for gap in await made.gaps()]
        planned = await plan(made, early)
        assert (planned.schema.certain, planned.gaps) == (True, [])
        planned = await plan(made, late)
        assert (planned.schema.certain, planned.gaps) == (True, [])
        await restore(made, planned, target_database)
        assert differences(database, target_database) == []


@pytest.mark.postgres(18)
async def test_lost_history_is_crossed_only_when_told(made: Capture, database: str, target_database: str, slot: str) -> None:
    """The slot is gone and comes again: before the loss and behind the new baseline points are exact; between them they are refused,
    and with permission give the last state that is known."""
    run(database, "UPDATE runs SET state = 'known'")
    before = await caught_up(made, database)
    await made.stop()
    run(database, f"SELECT pg_drop_replication_slot('{slot}')", "UPDATE runs SET state = 'lost'")
    inside = str(ask(database, "SELECT pg_current_wal_insert_lsn()::text"))
    moment = str(ask(database, NOW))
    run(database, "UPDATE runs SET state = 'lost too'")
    await made.start()
    run(database, "UPDATE runs SET state = 'after'")
    await made.until(lambda: made.writer.marks[SOURCE].checkpoint > made.writer.marks[SOURCE].control)
    after = await caught_up(made, database)
    assert [gap.reason for gap in (await plan(made, inside)).gaps] == ["slot_lost"]
    assert [gap.reason for gap in (await plan(made, moment)).gaps] == ["slot_lost"]
    with pytest.raises(Refused, match="history that is not known"):
        await restore(made, await plan(made, inside), target_database)
    for at, allowed, state in ((before, False, "known"), (moment, True, "known"), (after, False, "after"), ("latest", False, "after")):
        planned = await plan(made, at)
        assert bool(planned.gaps) == allowed
        await restore(made, planned, target_database, allow_gaps=allowed)
        assert ask(target_database, "SELECT string_agg(DISTINCT state, ',') FROM runs") == state
        run(target_database, "DROP TABLE runs")


@pytest.mark.postgres(18)
async def test_time_entry_and_mark_name_the_same_state(made: Capture, database: str, target_database: str) -> None:
    """A moment between two commits, the number of the first one's commit entry, and a mark set there mean the same."""
    run(database, "UPDATE runs SET state = 'good'")
    await caught_up(made, database)
    # The transaction that moved the end on is to stand before the mark as well.
    await made.reached(str(ask(database, "SELECT pg_current_wal_flush_lsn()::text")))
    await made.writer.durable(await made.writer.append(Run.of("", Kind.MARK, [msgspec.json.encode(Mark("good", 0))], observed=1)))
    await asyncio.sleep(0.05)
    moment = str(ask(database, NOW))
    await asyncio.sleep(0.05)
    run(database, "UPDATE runs SET state = 'bad'")
    await caught_up(made, database)
    plans = [await plan(made, moment), await plan(made, "mark:good")]
    plans.append(await plan(made, str(plans[0].point.entry)))
    assert {planned.point.lsn for planned in plans} == {plans[0].point.lsn}
    assert plans[0].point.distance_seconds is not None
    assert plans[0].point.distance_seconds > 0
    # A plan can be kept as JSON and carried out later.
    again = msgspec.json.decode(msgspec.json.encode(plans[0]), type=RestorePlan)
    assert again == plans[0]
    assert json.loads(msgspec.json.encode(plans[0]))["tables"][0]["name"] == "runs"
    await restore(made, again, target_database)
    assert ask(target_database, "SELECT string_agg(DISTINCT state, ',') FROM runs") == "good"


async def test_a_folder_is_loaded_by_psql(postgres: PostgresServer, database: str, target_database: str, slot: str, tmp_path: Path) -> None:
    """What is written as files, psql loads in one transaction, and it equals the source."""
    run(database, SCHEMA, FILL, "DROP MATERIALIZED VIEW never_filled")
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        run(database, *CHANGES)
        await quiet(made, database)
        planned = await plan(made, "latest")
        reader = Reader(made.store)
        folder = tmp_path / "out"
        report = await restore_to_folder(planned, reader, made.store, folder)
        with pytest.raises(Refused, match="not empty"):
            await restore_to_folder(planned, reader, made.store, folder)
        await restore_to_folder(planned, reader, made.store, folder, overwrite=True)
        assert sorted(report.files) == sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        assert not (folder / INCOMPLETE).exists()
        psql = [str(postgres.bin / "psql"), "--no-psqlrc", "--quiet", f"--dbname={target_database}", f"--file={folder / 'restore.sql'}"]
        loaded = subprocess.run(psql, check=False, capture_output=True, text=True)
        assert (loaded.returncode, loaded.stderr) == (0, "")
        with expected(postgres, database) as good:
            run(good, "TRUNCATE cache", "REFRESH MATERIALIZED VIEW per_state")
            assert [text for text in differences(good, target_database) if not text.startswith("sequences of ")] == []


@pytest.mark.postgres(16)
async def test_a_newer_server_takes_the_restore(made: Capture, database: str, start_postgres: object) -> None:
    """From 16 into 18, extension included."""
    assert callable(start_postgres)
    assert has_vector(16)
    run(
        database,
        "CREATE EXTENSION vector",
        "CREATE TABLE m (id int PRIMARY KEY, e vector(3))",
        "CREATE INDEX ON m USING hnsw (e vector_l2_ops)",
    )
    run(
        database,
        "INSERT INTO m SELECT g, ARRAY[g, 1, 2]::real[]::vector FROM generate_series(1, 100) g",
        "UPDATE m SET e = '[9,9,9]' WHERE id = 3",
    )
    await quiet(made, database)
    newer: PostgresServer = start_postgres(18)
    report = await restore(made, await plan(made, "latest"), newer.dsn())
    assert report.rows == 150
    assert ask(newer.dsn(), "SELECT id FROM m ORDER BY e <-> '[9,9,9]' LIMIT 1") in {3, 9}
