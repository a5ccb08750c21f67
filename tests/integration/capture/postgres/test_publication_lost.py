"""Somebody drops one of our publications while rows are written."""

from __future__ import annotations

import uuid

import pytest

from archiver.capture.postgres.catalog.catalog import read_catalog
from archiver.capture.postgres.catalog.publication import planned_changes, reconcile_publications
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.session.access import Access
from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import restore_to_database
from tests.integration.capture.postgres.rig import capture
from tests.integration.replay.postgres.arrange import baseline, plan, quiet, run
from tests.servers.compare import differences
from tests.servers.postgres import PostgresServer


async def test_capture_gets_over_a_dropped_publication(database: str, target_database: str, postgres: PostgresServer) -> None:
    """18 goes on without it, and the tables are copied again; before, the server never decodes past that place: a gap, and a new baseline."""
    newer = postgres.version >= 18
    slot = f"archiver_{uuid.uuid4().hex[:12]}"
    run(database, "CREATE TABLE t (id int PRIMARY KEY, note text)", "INSERT INTO t VALUES (1, 'first')")
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        await quiet(made, database)
        checkpoint = made.writer.marks["db"].checkpoint
        run(database, f"DROP PUBLICATION {slot}_key; INSERT INTO t VALUES (2, 'unseen')")

        async def noticed() -> bool:
            return bool(await made.gaps()) and (newer or made.writer.marks["db"].checkpoint > checkpoint)

        await made.until(noticed)
        await quiet(made, database)
        run(database, "INSERT INTO t VALUES (3, 'seen again')")
        await quiet(made, database)
        await restore_to_database(await plan(made, "latest"), Reader(made.store), made.store, target_database)
        assert differences(database, target_database) == []
        gaps = [gap.reason for gap in await made.gaps()]
    assert gaps == ["table_added" if newer else "publication_lost"]


@pytest.mark.postgres(18)
async def test_a_table_that_left_unnoticed_is_not_put_back_in_passing(database: str) -> None:
    """Somebody takes it out between the look and the change of something else: it stays out until its gap is in the journal."""
    slot = f"archiver_{uuid.uuid4().hex[:12]}"
    config = PostgresConfig(dsn=database, slot=slot)
    run(database, "CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")
    session = await Access.of(database).connect()
    try:
        catalog = (await read_catalog(session, Scope())).catalog
        tables = {table.name: table.oid for table in catalog.tables}
        await reconcile_publications(session, config, catalog)
        run(database, f"DROP PUBLICATION {slot}_key")
        journaled = frozenset({tables["t"]})
        changed = await reconcile_publications(session, config, catalog, journaled=journaled)
        assert changed.added == {tables["u"]}
        assert (await planned_changes(session, config, catalog)).added == journaled
    finally:
        await session.close()


@pytest.mark.postgres(16, 18)
@pytest.mark.parametrize("down", [False, True], ids=["between two looks", "while capture is down"])
async def test_a_table_that_left_and_came_back_is_copied(database: str, target_database: str, *, down: bool) -> None:
    """Nothing in the stream tells what happened to it in between, and afterwards it is a member as before: but not the same one."""
    slot = f"archiver_{uuid.uuid4().hex[:12]}"
    run(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, note text)",
        "INSERT INTO t VALUES (1, 'first')",
        "CREATE TABLE u (id int PRIMARY KEY)",
    )
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        await quiet(made, database)
        if down:
            await made.stop()
        run(
            database,
            f"ALTER PUBLICATION {slot}_key DROP TABLE t",
            "UPDATE t SET note = 'unseen'",
            f"ALTER PUBLICATION {slot}_key ADD TABLE ONLY t",
        )
        if down:
            await made.start()

        async def noticed() -> bool:
            return bool(await made.gaps())

        await made.until(noticed)
        await quiet(made, database)
        await made.stop()
        await made.start()
        await quiet(made, database)
        await restore_to_database(await plan(made, "latest"), Reader(made.store), made.store, target_database)
        assert differences(database, target_database) == []
        assert [(gap.reason, gap.what) for gap in await made.gaps()] == [("table_added", "table public.t")]
