"""When a restore refuses, and that a failure leaves the target as it was."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest

from archiver.errors import ArchiverError, Corrupt, Invalid, Refused, Unavailable
from archiver.journal.reader import Reader
from archiver.replay.points import NotReached, parse_point
from archiver.replay.postgres.restore import RestorePlan, RestoreReport, plan_restore, restore_to_database
from tests.integration.capture.postgres.rig import Capture, capture
from tests.integration.replay.postgres.arrange import ask, baseline, caught_up, plan, quiet, run
from tests.servers.compare import differences
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import DOWN, FaultProxy

pytestmark = pytest.mark.postgres(18)

TABLES = """
CREATE TYPE mood AS ENUM ('fine', 'bad');
CREATE FUNCTION half(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n / 2';
CREATE TABLE runs (id int PRIMARY KEY, state text, m mood);
CREATE TABLE steps (id int PRIMARY KEY, run int REFERENCES runs);
CREATE VIEW fine AS SELECT * FROM runs WHERE m = 'fine';
INSERT INTO runs SELECT g, 'new', 'fine' FROM generate_series(1, 50) g;
INSERT INTO steps SELECT g, g FROM generate_series(1, 50) g;
"""


@pytest.fixture
async def made(database: str) -> AsyncIterator[Capture]:
    """A captured database with a few changes behind its baseline."""
    run(database, TABLES)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        run(database, "UPDATE runs SET state = 'x' WHERE id < 10", "DELETE FROM steps WHERE id = 7")
        await caught_up(made, database)
        yield made


async def restore(
    made: Capture, planned: RestorePlan, target: str, *, overwrite: bool = False, no_owner: bool = False, strict: bool = False
) -> RestoreReport:
    return await restore_to_database(planned, Reader(made.store), made.store, target, overwrite=overwrite, no_owner=no_owner, strict=strict)


async def test_its_own_source_is_never_a_target(made: Capture, database: str) -> None:
    """Not even with permission to overwrite, and whatever host name leads to it."""
    planned = await plan(made, "latest")
    for dsn in (database, database.replace("127.0.0.1", "localhost")):
        with pytest.raises(Refused, match="captured database itself"):
            await restore(made, planned, dsn, overwrite=True)
    assert ask(database, "SELECT count(*) FROM runs") == 50


async def test_what_the_target_has_is_named_and_kept_until_told_otherwise(made: Capture, database: str, target_database: str) -> None:
    """Objects of the same name are refused; with permission exactly those are replaced, and everything else in the target stays."""
    planned = await plan(made, "latest")
    run(
        target_database,
        "CREATE TABLE keep (id int)", "INSERT INTO keep VALUES (1)", "CREATE TYPE mood AS ENUM ('other')", "CREATE TABLE runs (other mood)",
        "CREATE TABLE steps (id int PRIMARY KEY)", "CREATE TABLE linked (id int REFERENCES steps)",
    )  # fmt: skip
    with pytest.raises(Refused, match="3 of the objects already"):
        await restore(made, planned, target_database)
    with pytest.raises(Refused, match="depend"):
        await restore(made, planned, target_database, overwrite=True)
    run(target_database, "DROP TABLE linked")
    report = await restore(made, planned, target_database, overwrite=True)
    assert sorted(report.dropped) == ["TABLE public.runs", "TABLE public.steps", "TYPE public.mood"]
    assert ask(target_database, "SELECT count(*) FROM keep") == 1
    assert differences(database, target_database) == ["only in the second: ('public', 'keep', 'r')", *_shape_of_keep(target_database)]
    # A restored database may be restored again.
    report = await restore(made, planned, target_database, overwrite=True)
    assert len(report.dropped) == 5


def _shape_of_keep(dsn: str) -> list[str]:
    return [f"columns of public.keep: None | {ask(dsn, _COLUMNS)}"]


_COLUMNS = "SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attgenerated, attidentity, NULL), ', ') FROM pg_attribute WHERE attrelid = 'keep'::regclass AND attnum > 0"


async def test_a_connection_that_is_lost_half_way_leaves_nothing(made: Capture, target_database: str) -> None:
    """The server ends the session while rows are written: the target has none of it, and a second attempt succeeds."""
    planned = await plan(made, "latest")
    name = psycopg.conninfo.conninfo_to_dict(target_database)["dbname"]

    def cut(step: str, done: int, total: int) -> None:
        if step == "building indexes and constraints":
            run(
                target_database.replace(str(name), "postgres"),
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
            )

    with pytest.raises(ArchiverError) as caught:
        await restore_to_database(planned, Reader(made.store), made.store, target_database, progress=cut)
    assert caught.value.exit_code == 4
    assert ask(target_database, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
    assert (await restore(made, planned, target_database)).rows == 99


async def test_a_lost_answer_to_commit_is_not_called_a_failure(
    made: Capture, postgres: PostgresServer, target_database: str, fault_proxy: Callable[[str, int], FaultProxy]
) -> None:
    """The server committed and the connection broke before it could say so: nobody may be told that nothing was changed."""
    proxy = fault_proxy("127.0.0.1", postgres.port)
    through = psycopg.conninfo.make_conninfo(target_database, host="127.0.0.1", port=proxy.port)
    proxy.cut_in_line(b"COMMIT", DOWN)
    with pytest.raises(Unavailable) as caught:
        await restore(made, await plan(made, "latest"), through)
    assert ask(target_database, "SELECT count(*) FROM runs") == 50
    assert "whether it did is not known" in caught.value.message
    assert "look into the target" in caught.value.hint


async def test_a_cancelled_restore_leaves_nothing(made: Capture, target_database: str) -> None:
    """Cancellation at each step of the way: the target stays empty."""
    planned = await plan(made, "latest")
    for at in ("reading changes", "rows of public.runs", "building indexes and constraints"):
        tasks: list[asyncio.Task[RestoreReport]] = []

        def stop(step: str, done: int, total: int, at: str = at, tasks: list[asyncio.Task[RestoreReport]] = tasks) -> None:
            if step == at:
                tasks[0].cancel()

        task = asyncio.create_task(restore_to_database(planned, Reader(made.store), made.store, target_database, progress=stop))
        tasks.append(task)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert ask(target_database, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0


async def test_roles_are_needed_unless_ownership_is_left_out(
    made: Capture, postgres: PostgresServer, database: str, start_postgres: object
) -> None:
    """A target without the owners is refused by their names; without ownership it is restored."""
    assert callable(start_postgres)
    role = f"owner_{uuid.uuid4().hex[:8]}"
    run(database, f"CREATE ROLE {role}", f"ALTER TABLE runs OWNER TO {role}", f"GRANT SELECT ON steps TO {role}")
    try:
        await quiet(made, database)
        planned = await plan(made, "latest")
        other: PostgresServer = start_postgres(18)
        with pytest.raises(Refused, match=f"lacks roles: {role}"):
            await restore(made, planned, other.dsn())
        await restore(made, planned, other.dsn(), no_owner=True)
        assert ask(other.dsn(), "SELECT tableowner FROM pg_tables WHERE tablename = 'runs'") == "postgres"
    finally:
        run(database, f"REASSIGN OWNED BY {role} TO postgres", f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_an_older_server_is_refused_and_a_missing_part_is_found(made: Capture, target_database: str, start_postgres: object) -> None:
    """A restore never goes down a major version, and never writes rows that are not what the journal names."""
    assert callable(start_postgres)
    planned = await plan(made, "latest")
    older: PostgresServer = start_postgres(16)
    with pytest.raises(Refused, match="the target is PostgreSQL 16"):
        await restore(made, planned, older.dsn())
    [part, *_] = [key for key in await made.store.list("parts/") if key]
    await made.store.delete(part)
    with pytest.raises(Corrupt, match="is missing"):
        await restore(made, planned, target_database)
    assert ask(target_database, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0


RAISES = """
CREATE FUNCTION picky(v text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
    IF current_setting('application_name') = 'archiver restore' THEN RAISE EXCEPTION 'no %', v USING ERRCODE = '{state}'; END IF;
    RETURN v;
END $$;
CREATE INDEX ON runs (picky(state));
INSERT INTO runs (id, state) VALUES (99, 'confidential');
"""


@pytest.mark.parametrize("state", ["45000", "23505", "42704"])
async def test_what_a_function_says_of_a_row_is_not_told(made: Capture, database: str, target_database: str, state: str) -> None:
    """Whatever SQLSTATE it chose: the function is named, its words are not repeated."""
    run(database, RAISES.format(state=state))
    await quiet(made, database)
    planned = await plan(made, "latest")
    with pytest.raises(ArchiverError) as caught:
        await restore(made, planned, target_database, strict=True)
    [left_out] = (await restore(made, planned, target_database)).problems
    for said in (str(caught.value), left_out):
        assert "confidential" not in said
        assert "function public.picky" in said


async def test_points_that_the_journal_does_not_have_are_told_apart(made: Capture) -> None:
    """Before the first baseline: refused, with the earliest point; behind the end, unknown source or mark: wrong."""
    reader = Reader(made.store)
    with pytest.raises(Refused, match="before the first complete baseline") as caught:
        await plan(made, "2020-01-01T00:00:00Z")
    earliest = caught.value.hint.split()[4].rstrip(",")
    assert (await plan(made, earliest)).point.entry == 0
    with pytest.raises(Refused, match="before the first complete baseline"):
        await plan(made, "1")
    for text, words in (
        ("0/1", "before the first"),
        ("FFFFFFFF/0", "not reached yet"),
        ("999999999", "not written yet"),
        ("mark:none", "no mark"),
    ):
        with pytest.raises(ArchiverError, match=words):
            await plan(made, text)
    with pytest.raises(Invalid, match="no database 'other'"):
        await plan_restore(reader, "other", parse_point("latest"))
    with pytest.raises(NotReached, match="the journal ends at"):
        await plan(made, "2999-01-01T00:00:00Z")
