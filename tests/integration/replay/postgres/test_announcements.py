"""A restore knows an announcement of our event trigger from one that anybody sent, and says a gap where the change was never looked at."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator

import psycopg
import pytest

from archiver.capture.postgres import source
from archiver.capture.postgres.catalog import ddl_triggers
from archiver.capture.postgres.catalog.seal_keys import read_seal_keys
from archiver.capture.postgres.session.access import Access
from archiver.capture.postgres.session.schema_dump import find_tools
from archiver.capture.postgres.watch import schema_watcher
from archiver.capture.postgres.watch.database_poll import DatabasePoll
from archiver.journal.entry import Kind, Placed
from archiver.postgres.announcement_seal import SealKeys
from tests.integration.capture.postgres.rig import Capture, capture
from tests.integration.replay.postgres.arrange import ask, baseline, caught_up, plan, quiet, run

PLAUSIBLE = '{"tag":"ALTER TABLE","objects":[]}'
IN_DOUBT = "announced changes before the point are not in it"


@pytest.fixture
async def made(database: str) -> AsyncIterator[Capture]:
    run(database, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        await quiet(made, database)
        yield made


STREAM_EARLY = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET logical_decoding_work_mem = 64', current_database()); END $$"
OLDER = """
CREATE OR REPLACE FUNCTION archiver.announce_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
PERFORM pg_logical_emit_message(true, 'archiver/ddl', jsonb_build_object('tag', TG_TAG, 'event', TG_EVENT, 'objects', '[]'::jsonb)::text);
END $$
"""


def messages(placed: list[Placed]) -> list[bytes]:
    """Contents of all messages with our prefix, in order, also of what rolled back."""
    frames = [frame for each in placed if each.run.kind is Kind.PG_FRAMES for frame in each.run.bodies()]
    return [frame.partition(b"archiver/ddl\0")[2][4:] for frame in frames if frame[25:26] == b"M" and b"archiver/ddl\0" in frame]


@contextlib.asynccontextmanager
async def blind(monkeypatch: pytest.MonkeyPatch, made: Capture) -> AsyncIterator[None]:
    """Nothing is looked at any more."""
    begun = asyncio.Event()

    async def endless(*_: object) -> DatabasePoll:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(schema_watcher, "poll_database", endless)
        await made.until(lambda: made.source._watcher is not None)
        await asyncio.wait_for(begun.wait(), 60)
        yield


async def test_a_clean_stop_looks_at_what_was_announced_before_it(made: Capture, database: str) -> None:
    """Also where that came just before the stop, with or without a change: the end of the journal is exact."""
    for statement in ("CREATE VIEW late AS SELECT 1 AS one", f"SELECT pg_logical_emit_message(true, 'archiver/ddl', '{PLAUSIBLE}')"):
        run(database, statement, "INSERT INTO t SELECT max(id) + 1 FROM t")
        await caught_up(made, database)
        await made.stop()
        planned = await plan(made, "latest")
        assert (planned.schema.certain, planned.gaps) == (True, []), statement
        await made.start()


NOTHING = [
    ["ALTER TABLE t ADD COLUMN IF NOT EXISTS id int", "ALTER SEQUENCE s RESTART"],
    ["CREATE TABLE stage (id int)", "DROP TABLE stage"],
]


@pytest.mark.postgres(15, 18)
async def test_what_changed_nothing_is_no_gap_behind_a_look_whatever_else_is_open(database: str) -> None:
    """A batch job writes for hours; meanwhile an application starts and alters what is so already. Looks follow at once, not with the next
    poll, and leave no gap behind the last of the statements.
    """
    run(database, "CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE batch (id int PRIMARY KEY)", "CREATE SEQUENCE s")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=3000) as made:
        await baseline(made)
        await quiet(made, database)
        with psycopg.connect(database) as batch:
            batch.execute("INSERT INTO batch VALUES (1)")

            async def settled() -> bool:
                await caught_up(made, database)
                latest = await plan(made, "latest")
                return (latest.schema.certain, latest.gaps) == (True, [])

            for statements in NOTHING:
                run(database, *statements)
                point = await caught_up(made, database)
                await made.until(settled, 60)
                planned = await plan(made, point)
                assert (planned.schema.certain, planned.gaps) == (True, []), statements
        await asyncio.wait_for(made.stop(), 20)


async def test_a_stop_does_not_wait_for_a_look_for_ever(made: Capture, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be finished the journal ends with the gap."""
    monkeypatch.setattr(source, "LAST_LOOK_SECONDS", 0.5)
    async with blind(monkeypatch, made):
        run(database, "CREATE VIEW unseen AS SELECT 1 AS one")
        await caught_up(made, database)
        await asyncio.wait_for(made.stop(), 20)
    assert [gap.reason for gap in (await plan(made, "latest")).gaps] == ["schema_uncertain"]


async def test_what_was_announced_and_not_looked_at_before_the_end_is_a_gap(
    made: Capture, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in between: the plan names the change. The next start finds it, and the point is exact."""
    before = await caught_up(made, database)
    async with blind(monkeypatch, made):
        run(database, "CREATE VIEW unseen AS SELECT 1 AS one")
        behind = await caught_up(made, database)
        await made.crash()
    for point in (behind, "latest"):
        planned = await plan(made, point)
        [gap] = planned.gaps
        assert (gap.what, gap.reason, planned.schema.certain) == ("schema", "schema_uncertain", False)
        assert "CREATE VIEW public.unseen" in gap.detail
        assert not any("the schema" in text for text in planned.approximations)
    assert (await plan(made, before)).gaps == []
    await made.start()
    await quiet(made, database)
    planned = await plan(made, behind)
    assert (planned.schema.certain, planned.gaps) == (True, [])


@pytest.mark.postgres(18)
async def test_what_anybody_could_have_sent_is_a_doubt_and_no_gap(made: Capture, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made up; heard in the stream and sent again; sealed as if by another key; of a function that seals nothing; where keys are lacking."""
    run(database, "CREATE VIEW real AS SELECT 1 AS one")
    await quiet(made, database)
    heard = messages(await made.placed())[-1].decode()
    assert '"seal": "' in heard
    other = heard[:-10] + ("0" * 8) + heard[-2:]
    send = "SELECT pg_logical_emit_message(true, 'archiver/ddl', {})"
    for statements in (
        [send.format(f"'{PLAUSIBLE}'")],
        [send.format(f"'{heard}'")],
        [send.format(f"'{other}'")],
        [OLDER, "CREATE VIEW of_the_older AS SELECT 1 AS one"],
        ["DROP MATERIALIZED VIEW archiver.announcement_key", "CREATE VIEW without_keys AS SELECT 1 AS one"],
    ):
        async with blind(monkeypatch, made):
            run(database, *statements)
            behind = await caught_up(made, database)
            await made.crash()
        for point in (behind, "latest"):
            planned = await plan(made, point)
            assert (planned.schema.certain, planned.gaps) == (False, []), statements
            assert any(IN_DOUBT in text for text in planned.approximations)
        # Installs the function and the keys again.
        await made.start()
        await quiet(made, database)
        await caught_up(made, database)


WITHOUT_RIGHTS = [
    "GRANT USAGE ON LANGUAGE plpgsql TO archiver_guest",
    "REVOKE USAGE ON LANGUAGE plpgsql FROM archiver_guest",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM PUBLIC",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "DROP OWNED BY CURRENT_USER",
    "CREATE TABLE IF NOT EXISTS pg_temp.mine (id serial PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS pg_temp.mine (id int)",
    "CREATE EXTENSION IF NOT EXISTS plpgsql",
    "DROP TABLE IF EXISTS not_there",
    "ALTER TABLE IF EXISTS not_there ADD COLUMN c int",
    "CREATE CAST (mine AS int) WITH INOUT",
    "COMMENT ON CAST (mine AS int) IS 'mine'",
    "CREATE CAST (int AS mine) WITH INOUT",
    "CREATE CAST (mine[] AS text) WITH INOUT",
    "DROP CAST (mine AS int)",
    "DROP CAST (int AS mine)",
    "CREATE DOMAIN pg_temp.positive AS int CONSTRAINT c CHECK (VALUE > 0)",
    "COMMENT ON CONSTRAINT c ON DOMAIN pg_temp.positive IS 'mine'",
    "ALTER DOMAIN pg_temp.positive DROP CONSTRAINT c",
    "CREATE TYPE pg_temp.mood AS ENUM ('glad')",
    "ALTER TYPE pg_temp.mood ADD VALUE 'sad'",
    "CREATE TYPE pg_temp.span AS RANGE (subtype = int)",
    "CREATE FUNCTION pg_temp.f(int, int) RETURNS bool LANGUAGE sql AS 'SELECT true'",
    "CREATE OPERATOR pg_temp.=== (FUNCTION = pg_temp.f, LEFTARG = int, RIGHTARG = int)",
    "DROP OPERATOR pg_temp.=== (int, int)",
    "CREATE AGGREGATE pg_temp.total (int) (SFUNC = int4pl, STYPE = int)",
    "CREATE TEXT SEARCH DICTIONARY pg_temp.words (TEMPLATE = simple)",
    "ALTER TEXT SEARCH DICTIONARY pg_temp.words (accept = false)",
    "CREATE TEXT SEARCH CONFIGURATION pg_temp.speech (COPY = simple)",
    "ALTER TEXT SEARCH CONFIGURATION pg_temp.speech DROP MAPPING FOR word",
    'CREATE COLLATION pg_temp.plain FROM "C"',
    "CREATE CONVERSION pg_temp.converted FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
    "CREATE STATISTICS pg_temp.counted ON (id + 1), (id + 2) FROM mine",
    "DROP STATISTICS pg_temp.counted",
    "CREATE TEMP VIEW seen AS SELECT id FROM mine",
    "CREATE OR REPLACE TEMP VIEW seen AS SELECT id FROM mine WHERE id > 1",
    "DROP VIEW seen",
    "ALTER TABLE mine ALTER id DROP DEFAULT",
    "CREATE INDEX ON mine (id)",
    "REINDEX TABLE mine",
    "CLUSTER mine USING mine_pkey",
    "GRANT SELECT ON mine TO PUBLIC",
    "ALTER TABLE mine ADD COLUMN dropped int",
    "ALTER TABLE mine DROP COLUMN dropped",
    "CREATE TEMP TABLE other AS SELECT 1 AS id",
    "ALTER TABLE mine INHERIT other",
    "ALTER TABLE mine NO INHERIT other",
    "REASSIGN OWNED BY CURRENT_USER TO CURRENT_USER",
    "CREATE TRIGGER t BEFORE UPDATE ON mine FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "COMMENT ON TRIGGER t ON mine IS 'mine'",
    "CREATE RULE r AS ON DELETE TO mine DO ALSO NOTHING",
    "CREATE POLICY p ON mine USING (true)",
    "ALTER TABLE mine ADD CHECK (id > 0), ALTER id TYPE bigint",
    "DROP TRIGGER t ON mine",
    "DROP RULE r ON mine",
    "DROP POLICY p ON mine",
    "SELECT lo_create(424242)",
    "COMMENT ON LARGE OBJECT 424242 IS 'mine'",
    "DROP TABLE mine CASCADE",
    "DROP OWNED BY CURRENT_USER",
]


async def test_a_role_without_rights_makes_no_gap_by_what_it_may_run(made: Capture, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own temporary things, large objects and defaults, and grants that are none, are announced by nobody or a doubt at most."""
    async with blind(monkeypatch, made):
        with psycopg.connect(database, autocommit=True) as session:
            session.execute("DROP ROLE IF EXISTS archiver_guest")
            session.execute("CREATE ROLE archiver_guest")
            session.execute("SET ROLE archiver_guest")
            for statement in WITHOUT_RIGHTS:
                session.execute(statement.encode())
        await caught_up(made, database)
        await made.crash()
    said = [json.loads(each)["tag"] for each in messages(await made.placed())]
    assert set(said) <= {"GRANT", "REVOKE", "ALTER DEFAULT PRIVILEGES", "DROP OWNED"}
    assert (await plan(made, "latest")).gaps == []
    run(database, "DROP OWNED BY archiver_guest", "DROP ROLE archiver_guest")


@pytest.mark.postgres(15, 18)
async def test_rolled_back_parts_and_streamed_transactions(made: Capture, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was undone is no change; a large transaction, sent before it commits, is one from its commit on."""
    run(database, "CREATE TABLE large (id int PRIMARY KEY, v text)")
    await quiet(made, database)
    await made.stop()
    run(database, STREAM_EARLY)
    await made.start()
    fill = "INSERT INTO large SELECT g, repeat('x', 1000) FROM generate_series({0}, {0} + 999) g"
    async with blind(monkeypatch, made):
        with psycopg.connect(database) as session:
            session.execute(fill.format(1).encode())
            session.execute("SAVEPOINT s")
            session.execute("CREATE VIEW undone AS SELECT 1 AS one")
            session.execute(fill.format(2001).encode())
            session.execute("ROLLBACK TO SAVEPOINT s")
            session.execute(fill.format(4001).encode())
        undone = await caught_up(made, database)
        with psycopg.connect(database) as session:
            session.execute(fill.format(6001).encode())
            session.execute("SAVEPOINT s")
            session.execute("CREATE VIEW kept AS SELECT 1 AS one")
            session.execute(fill.format(8001).encode())
            before = await caught_up(made, database)
        behind = await caught_up(made, database)
        await made.crash()
    assert any(frame[25:26] == b"S" for each in await made.placed() if each.run.kind is Kind.PG_FRAMES for frame in each.run.bodies())
    for point in (undone, before):
        planned = await plan(made, point)
        assert (planned.schema.certain, planned.gaps) == (True, []), point
    assert [gap.reason for gap in (await plan(made, behind)).gaps] == ["schema_uncertain"]


@pytest.mark.postgres(18)
async def test_nothing_shows_the_keys(made: Capture, database: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not the archive, a dump, what a slot decodes, a publication of all tables; nor do they let anybody else read them."""
    made_for = "SELECT pg_create_logical_replication_slot('all_' || current_database(), 'pgoutput')"
    run(database, "CREATE PUBLICATION everything FOR ALL TABLES", made_for)
    run(database, "REFRESH MATERIALIZED VIEW archiver.announcement_key", "DROP MATERIALIZED VIEW archiver.announcement_key")
    run(database, "DROP EVENT TRIGGER archiver_ddl_end")
    async with await Access.of(database).connect() as session:
        assert await ddl_triggers.install(session)
        keys = await read_seal_keys(session)
    inner, outer = (ask(database, f"SELECT {name} FROM archiver.announcement_key") for name in ("inner_key", "outer_key"))
    assert isinstance(inner, bytes)
    assert isinstance(outer, bytes)
    assert (keys, repr(keys)) == (SealKeys(inner, outer), "SealKeys(…)")
    assert len({inner[:32], inner[32:], outer[:32], outer[32:]}) == 4
    run(database, "CREATE VIEW announced AS SELECT 1 AS one", "ANALYZE archiver.announcement_key")
    await quiet(made, database)
    options = "NULL, NULL, 'proto_version', '1', 'publication_names', 'everything', 'messages', 'true'"
    decoded = ask(database, f"SELECT string_agg(data, '') FROM pg_logical_slot_get_binary_changes('all_' || current_database(), {options})")
    assert isinstance(decoded, bytes)
    run(database, "SELECT pg_drop_replication_slot('all_' || current_database())")
    dumped = await dump_of(database)
    assert b"announcement_key" in dumped
    stored = b"".join(bytes(each.run.data) for each in await made.placed())
    for key in (inner, outer):
        for half in (key[:32], key[32:]):
            for shown in (half, half.hex().encode()):
                assert shown not in stored
                assert shown not in dumped
                assert shown not in decoded
                assert shown not in caplog.text.encode()
    published = "SELECT count(*) FROM pg_publication_tables WHERE schemaname = 'archiver'"
    assert ask(database, published) == 0
    with psycopg.connect(database) as session:
        session.execute("CREATE ROLE archiver_curious")
        session.execute("GRANT USAGE ON SCHEMA archiver TO archiver_curious")
        session.execute("SET ROLE archiver_curious")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("SELECT inner_key FROM archiver.announcement_key")
        session.rollback()


async def dump_of(dsn: str) -> bytes:
    """By `pg_dump` of everything, as the owner takes it."""
    tools = find_tools(18_00_00)
    done = await asyncio.create_subprocess_exec(tools.bin / "pg_dump", "--dbname", dsn, stdout=asyncio.subprocess.PIPE)
    said, _ = await done.communicate()
    assert done.returncode == 0
    return said
