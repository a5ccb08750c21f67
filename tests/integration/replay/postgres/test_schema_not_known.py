"""A schema that the journal could not take, and rows of what no schema entry has, are gaps, also while nothing of the stream is lost."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from archiver.capture.postgres.baseline.schema_entry import SchemaEntry
from archiver.capture.postgres.watch import schema_follower, schema_recorder, schema_watcher
from archiver.capture.postgres.watch.database_poll import DatabasePoll
from archiver.journal.entry import Kind
from archiver.journal.reader import Reader
from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import Look
from archiver.replay.postgres.restore import restore_to_database
from tests.integration.capture.postgres.rig import capture
from tests.integration.replay.postgres.arrange import baseline, caught_up, plan, quiet, run
from tests.integration.service.rig import captured, create_table, database_source, ready
from tests.servers.archiver import Archiver

pytestmark = pytest.mark.postgres(18)


async def test_what_changes_while_a_table_is_locked_is_a_gap_until_the_schema_is_taken(database: str) -> None:
    """The new table and the new column are named; before the change and after the next schema everything is known."""
    run(database, "CREATE TABLE big (id int PRIMARY KEY)", "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", ddl="poll", poll_seconds=0.2) as made:
        await baseline(made)
        before = await quiet(made, database)
        await asyncio.sleep(1)  # Some polls: a gap begins with the newest one that found nothing.
        with psycopg.connect(database) as held:
            held.execute("LOCK TABLE big IN ACCESS EXCLUSIVE MODE")
            run(database, "CREATE TABLE important AS SELECT 1 AS id", "ALTER TABLE important ADD PRIMARY KEY (id)")
            run(database, "ALTER TABLE t ADD COLUMN extra text", "UPDATE t SET extra = 'lost?'")
            await made.until(lambda: made.source.status().unknown_since is not None)
            run(database, "INSERT INTO important VALUES (2)")
            during = await caught_up(made, database)
            gaps = {gap.what: gap for gap in (await plan(made, "latest")).gaps}
            assert gaps.keys() == {"schema", "table public.important", "column public.t.extra"}
            assert "public.important" in gaps["schema"].detail
            assert "public.t" in gaps["schema"].detail
            await made.crash()
            assert (await plan(made, "latest")).gaps
            await made.start()
            await made.until(lambda: made.source.status().unknown_since is not None)
        await made.until(lambda: made.source.status().unknown_since is None)
        after = await quiet(made, database)
        assert (await plan(made, before)).gaps == []
        assert (await plan(made, during)).gaps
        assert (await plan(made, after)).gaps == []


async def test_what_is_announced_while_a_table_is_locked_is_a_gap_only_until_the_schema_is_taken(database: str) -> None:
    """While the lock is held `latest` is a gap. Afterwards the announcement says where the change was: no point is in doubt, on either side."""
    run(database, "CREATE TABLE big (id int PRIMARY KEY)", "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=2) as made:
        await baseline(made)
        await quiet(made, database)
        run(database, "INSERT INTO t VALUES (2)")
        before = await caught_up(made, database)
        with psycopg.connect(database) as held:
            held.execute("LOCK TABLE big IN ACCESS EXCLUSIVE MODE")
            run(database, "CREATE VIEW announced AS SELECT 1 AS one", "INSERT INTO t VALUES (3)")
            during = await caught_up(made, database)
            await made.until(lambda: made.source.status().unknown_since is not None)
            # The gap comes before what is committed now.
            run(database, "INSERT INTO t VALUES (4)")
            await caught_up(made, database)
            assert [gap.reason for gap in (await plan(made, "latest")).gaps] == ["schema_uncertain"]
        after = await quiet(made, database)
        for point in (before, during, after, "latest"):
            planned = await plan(made, point)
            assert (planned.schema.certain, planned.gaps) == (True, []), point


@pytest.mark.parametrize("ddl", ["poll", "auto"])
async def test_a_schema_that_is_still_being_read_is_in_doubt(database: str, monkeypatch: pytest.MonkeyPatch, ddl: str) -> None:
    """However long a dump takes, or waits: until its entry is in the journal the plan and the status say that it is not there.

    A change that our event trigger announced surely was one.
    """
    run(database, "CREATE TABLE t (id int PRIMARY KEY)")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", ddl=ddl, poll_seconds=0.2) as made:
        await baseline(made)
        await quiet(made, database)
        begun = asyncio.Event()

        async def endless(*_: object, **__: object) -> SchemaEntry:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

        monkeypatch.setattr(schema_follower, "take_schema", endless)
        run(database, "CREATE VIEW one AS SELECT 1 AS one")
        await begun.wait()
        await caught_up(made, database)
        assert any("is being read" in text for text in made.source.status().warnings)
        planned = await plan(made, "latest")
        assert not planned.schema.certain
        if ddl == "poll":
            assert planned.gaps == []
            assert any("nobody announces changes" in text for text in planned.approximations), planned.approximations
        else:
            assert ["CREATE VIEW public.one" in gap.detail for gap in planned.gaps] == [True]


async def test_rows_of_a_column_that_no_poll_has_seen_are_a_gap(database: str) -> None:
    """Between two polls nothing but the rows themselves tells of a new column."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", ddl="poll", poll_seconds=3) as made:
        await baseline(made)
        await quiet(made, database)
        run(database, "ALTER TABLE t ADD COLUMN extra text", "UPDATE t SET extra = 'new'")
        await caught_up(made, database)
        assert [gap.what for gap in (await plan(made, "latest")).gaps] == ["column public.t.extra"]
        await quiet(made, database)
        assert (await plan(made, "latest")).gaps == []


@pytest.mark.parametrize("ddl", ["poll", "auto"])
async def test_what_changed_behind_the_last_look_of_a_killed_archiver(
    database: str, target_database: str, monkeypatch: pytest.MonkeyPatch, ddl: str
) -> None:
    """A change without rows leaves nothing in the stream. Where it would not be announced, the plan says how far the schema is known; once
    it was found, points between are a gap, and those before the last look of the archiver's earlier life are not.
    """
    monkeypatch.setattr(schema_recorder, "LOOK_SECONDS", 0.0)
    run(database, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", ddl=ddl, poll_seconds=0.2) as made:
        await baseline(made)
        before = await quiet(made, database)

        async def looked() -> bool:
            looks = [body for placed in await made.placed() if placed.run.kind is Kind.PG_LOOK for body in placed.run.bodies()]
            return bool(looks) and parse_lsn(msgspec.json.decode(looks[-1], type=Look).floor) > parse_lsn(before)

        await made.until(looked)
        planned = await plan(made, before)
        assert (planned.schema.certain, planned.gaps, planned.approximations) == (True, [], [])
        begun = asyncio.Event()

        async def endless(*_: object) -> DatabasePoll:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

        with monkeypatch.context() as blind:
            blind.setattr(schema_watcher, "poll_database", endless)
            await begun.wait()
            run(database, "SET session_replication_role = replica; CREATE VIEW unseen AS SELECT 1 AS one")
            inside = await caught_up(made, database)
            await made.crash()
        planned = await plan(made, "latest")
        assert planned.gaps == []
        assert (planned.schema.certain, len(planned.approximations)) == ((False, 1) if ddl == "poll" else (True, 0))
        assert all("one that was made since LSN" in text for text in planned.approximations)
        await restore_to_database(planned, Reader(made.store), made.store, target_database)
        await made.start()
        after = await quiet(made, database)
        assert [gap.reason for gap in (await plan(made, inside)).gaps] == ["schema_uncertain"]
        for point in (before, after):
            planned = await plan(made, point)
            assert planned.gaps == [], planned.gaps


def offline_line(archiver: Archiver) -> dict[str, Any]:
    """The source as the journal alone shows it."""
    done = archiver.call("status", "--offline", "--json")
    assert done.returncode == 0, done.stderr
    [line] = json.loads(done.stdout)["sources"]
    return dict(line)


def test_every_command_and_probe_says_so(database: str, tmp_path: Path) -> None:
    """Not ready, a metric, the status; a restore and a drill refuse."""
    create_table(database)
    run(database, "CREATE TABLE big (id int PRIMARY KEY)")
    with Archiver(tmp_path, {"db": database_source(database, ddl="poll", poll_seconds=1)}, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        with psycopg.connect(database) as held:
            held.execute("LOCK TABLE big IN ACCESS EXCLUSIVE MODE")
            run(database, "CREATE TABLE important (id int PRIMARY KEY)")
            archiver.wait(lambda: any("not all of it is known" in each for each in ready(archiver) or []), "readiness to say so")
            assert b'archiver_source_unknown{source="db"} 1.0' in archiver.get("/metrics")[1]
            captured(archiver, "db", database)
            done = archiver.call("restore", "--at", "latest", "--to", str(tmp_path / "out"))
            assert done.returncode == 3, done.stdout
            assert archiver.call("drill", "--at", "latest").returncode == 3
            line = offline_line(archiver)
            assert (line["unknown_since"] is not None, "schema: " in line["problem"]) == (True, True), line
            told = archiver.call("status", "--offline", "--wide").stdout
            assert "unknown since" in told
            assert "schema changes are not announced" in told
            assert any("not announced" in text for text in archiver.live_source("db")["warnings"])
        archiver.wait(lambda: not ready(archiver), "readiness once the schema is known")
        archiver.wait(lambda: offline_line(archiver)["unknown_since"] is None, "the status without the archiver still names a gap")


def test_status_names_tables_whose_rows_are_not_in_the_journal(database: str, tmp_path: Path) -> None:
    """Also without the archiver: the newest schema in the journal tells."""
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database, poll_seconds=0.5)}, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        with psycopg.connect(database) as held:
            # A transaction that runs may have written to a new table before it was published: its copy waits for that.
            held.execute("INSERT INTO note (text) VALUES ('open')")
            run(database, "CREATE TABLE later (id int PRIMARY KEY)")
            archiver.wait(lambda: "public.later" in archiver.source("db").get("problem", ""), "the status does not name the table")
            assert archiver.source("db")["unknown_since"] is not None
        archiver.wait(lambda: archiver.source("db").get("unknown_since") is None, "the table is not copied")
