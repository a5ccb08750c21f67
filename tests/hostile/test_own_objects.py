"""Schemas and triggers that somebody else made under our names: not used where they give him rights, and captured like any other."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from archiver.capture.postgres.catalog import ddl_triggers
from archiver.capture.postgres.catalog.own_objects import COMMENT
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.preflight.preflight import Preflight, preflight
from archiver.capture.postgres.session.access import Access
from archiver.capture.postgres.session.dump_selection import DumpSelection
from archiver.capture.postgres.session.schema_dump import dump_schema, find_tools
from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import restore_to_database
from tests.integration.capture.postgres.rig import capture
from tests.integration.replay.postgres.arrange import ask, baseline, caught_up, plan, run
from tests.servers.documented_cleanup import clean_up

UNDEFINED_FUNCTION, NOT_EMPTY = "42883", "2BP01"
FUNCTION = "FUNCTION archiver.announce_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN {} END $$"
TAKE_OVER = "IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE {} SUPERUSER'; END IF;"


@pytest.fixture
def mallory(database: str) -> Iterator[tuple[str, str]]:
    """The owner of the application's database, who may make schemas: name and DSN."""
    role, name = f"mallory_{uuid.uuid4().hex[:8]}", database.rsplit("/", 1)[1]
    run(database, f"CREATE ROLE {role} LOGIN", f"ALTER DATABASE {name} OWNER TO {role}")
    yield role, database.replace("postgres@", f"{role}@")
    with psycopg.connect(database, autocommit=True) as session:
        session.execute("DROP EVENT TRIGGER IF EXISTS archiver_ddl_end")
        session.execute(f"ALTER DATABASE {name} OWNER TO postgres".encode())
        session.execute(f"DROP OWNED BY {role} CASCADE".encode())
        session.execute(f"DROP ROLE {role}".encode())


async def install(dsn: str) -> bool:
    async with await Access.of(dsn).connect() as session:
        return await ddl_triggers.install(session)


async def looked(dsn: str) -> Preflight:
    async with await Access.of(dsn).connect() as session:
        return await preflight(session, PostgresConfig(dsn=dsn, slot="unused", allow_unlimited_wal=True))


@pytest.mark.parametrize(
    "prepared",
    [
        ["CREATE SCHEMA archiver"],
        ["CREATE SCHEMA archiver", f"CREATE {FUNCTION.format('')}"],
        [
            "CREATE SCHEMA archiver",
            f"CREATE {FUNCTION.format('')}",
            f"COMMENT ON FUNCTION archiver.announce_ddl() IS '{COMMENT}0123456789abcdef'",
        ],
    ],
    ids=["schema", "function", "comment"],
)
async def test_what_another_role_made_is_not_used(database: str, mallory: tuple[str, str], prepared: list[str]) -> None:
    """Whatever he makes beforehand, and replaces afterwards, never runs when a superuser changes the schema. `check` says whose it is."""
    role, dsn = mallory
    run(dsn, *prepared)
    assert role in next(
        finding.reason for finding in [*(await looked(database)).notes, *(await looked(database)).warnings] if "archiver" in finding.about
    )
    assert await install(database)
    owners = "SELECT array_agg(DISTINCT r.rolsuper) FROM pg_event_trigger t JOIN pg_proc p ON p.oid = t.evtfoid JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles r ON r.oid IN (p.proowner, n.nspowner)"
    assert ask(database, owners) == [True]
    run(dsn, f"CREATE OR REPLACE {FUNCTION.format(TAKE_OVER.format(role))}")
    run(database, "CREATE TABLE made_by_a_superuser (x int)")
    assert ask(database, f"SELECT rolsuper FROM pg_roles WHERE rolname = '{role}'") is False


async def test_triggers_of_an_earlier_version_leave_a_function_that_another_owns(database: str, mallory: tuple[str, str]) -> None:
    """An archiver of an earlier version took the schema as it was: its triggers count as missing, and are made anew elsewhere."""
    role, dsn = mallory
    run(dsn, "CREATE SCHEMA archiver", f"CREATE {FUNCTION.format('')}")
    run(database, "CREATE EVENT TRIGGER archiver_ddl_end ON ddl_command_end EXECUTE FUNCTION archiver.announce_ddl()")
    run(database, f"COMMENT ON FUNCTION archiver.announce_ddl() IS '{ddl_triggers._VERSION}'")
    assert await install(database)
    assert ask(database, "SELECT count(DISTINCT evtfoid::regproc::text) || min(evtfoid::regproc::text) FROM pg_event_trigger") == (
        "1archiver_ddl.announce_ddl"
    )
    run(dsn, f"CREATE OR REPLACE {FUNCTION.format(TAKE_OVER.format(role))}")
    run(database, "CREATE TABLE made_by_a_superuser (x int)")
    assert ask(database, f"SELECT rolsuper FROM pg_roles WHERE rolname = '{role}'") is False


async def test_with_every_name_taken_there_are_no_triggers(database: str, mallory: tuple[str, str]) -> None:
    """Then the catalog is polled, and preflight says why."""
    _, dsn = mallory
    run(dsn, "CREATE SCHEMA archiver", "CREATE SCHEMA archiver_ddl")
    assert not await install(database)
    report = await looked(database)
    assert report.ddl == "poll"
    assert {"own_schema", "no_trigger"} <= {finding.code for finding in [*report.warnings, *report.notes]}
    assert ask(database, "SELECT count(*) FROM pg_event_trigger") == 0


async def test_a_publication_that_a_lesser_role_made_is_refused(database: str, mallory: tuple[str, str]) -> None:
    """He could take tables out of it at any time; and it is refused by who owns it, not by what it holds."""
    role, dsn = mallory
    run(dsn, "CREATE PUBLICATION unused_key WITH (publish = 'insert, update, delete, truncate')")
    found = [finding for finding in (await looked(database)).refusals if finding.code == "publication_owner"]
    assert [finding.about for finding in found] == ["publication unused_key"]
    assert role in found[0].reason
    run(database, "ALTER PUBLICATION unused_key OWNER TO postgres")
    assert (await looked(database)).refusals == []


async def test_somebody_elses_event_trigger_of_our_name_stays(database: str) -> None:
    """It is neither replaced, nor taken away by the documented clean-up, which goes by what a trigger runs."""
    run(database, "CREATE FUNCTION public.theirs() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
    run(database, "CREATE EVENT TRIGGER archiver_ddl_end ON ddl_command_end EXECUTE FUNCTION public.theirs()")
    assert not await install(database)
    clean_up(database, "none")
    assert ask(database, "SELECT evtfoid::regproc::text FROM pg_event_trigger") == "theirs"


@pytest.mark.parametrize("name", ["archiver", "archiver_ddl"])
async def test_a_users_schema_of_our_name_is_captured_and_never_dropped(database: str, target_database: str, name: str) -> None:
    """Tables, sequences and rows in it come back as any other's, and the documented clean-up leaves it, also pasted without its last hint."""
    run(database, f"CREATE SCHEMA {name}", f"CREATE TABLE {name}.settings (id serial PRIMARY KEY, v text)")
    run(database, f"INSERT INTO {name}.settings (v) VALUES ('one')", f"CREATE VIEW {name}.shown AS SELECT v FROM {name}.settings")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        run(database, f"INSERT INTO {name}.settings (v) VALUES ('two')")
        lsn = await caught_up(made, database)
        planned = await plan(made, lsn)
        await restore_to_database(planned, Reader(made.store), made.store, target_database, allow_gaps=False)
        assert made.errors == []
        await made.stop()
    assert ask(target_database, f"SELECT string_agg(v, ',' ORDER BY id) FROM {name}.settings") == "one,two"
    assert ask(target_database, f"SELECT count(*) FROM {name}.shown") == 2
    assert ask(target_database, "SELECT count(*) FROM pg_proc WHERE proname = 'announce_ddl'") == 0
    async with await Access.of(database).connect() as session:
        assert await ddl_triggers.installed(session)
    # As it stands: where the user's schema is called archiver, neither our function nor our schema is found, and his is not empty.
    failed = clean_up(database, made.slot)
    assert failed == ([UNDEFINED_FUNCTION, NOT_EMPTY] if name == "archiver" else [])
    if name == "archiver":
        clean_up(database, made.slot, "archiver_ddl")
    assert ask(database, f"SELECT count(*) FROM {name}.settings") == 2
    assert ask(database, "SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspname ~ '^archiver'") == name
    left = "(SELECT count(*) FROM pg_event_trigger) + (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_proc WHERE proname = 'announce_ddl')"
    assert ask(database, f"SELECT {left}") == 0
    assert ask(database, f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{made.slot}'") == 0


async def test_a_table_that_somebody_puts_into_our_schema_is_captured_from_then_on(database: str) -> None:
    """The schema is then his as well: nothing in it is left out or dropped."""
    assert await install(database)
    run(database, "CREATE TABLE archiver.stray (id int PRIMARY KEY)")
    assert [table.name for table in (await looked(database)).catalog.tables] == ["stray"]
    clean_up(database, "none")
    assert ask(database, "SELECT count(*) FROM archiver.stray") == 0


async def test_announcements_say_nothing_of_the_statement(database: str) -> None:
    """Passwords in DDL are not repeated into the log: user mappings, subscriptions, roles beside a table."""
    assert await install(database)
    run(database, "CREATE PUBLICATION none", "SELECT pg_create_logical_replication_slot('said_' || current_database(), 'pgoutput')")
    run(
        database,
        "CREATE FOREIGN DATA WRAPPER dummy",
        "CREATE SERVER far FOREIGN DATA WRAPPER dummy",
        "CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (user 'u', password 'hunter2-in-mapping')",
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 dbname=x password=hunter2-in-subscription' PUBLICATION p WITH (connect = false)",
        "ALTER SUBSCRIPTION s SET (slot_name = NONE)",
        "DROP SUBSCRIPTION s",
        "DO $$ BEGIN EXECUTE 'CREATE TABLE t (id int) /* hunter2-in-comment */'; END $$",
    )
    with psycopg.connect(database) as session:
        rows = session.execute(
            "SELECT data FROM pg_logical_slot_get_binary_changes('said_' || current_database(), NULL, NULL, 'proto_version', '1',"
            " 'publication_names', 'none', 'messages', 'true')"
        ).fetchall()
        session.commit()
        session.execute("SELECT pg_drop_replication_slot('said_' || current_database())")
    assert sum(b"CREATE USER MAPPING" in data for (data,) in rows) == 1
    assert not any(b"hunter2" in data for (data,) in rows)


async def test_dumps_of_a_role_that_is_no_superuser_hold_no_passwords(database: str, mallory: tuple[str, str]) -> None:
    """Options of user mappings are shown to superusers and to whom they are for; subscriptions are in no dump."""
    role, plain = mallory
    run(
        database,
        "CREATE FOREIGN DATA WRAPPER dummy",
        "CREATE SERVER far FOREIGN DATA WRAPPER dummy",
        "CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'u', password 'hunter2-in-mapping')",
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 dbname=x password=hunter2-in-subscription' PUBLICATION p WITH (connect = false)",
    )
    try:
        for dsn, shown in ((plain, False), (database, True)):
            dump = await dumped(dsn)
            assert b"CREATE USER MAPPING FOR postgres SERVER far" in dump.replace(b'"', b"")
            assert (b"hunter2-in-mapping" in dump, b"hunter2-in-subscription" in dump) == (shown, False), role
    finally:
        run(database, "ALTER SUBSCRIPTION s DISABLE", "ALTER SUBSCRIPTION s SET (slot_name = NONE)", "DROP SUBSCRIPTION s")


async def dumped(dsn: str) -> bytes:
    with psycopg.connect(dsn) as session:
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        [snapshot] = session.execute("SELECT pg_export_snapshot()").fetchone() or [""]
        tools = find_tools(session.info.server_version)
        return await dump_schema(tools, Access.of(dsn), DumpSelection(), snapshot=snapshot, restricted=False)
