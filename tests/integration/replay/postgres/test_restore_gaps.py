"""What stands around a point in doubt: gaps of tables whose copy is still to come, and changes that nothing announced."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import psycopg
import pytest

from archiver.capture.postgres.watch import schema_recorder, schema_watcher, table_recopier
from archiver.capture.postgres.watch.database_poll import DatabasePoll
from archiver.errors import Refused
from archiver.journal.reader import Reader
from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import SCHEMA_UNCERTAIN
from archiver.replay.postgres.restore import refuse_gaps, restore_to_database
from tests.integration.capture.postgres.recorded import schemas
from tests.integration.capture.postgres.rig import Capture, capture
from tests.integration.replay.postgres.arrange import baseline, caught_up, plan, quiet, run
from tests.servers.compare import differences

TABLES = """
CREATE TABLE t (id int PRIMARY KEY, amount int); CREATE TABLE other (id int PRIMARY KEY);
INSERT INTO t SELECT g, g FROM generate_series(1, 9) g;
"""
REWRITE = "ALTER TABLE t ALTER amount TYPE bigint USING amount * 10"


@pytest.fixture
async def held(database: str) -> AsyncIterator[tuple[Capture, psycopg.Connection]]:
    """A capture that was started while a transaction was open: no copy begins before that has ended."""
    run(database, TABLES)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        await quiet(made, database)
        await made.stop()
        with psycopg.connect(database) as session:
            session.execute("INSERT INTO other VALUES (1)")
            started = len(await schemas(made))
            await made.start()
            # Only what the schema watcher saw running when it began is waited for.
            run(database, "CREATE TYPE noticed AS ENUM ()")
            await made.until(lambda: _more(made, started))
            yield made, session


async def _more(made: Capture, count: int) -> bool:
    return len(await schemas(made)) > count


@pytest.mark.postgres(18)
async def test_a_renamed_table_keeps_its_gap(held: tuple[Capture, psycopg.Connection], database: str, target_database: str) -> None:
    """Rewritten, then renamed before it was copied: by its new name its rows are known as little as by the old one."""
    made, session = held
    count = len(await schemas(made))
    run(database, REWRITE)
    await made.until(lambda: _more(made, count))
    run(database, "ALTER TABLE t RENAME TO renamed", "CREATE TABLE t (id int PRIMARY KEY)")
    await made.until(lambda: _more(made, count + 1))
    await caught_up(made, database)
    planned = await plan(made, "latest")
    assert "renamed" in [table.name for table in planned.tables if table.note.startswith("not known")]
    with pytest.raises(Refused, match="table_rewritten"):
        refuse_gaps(planned, allow_gaps=False)
    session.commit()
    await quiet(made, database)
    await restore_to_database(await plan(made, "latest"), Reader(made.store), made.store, target_database)
    assert differences(database, target_database) == []


@pytest.mark.postgres(18)
async def test_a_change_that_no_trigger_announced_is_a_gap(database: str) -> None:
    """Event triggers do not fire for a session in replica mode: that nothing was announced does not prove that nothing happened."""
    run(database, TABLES)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=1) as made:
        await baseline(made)
        await quiet(made, database)
        run(database, f"SET session_replication_role = replica; {REWRITE}")
        inside = await caught_up(made, database)
        run(database, "INSERT INTO other VALUES (2)")
        after = await quiet(made, database)
        assert (await plan(made, after)).gaps == []
        with pytest.raises(Refused, match="table_rewritten"):
            refuse_gaps(await plan(made, inside), allow_gaps=False)


@pytest.mark.postgres(18)
@pytest.mark.parametrize("later", ["CREATE TABLE third (id int PRIMARY KEY)", "ALTER TABLE other ADD COLUMN note text"])
async def test_what_is_announced_of_others_does_not_say_when_a_gap_began(database: str, later: str) -> None:
    """One look finds both: the rewrite that nobody announced, before the point, and the announced change of another table behind it."""
    run(database, TABLES)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=4) as made:
        await baseline(made)
        await quiet(made, database)
        run(database, f"SET session_replication_role = replica; {REWRITE}")
        inside = await caught_up(made, database)
        run(database, later)
        await quiet(made, database)
        assert [gap.reason for gap in (await plan(made, inside)).gaps] == ["table_rewritten"]


@pytest.mark.postgres(18)
async def test_refreshing_a_view_leaves_the_schema_certain(database: str) -> None:
    """It is announced like a change of the schema, and no later entry shows it: so it is none."""
    run(database, TABLES, "CREATE MATERIALIZED VIEW v AS SELECT * FROM t")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        await quiet(made, database)
        run(database, "REFRESH MATERIALIZED VIEW v", "REINDEX TABLE t", "INSERT INTO t VALUES (10, 10)")
        await caught_up(made, database)
        assert (await plan(made, "latest")).schema.certain


@pytest.mark.postgres(18)
async def test_a_schema_change_that_no_trigger_announced_is_a_gap(database: str, target_database: str) -> None:
    """Between the last look that found nothing and the next entry nobody knows on which side of it a point lies."""
    run(database, TABLES)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=1) as made:
        await baseline(made)
        await quiet(made, database)
        run(database, "SET session_replication_role = replica; ALTER TABLE t ADD COLUMN note text")
        run(database, "INSERT INTO t VALUES (10, 10, 'note')")
        inside = await caught_up(made, database)
        run(database, "INSERT INTO other VALUES (2)")
        after = await quiet(made, database)
        planned = await plan(made, after)
        assert (planned.schema.certain, planned.gaps) == (True, [])
        planned = await plan(made, inside)
        assert not planned.schema.certain
        assert planned.gaps[-1].reason == SCHEMA_UNCERTAIN
        assert parse_lsn(planned.gaps[-1].from_position) < parse_lsn(inside) < parse_lsn(planned.gaps[-1].to_position)
        with pytest.raises(Refused, match="not known"):
            refuse_gaps(planned, allow_gaps=False)
        await restore_to_database(planned, Reader(made.store), made.store, target_database, allow_gaps=True)
        # The journal has it, and the figures of the source.
        await made.until(lambda: made.source.status().gaps > 0)
        [recorded] = [gap for gap in await made.gaps() if gap.reason == SCHEMA_UNCERTAIN]
        assert (recorded.from_position, recorded.to_position) == (planned.gaps[-1].from_position, planned.gaps[-1].to_position)
        assert (await plan(made, "latest")).gaps == []


@pytest.mark.postgres(18)
async def test_of_a_table_without_a_key_the_plan_says_since_when_it_is_not_known(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server counts updates late: up to the newest look at its counts there were none, and behind that nobody knows yet."""
    monkeypatch.setattr(schema_recorder, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(table_recopier, "STATISTICS_SECONDS", 0.0)
    run(database, "CREATE TABLE loose (a int)", "INSERT INTO loose VALUES (1)")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.2) as made:
        await baseline(made)
        point = await quiet(made, database)

        async def said(at: str, text: str) -> bool:
            planned = await plan(made, at)
            assert planned.gaps == []
            return [text in each for each in planned.approximations] == [True]

        await made.until(lambda: said(point, "by the server's counts no row was updated or deleted since its copy"))
        begun = asyncio.Event()

        async def endless(*_: object) -> DatabasePoll:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

        monkeypatch.setattr(schema_watcher, "poll_database", endless)
        await begun.wait()
        run(database, "UPDATE loose SET a = 2")
        await caught_up(made, database)
        await made.until(lambda: said("latest", "whether rows were updated or deleted since LSN"))


ORDINARY = {
    "announced": ["CREATE VIEW seen AS SELECT 1 AS one", "ALTER TABLE t ADD COLUMN note text DEFAULT 'd'", "CREATE INDEX ON t (amount)"],
    "a view that is filled": ["CREATE MATERIALIZED VIEW v AS SELECT * FROM t WITH NO DATA", "REFRESH MATERIALIZED VIEW v"],
    "a publication": ["CREATE PUBLICATION theirs FOR TABLE t", "ALTER PUBLICATION theirs ADD TABLE other", "DROP PUBLICATION theirs"],
    "catalogs that are packed": ["VACUUM FULL pg_index"],
}


@pytest.mark.postgres(18)
@pytest.mark.parametrize("statements", ORDINARY.values(), ids=ORDINARY.keys())
async def test_ordinary_changes_of_the_schema_are_no_gaps(database: str, statements: list[str]) -> None:
    """Before and after each statement that capture has looked at, and at the journal's end."""
    run(database, TABLES)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        points = [await quiet(made, database)]
        for statement in statements:
            # What packs a catalog waits for whoever reads it.
            await asyncio.to_thread(run, database, statement)
            points.append(await quiet(made, database))
            assert (await plan(made, "latest")).gaps == [], statement
        for point in (*points, "latest"):
            planned = await plan(made, point)
            assert planned.gaps == [], planned.schema.reason
        await made.stop()
        await made.start()
        await quiet(made, database)
        assert SCHEMA_UNCERTAIN not in [gap.reason for gap in await made.gaps()]


@pytest.mark.postgres(18)
async def test_an_index_that_is_built_beside_the_work_is_no_gap(database: str) -> None:
    """The catalog has it long before anybody announces it, and a restore does not make it until it can be used."""
    run(database, TABLES)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        before, count = await quiet(made, database), len(await schemas(made))
        with psycopg.connect(database) as session:
            session.execute("INSERT INTO t VALUES (11, 11)")
            building = asyncio.create_task(asyncio.to_thread(run, database, "CREATE INDEX CONCURRENTLY beside ON t (amount)"))
            await made.until(lambda: _more(made, count))
            inside = await caught_up(made, database)
        await building
        for point in (before, inside, await quiet(made, database), "latest"):
            planned = await plan(made, point)
            assert (planned.schema.certain, planned.gaps) == (True, []), planned.schema.reason
