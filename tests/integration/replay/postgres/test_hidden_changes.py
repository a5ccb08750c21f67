"""A schema change that nobody announced is a gap, whatever others announce beside it; changes of rights alone are none."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.integration.capture.postgres.rig import Capture, capture
from tests.integration.replay.postgres.arrange import ask, baseline, caught_up, plan, quiet, run

SEND = """SELECT pg_logical_emit_message(true, 'archiver/ddl', '{"tag":"ALTER TABLE","objects":[]}')"""
GRANT = "GRANT USAGE ON LANGUAGE plpgsql TO archiver_guest"
TRIGGERS = ("archiver_ddl_end", "archiver_ddl_drop", "archiver_ddl_rewrite")


@pytest.fixture
async def made(database: str) -> AsyncIterator[Capture]:
    """No look but for what is announced."""
    run(database, "CREATE TABLE t (id serial PRIMARY KEY)", "INSERT INTO t DEFAULT VALUES")
    with psycopg.connect(database, autocommit=True) as session:
        session.execute("DROP ROLE IF EXISTS archiver_guest")
        session.execute("CREATE ROLE archiver_guest")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=3000) as made:
        await baseline(made)
        await quiet(made, database)
        run(database, "CREATE VIEW looked_at AS SELECT 1 AS one")
        await quiet(made, database)
        yield made
        await made.stop()
    run(database, "DROP OWNED BY archiver_guest", "DROP ROLE archiver_guest")


def hide(database: str, statement: str, *also: str) -> None:
    """Run it so that no trigger tells of it, in one transaction with what others do."""
    with psycopg.connect(database) as session:
        for each in also:
            session.execute(each.encode())
        session.execute("SET LOCAL session_replication_role = replica")
        session.execute(statement.encode())


def as_guest(database: str, statement: str) -> None:
    """With no right at all."""
    with psycopg.connect(database, autocommit=True) as session:
        session.execute("SET ROLE archiver_guest")
        session.execute(statement.encode())


@pytest.mark.postgres(15, 16, 18)
async def test_no_message_and_no_grant_of_a_guest_hides_a_change(made: Capture, database: str) -> None:
    """Behind the change, with it, or while triggers were off for a while: a gap between the two looks, and none behind them."""
    for number, cover in enumerate((SEND, GRANT, SEND)):
        if number < 2:
            hide(database, f"CREATE VIEW hidden_{number} AS SELECT 1 AS one")
        else:
            off = [f"ALTER EVENT TRIGGER {name} DISABLE" for name in TRIGGERS]
            on = [f"ALTER EVENT TRIGGER {name} ENABLE" for name in TRIGGERS]
            run(database, *off, f"CREATE VIEW hidden_{number} AS SELECT 1 AS one", *on)
        run(database, "INSERT INTO t DEFAULT VALUES")
        within = await caught_up(made, database)
        as_guest(database, cover)
        behind = await quiet(made, database)
        assert [gap.reason for gap in (await plan(made, within)).gaps] == ["schema_uncertain"], cover
        planned = await plan(made, behind)
        assert (planned.schema.certain, planned.gaps) == (True, []), cover
    hide(database, "CREATE VIEW hidden_with AS SELECT 1 AS one", SEND)
    within = await caught_up(made, database)
    await quiet(made, database)
    assert [gap.reason for gap in (await plan(made, within)).gaps] == ["schema_uncertain"]


@pytest.mark.postgres(15, 16, 18)
async def test_what_a_grant_changes_is_no_gap(made: Capture, database: str) -> None:
    """Rights that were given, and default privileges that a guest made for himself: the entries differ in rights alone."""
    for statements in (
        ["GRANT SELECT ON t TO archiver_guest"],
        ["REVOKE SELECT ON t FROM archiver_guest"],
        ["SET ROLE archiver_guest", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC"],
        ["SET ROLE archiver_guest", "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM PUBLIC"],
    ):
        run(database, "INSERT INTO t DEFAULT VALUES")
        before = await caught_up(made, database)
        run(database, *statements)
        within = await caught_up(made, database)
        run(database, "INSERT INTO t DEFAULT VALUES")
        behind = await quiet(made, database)
        for point in (before, within, behind):
            planned = await plan(made, point)
            assert (planned.schema.certain, planned.gaps) == (True, []), (statements, point)


@pytest.mark.postgres(18)
async def test_what_is_dropped_with_its_owner_is_announced(made: Capture, database: str) -> None:
    """DROP OWNED of what a role has is as good as any other DROP."""
    run(database, "CREATE TABLE owned (id int PRIMARY KEY)", "ALTER TABLE owned OWNER TO archiver_guest")
    await quiet(made, database)
    before = await caught_up(made, database)
    run(database, "DROP OWNED BY archiver_guest")
    within = await caught_up(made, database)
    await quiet(made, database)
    for point in (before, within):
        planned = await plan(made, point)
        assert (planned.schema.certain, planned.gaps) == (True, []), point


@pytest.mark.postgres(18)
@pytest.mark.parametrize("refreshed", [False, True])
async def test_what_was_hidden_while_the_archiver_was_down(made: Capture, database: str, refreshed: bool) -> None:
    """The next start goes on by the keys that the journal names: a gap. With other keys nobody knows, and it stays as the messages say."""
    await made.stop()
    if refreshed:
        run(database, "REFRESH MATERIALIZED VIEW archiver.announcement_key")
    hide(database, "CREATE VIEW hidden AS SELECT 1 AS one")
    run(database, "INSERT INTO t DEFAULT VALUES")
    within = str(ask(database, "SELECT pg_current_wal_insert_lsn()::text"))
    as_guest(database, SEND)
    await made.start()
    behind = await quiet(made, database)
    assert [gap.reason for gap in (await plan(made, within)).gaps] == ([] if refreshed else ["schema_uncertain"])
    planned = await plan(made, behind)
    assert (planned.schema.certain, planned.gaps) == (True, [])


@pytest.mark.postgres(18)
async def test_what_is_announced_while_the_archiver_is_down_is_no_gap(made: Capture, database: str) -> None:
    """Killed or not, it judges what it missed by the keys that it finds."""
    await made.crash()
    run(database, "CREATE VIEW announced AS SELECT 1 AS one", "INSERT INTO t DEFAULT VALUES")
    within = str(ask(database, "SELECT pg_current_wal_insert_lsn()::text"))
    as_guest(database, SEND)
    await made.start()
    await quiet(made, database)
    # What a guest sent behind it leaves the doubt that it always does.
    assert (await plan(made, within)).gaps == []
