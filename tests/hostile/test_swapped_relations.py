"""What somebody puts in the place of a relation between its listing and its reading: nothing of it runs with our rights."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from archiver.capture.postgres.baseline import copy_tables
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.catalog.sequences import read_sequence_values
from archiver.capture.postgres.session.access import Access, Session
from archiver.capture.postgres.session.replication import connect_replication
from archiver.errors import Unavailable
from archiver.postgres.records import Table
from tests.integration.capture.postgres.test_baseline import Sink, taken
from tests.integration.replay.postgres.arrange import ask, run

TAKE_OVER = """CREATE FUNCTION theirs.take_over() RETURNS bigint {volatility} LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE "{role}" SUPERUSER'; END IF;
    RETURN 1; END $$"""


@pytest.fixture
def mallory(database: str) -> Iterator[tuple[str, str]]:
    """A role that owns one schema and nothing else: its name, and a DSN."""
    role = f"mallory_{uuid.uuid4().hex[:8]}"
    run(database, f"CREATE ROLE {role} LOGIN", f"CREATE SCHEMA theirs AUTHORIZATION {role}")
    run(database, f"GRANT CREATE ON DATABASE {database.rsplit('/', 1)[1]} TO {role}")
    dsn = database.replace("postgres@", f"{role}@")
    run(dsn, TAKE_OVER.format(role=role, volatility="VOLATILE"))
    yield role, dsn
    run(database, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


def is_superuser(database: str, role: str) -> bool:
    return ask(database, f"SELECT rolsuper FROM pg_roles WHERE rolname = '{role}'") is True


@pytest.mark.parametrize("place", ["sequence", "schema"])
async def test_a_view_in_the_place_of_a_sequence(database: str, mallory: tuple[str, str], place: str) -> None:
    """The reading waits for the attacker's transaction and then finds a view under the name, or the name in another schema."""
    role, dsn = mallory
    run(dsn, "CREATE SEQUENCE theirs.s")
    async with await Access.of(database).connect() as session:
        with psycopg.connect(dsn) as attack:
            attack.execute("ALTER SEQUENCE theirs.s MAXVALUE 1000")
            if place == "sequence":
                attack.execute("ALTER SEQUENCE theirs.s RENAME TO s_old")
            else:
                attack.execute("ALTER SCHEMA theirs RENAME TO theirs_old")
                attack.execute("CREATE SCHEMA theirs")
                attack.execute(TAKE_OVER.format(role=role, volatility="VOLATILE").encode())
            attack.execute("CREATE VIEW theirs.s AS SELECT theirs.take_over() AS last_value, false AS is_called")
            reading = asyncio.create_task(read_sequence_values(session, Scope()))
            await asyncio.sleep(0.12)
        values = await reading
    assert not is_superuser(database, role)
    # Read anew: the sequence is known under the name that it has now.
    assert {(value.schema, value.name) for value in values} <= {("theirs", "s_old"), ("theirs_old", "s"), ("theirs", "s")}


@pytest.mark.parametrize("ranges", [False, True])
async def test_a_view_in_the_place_of_a_table(
    database: str, mallory: tuple[str, str], ranges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schema can be renamed while a table in it is locked, just before the table is copied by its name."""
    role, dsn = mallory
    run(dsn, "CREATE TABLE theirs.t (id bigint PRIMARY KEY)", "INSERT INTO theirs.t SELECT generate_series(1, 10000)")
    looked = copy_tables._same_file

    async def then_swapped(session: Session, table: Table) -> bool:
        same = await looked(session, table)
        if table.schema == "theirs" and ask(database, "SELECT to_regnamespace('theirs_old') IS NULL") is True:
            run(dsn, "ALTER SCHEMA theirs RENAME TO theirs_old", "CREATE SCHEMA theirs")
            run(dsn, TAKE_OVER.format(role=role, volatility="VOLATILE"), "CREATE VIEW theirs.t AS SELECT theirs.take_over() AS id")
        return same

    monkeypatch.setattr(copy_tables, "_same_file", then_swapped)
    if ranges:
        original = copy_tables._ranges
        monkeypatch.setattr(
            copy_tables, "_ranges", lambda session, tables, limits: original(session, tables, replace(limits, range_bytes=65536))
        )
    baseline = await taken(database, Sink())
    assert not is_superuser(database, role)
    assert [table.name for table in baseline.tables if table.name == "t"] == []


async def test_where_the_server_does_not_know_the_restriction(database: str, mallory: tuple[str, str], monkeypatch: Any) -> None:
    """Servers older than August 2024: nothing is selected by a name. Large tables are copied in one piece, resets of sequences not read."""
    role, dsn = mallory
    run(dsn, "CREATE TABLE theirs.t (id bigint PRIMARY KEY)", "INSERT INTO theirs.t SELECT generate_series(1, 10000)")
    run(dsn, "CREATE SEQUENCE theirs.s", "ALTER SEQUENCE theirs.s RESTART WITH 7")
    commands: list[bytes] = []
    copied = copy_tables.copy_command

    def noted(*values: Any, **more: Any) -> bytes:
        commands.append(copied(*values, **more))
        return commands[-1]

    async def unknown(_session: Session) -> bool:
        return False

    for module in ("baseline.copy_tables", "catalog.sequences"):
        monkeypatch.setattr(f"archiver.capture.postgres.{module}.restricts_views", unknown)
    monkeypatch.setattr(copy_tables, "copy_command", noted)
    original = copy_tables._ranges
    monkeypatch.setattr(
        copy_tables, "_ranges", lambda session, tables, limits: original(session, tables, replace(limits, range_bytes=65536))
    )
    baseline = await taken(database, Sink())
    assert commands == [b'COPY "theirs"."t" ("id") TO STDOUT']
    assert [sum(part.rows for part in table.parts) for table in baseline.tables] == [10000]
    by_oid = int(str(ask(database, "SHOW server_version_num"))) >= 180000
    assert [value.next_value for value in baseline.sequences.values] == [7 if by_oid else None]
    assert not is_superuser(database, role)


async def test_every_session_is_restricted(database: str) -> None:
    """Ordinary and replication sessions look for bare names in pg_catalog first, and run no view of a user's."""
    run(database, "CREATE VIEW public.v AS SELECT 1 AS x")
    ordinary = await Access.of(database).connect()
    replication = await connect_replication(Access.of(database), "archiver_test")
    try:
        for session in (ordinary, replication):
            for name, value in (("search_path", "pg_catalog,pg_temp"), ("restrict_nonsystem_relation_kind", "view, foreign-table")):
                row = await (await session.execute(f"SHOW {name}".encode())).fetchone()
                assert row == (value,)
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            await ordinary.execute("SELECT * FROM public.v")
    finally:
        await ordinary.close()
        await replication.close()


async def test_a_sequence_that_stays_a_view_is_not_waited_for(database: str, mallory: tuple[str, str]) -> None:
    """Whatever is swapped how often: the reading ends, with an answer or with the documented error."""
    role, dsn = mallory
    run(dsn, "CREATE SEQUENCE theirs.s")
    stop = asyncio.Event()

    async def swap() -> None:
        while not stop.is_set():
            await asyncio.to_thread(
                run,
                dsn,
                "BEGIN; ALTER SEQUENCE theirs.s RENAME TO old; CREATE VIEW theirs.s AS SELECT theirs.take_over() AS last_value, false AS"
                " is_called; COMMIT",
                "BEGIN; DROP VIEW theirs.s; ALTER SEQUENCE theirs.old RENAME TO s; COMMIT",
            )

    swapping = asyncio.create_task(swap())
    async with await Access.of(database).connect() as session:
        for _ in range(100):
            with contextlib.suppress(Unavailable):
                await read_sequence_values(session, Scope())
    stop.set()
    await swapping
    assert not is_superuser(database, role)
