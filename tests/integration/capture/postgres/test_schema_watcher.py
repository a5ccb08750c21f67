"""Schema changes at a real source while it is captured: noticed, recorded, and repaired where the stream says nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import psycopg
import pytest

from archiver.postgres.lsn import parse_position
from tests.integration.capture.postgres.recorded import copies, gap_reasons, newest_rows, schemas, sequences
from tests.integration.capture.postgres.rig import Capture, HeldStore, capture

SLOW_POLL = 30.0
"""Longer than a test waits: what comes sooner came by the event trigger."""


@pytest.fixture
def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


def run(dsn: str, *statements: str) -> None:
    """Each in a transaction of its own."""
    with psycopg.connect(dsn, autocommit=True) as session:
        for statement in statements:
            session.execute(statement.encode())


async def watched(made: Capture) -> None:
    """Start, and wait until the watcher has done its first round."""
    await made.start()

    def settled() -> bool:
        watcher = made.source._watcher
        return watcher is not None and watcher._publications.complete and bool(watcher._recorder.fingerprint)

    await made.until(settled)


async def copied(made: Capture, table: str, count: int = 1) -> None:
    """Wait for copies of ``table``, and until the newest PG_SCHEMA has nothing left to copy."""

    async def done() -> bool:
        found = await schemas(made)
        return len(await copies(made, table)) >= count and not found[-1].catalog.pending

    await made.until(done)


@pytest.fixture
async def made(database: str, slot: str) -> AsyncIterator[Capture]:
    """A capture that notices DDL by its event trigger alone."""
    async with capture(database, slot, poll_seconds=SLOW_POLL) as made:
        yield made


async def test_a_new_table_is_published_copied_and_its_gap_recorded(database: str, made: Capture) -> None:
    """Rows that a migration wrote before the table was published are in a copy; the time before is a gap; both kinds of key work."""
    run(database, "CREATE TABLE old (id int PRIMARY KEY)")
    await watched(made)
    run(
        database,
        "CREATE TABLE keyed AS SELECT g AS id FROM generate_series(1, 3) g; ALTER TABLE keyed ADD PRIMARY KEY (id)",
        "CREATE TABLE keyless AS SELECT 7 AS n",
    )
    await copied(made, "keyed")
    await copied(made, "keyless")
    run(database, "UPDATE keyed SET id = id + 10", "UPDATE keyless SET n = 8", "DELETE FROM keyed WHERE id = 11")
    assert await newest_rows(made, "keyed") == [b"1", b"2", b"3"]
    [copy] = await copies(made, "keyed")
    assert copy.cause == "table_added"
    # Transaction ids wrap: before the one position a commit is in the copy, from the other on it is not, whatever its id.
    assert 0 < parse_position(copy.floor) <= parse_position(copy.lsn)
    assert await gap_reasons(made, "table public.keyed") == ["table_added"]
    newest = {table.name: table.mode for table in (await schemas(made))[-1].catalog.tables}
    assert newest == {"old": "key", "keyed": "key", "keyless": "insert"}
    assert made.errors == []


async def test_a_copy_waits_for_transactions_that_ran_when_the_table_was_published(database: str, slot: str) -> None:
    """What an open transaction wrote before and after the table was published is in the copy, because the copy waits for it."""
    async with capture(database, slot, poll_seconds=SLOW_POLL, ddl="poll") as made:
        await watched(made)
        run(database, "CREATE TABLE late (id int PRIMARY KEY)")
        with psycopg.connect(database) as open_one:
            open_one.execute("INSERT INTO late VALUES (1)")
            assert made.source._watcher is not None
            made.source._watcher.ddl_seen()
            await made.until(lambda: _pending(made, "late"))
            open_one.execute("INSERT INTO late VALUES (2)")
            await asyncio.sleep(1)
            assert await copies(made, "late") == []
            open_one.commit()
        run(database, "INSERT INTO late VALUES (3)")
        await copied(made, "late")
        [copy] = await copies(made, "late")
        assert (await newest_rows(made, "late"))[:2] == [b"1", b"2"]
        assert 3 in await made.inserted() or b"3" in await newest_rows(made, "late")
        [gap] = [gap for gap in await made.gaps() if gap.what == "table public.late"]
        assert parse_position(gap.from_position) < parse_position(copy.lsn)


async def _pending(made: Capture, name: str) -> bool:
    newest = (await schemas(made))[-1].catalog
    return any(table.name == name and table.oid in newest.pending for table in newest.tables) or bool(await copies(made, name))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("ALTER TABLE t ALTER COLUMN v TYPE text USING v || '!'", [b"1\ta!", b"2\tb!"]),
        ("ALTER TABLE t ALTER COLUMN id TYPE bigint USING id * 10", [b"10\ta", b"20\tb"]),
        ("ALTER TABLE t ADD COLUMN r int DEFAULT (random() * 0)::int + 5", [b"1\ta\t5", b"2\tb\t5"]),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t REPLICA IDENTITY FULL", [b"1\ta", b"2\tb"]),
    ],
    ids=["same-type", "other-type", "volatile-default", "identity"],
)
async def test_a_table_whose_rows_changed_without_events_is_copied_again(
    database: str, made: Capture, change: str, expected: list[bytes]
) -> None:
    """After a rewrite the journal holds the new rows, and a gap from before the change."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    await watched(made)
    run(database, change)
    await copied(made, "t")
    assert await newest_rows(made, "t") == expected
    [copy] = await copies(made, "t")
    assert copy.cause == "table_rewritten"
    [gap] = [gap for gap in await made.gaps() if gap.what == "table public.t"]
    assert gap.reason == "table_rewritten"
    assert 0 < parse_position(gap.from_position) < parse_position(copy.lsn)


async def test_a_renamed_enum_label_copies_the_tables_that_use_it(database: str, made: Capture) -> None:
    """Old rows print the new label, also inside arrays of composites; tables without the type are left alone."""
    run(
        database,
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        "CREATE TYPE pair AS (m mood, n int)",
        "CREATE TABLE t (id int PRIMARY KEY, p pair[])",
        "CREATE TABLE other (id int PRIMARY KEY)",
        "INSERT INTO t VALUES (1, ARRAY[ROW('sad', 1)::pair])",
    )
    await watched(made)
    run(database, "ALTER TYPE mood ADD VALUE 'great'", "ALTER TYPE mood RENAME VALUE 'sad' TO 'gloomy'")
    await copied(made, "t")
    assert await newest_rows(made, "t") == [b'1\t{"(gloomy,1)"}']
    assert await copies(made, "other") == []


async def test_truncate_and_harmless_changes_copy_nothing(database: str, slot: str) -> None:
    """TRUNCATE, VACUUM FULL, a constant default, an index, a comment, each by itself: none of them is a gap."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a')")
    async with capture(database, slot, poll_seconds=0.2) as made:
        await watched(made)
        for statement in (
            "TRUNCATE t",
            "VACUUM FULL t",
            "ALTER TABLE t ADD COLUMN c int DEFAULT 5",
            "CREATE INDEX ON t (v)",
            "ALTER TABLE t ALTER COLUMN v SET NOT NULL",
            "COMMENT ON TABLE t IS 'last'",
            "CREATE VIEW seen AS SELECT * FROM t",
        ):
            run(database, statement)
            await asyncio.sleep(0.5)
        await made.until(lambda: quiet(made))
        assert await copies(made) == []
        assert await made.gaps() == []
        [table] = (await schemas(made))[-1].catalog.tables
        assert [(column.name, column.missing) for column in table.columns] == [("id", None), ("v", None), ("c", "5")]


async def quiet(made: Capture) -> bool:
    """Whether a second passes without another PG_SCHEMA."""
    before = len(await schemas(made))
    await asyncio.sleep(1.0)
    return len(await schemas(made)) == before


async def test_a_table_that_was_dropped_and_made_again_is_published_again(database: str, made: Capture) -> None:
    """The server forgets the membership with the table; the new one is captured like any new table."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    await watched(made)
    run(database, "BEGIN; DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (2); COMMIT")
    await copied(made, "t")
    assert await newest_rows(made, "t") == [b"2"]
    run(database, "INSERT INTO t VALUES (3)")
    await made.until(lambda: _inserted(made, [3]))


async def _inserted(made: Capture, expected: list[int]) -> bool:
    return await made.inserted() == expected


async def test_a_table_that_loses_its_key_can_be_updated_again_at_once(database: str, made: Capture) -> None:
    """The table moves to the publication without updates; what changes from then on is a gap until the copy."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1)")
    await watched(made)
    run(database, "ALTER TABLE t DROP CONSTRAINT t_pkey")

    async def updated() -> bool:
        try:
            run(database, "UPDATE t SET v = 2")
        except psycopg.errors.ObjectNotInPrerequisiteState:
            return False
        return True

    await made.until(updated, seconds=10)
    await copied(made, "t")
    assert (await newest_rows(made, "t"))[-1] in {b"1\t1", b"1\t2"}
    assert set(await gap_reasons(made, "table public.t")) == {"updates_not_published"}


async def test_updates_of_an_insert_only_table_are_known_by_copies(database: str, slot: str) -> None:
    """An update that cannot be published becomes a gap and then a copy; without one there is neither."""
    run(
        database,
        "CREATE TABLE t (id int, v int)",
        "INSERT INTO t VALUES (1, 1)",
        "CREATE TABLE still (id int)",
        "INSERT INTO still VALUES (1)",
    )
    async with capture(database, slot, poll_seconds=0.2) as made:
        await watched(made)
        assert await copies(made) == []
        run(database, "UPDATE t SET v = 2", "SELECT pg_stat_force_next_flush()")
        await copied(made, "t")
        assert await newest_rows(made, "t") == [b"1\t2"]
        assert (await copies(made, "t"))[0].cause == "updates_not_published"
        assert await gap_reasons(made, "table public.t") == ["updates_not_published"]
        assert await copies(made, "still") == []


async def test_where_updates_are_not_counted_an_insert_only_table_is_never_known_for_long(database: str, slot: str) -> None:
    """A server that counts nothing cannot say that nothing was updated: there is a gap behind every copy."""
    run(database, "CREATE TABLE t (id int, v int)", "INSERT INTO t VALUES (1, 1)")
    run(database, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET track_counts = off', current_database()); END $$")
    async with capture(database, slot, poll_seconds=0.2) as made:
        await made.start()

        async def again() -> bool:
            return await gap_reasons(made, "table public.t") == ["updates_not_published"] * 2

        await made.until(again)
        await asyncio.sleep(1)
        assert len(await copies(made, "t")) == 1


async def test_changes_while_the_archiver_is_away_are_found_at_its_start(database: str, made: Capture) -> None:
    """A rewrite, a new table and a lost membership during a pause are gaps with a start, and copied."""
    run(
        database,
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t VALUES (1)",
        "CREATE TABLE left_out (id int PRIMARY KEY)",
    )
    await watched(made)
    await made.stop()
    run(
        database,
        "ALTER TABLE t ALTER COLUMN id TYPE bigint USING id + 100",
        "CREATE TABLE fresh (id int PRIMARY KEY)",
        "INSERT INTO fresh VALUES (5)",
        f"ALTER PUBLICATION {made.slot}_key DROP TABLE left_out",
        "INSERT INTO left_out VALUES (9)",
    )
    await made.start()
    for table in ("t", "fresh", "left_out"):
        await copied(made, table)
    assert await newest_rows(made, "t") == [b"101"]
    assert await newest_rows(made, "fresh") == [b"5"]
    assert await newest_rows(made, "left_out") == [b"9"]
    assert all(parse_position(gap.from_position) > 0 for gap in await made.gaps())
    assert (await schemas(made))[-1].cause in {"start", "poll", "ddl"}


async def test_a_stop_before_a_copy_is_made_up_for_at_the_next_start(database: str, made: Capture) -> None:
    """PG_SCHEMA names a table that is still to be copied; a crash then does not forget it."""
    await watched(made)
    with psycopg.connect(database) as blocker:
        blocker.execute("CREATE TABLE unrelated (id int)")
        run(database, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
        await made.until(lambda: _pending(made, "t"))
        await made.crash()
        blocker.rollback()
    assert await copies(made, "t") == []
    await made.start()
    await copied(made, "t")
    assert await newest_rows(made, "t") == [b"1"]


async def test_a_table_rejoins_only_when_the_journal_knows_that_it_was_out(database: str, slot: str) -> None:
    """Once it is a member again nothing at the server tells of the hole: so the gap and the copy to come are durable first."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY)")
    store = HeldStore()
    async with capture(database, slot, store, poll_seconds=0.2) as made:
        await watched(made)
        store.open.clear()
        run(database, f"ALTER PUBLICATION {slot}_key DROP TABLE t", "INSERT INTO t VALUES (9)")
        await asyncio.sleep(2)
        assert members(database, slot) == []
        await made.crash()
        store.open.set()
        await made.start()
        await copied(made, "t")
        assert members(database, slot) == ["t"]
        assert await newest_rows(made, "t") == [b"9"]
        assert await gap_reasons(made, "table public.t") == ["table_added"]


def members(dsn: str, slot: str) -> list[str]:
    with psycopg.connect(dsn) as session:
        query = "SELECT tablename FROM pg_publication_tables WHERE pubname = ANY(%s)"
        return [name for (name,) in session.execute(query, [[f"{slot}_key", f"{slot}_insert"]]).fetchall()]


async def test_a_locked_table_waits_and_holds_up_nothing_else(database: str, slot: str) -> None:
    """A table under a long lock joins its publication afterwards and is copied only then; another one need not wait for it."""
    async with capture(database, slot, poll_seconds=0.2) as made:
        await watched(made)
        with psycopg.connect(database) as blocker:
            run(database, "CREATE TABLE held (id int PRIMARY KEY)")
            blocker.execute("LOCK TABLE held IN SHARE UPDATE EXCLUSIVE MODE")
            run(database, "CREATE TABLE free (id int PRIMARY KEY)", "INSERT INTO free VALUES (1)", "INSERT INTO held VALUES (2)")
            await copied_alone(made, "free")
            if members(database, slot) == ["free"]:
                assert await copies(made, "held") == []
        await copied(made, "held")
        assert await newest_rows(made, "held") == [b"2"]
        assert sorted(members(database, slot)) == ["free", "held"]
        assert made.errors == []


async def copied_alone(made: Capture, table: str) -> None:
    async def done() -> bool:
        return bool(await copies(made, table))

    await made.until(done)


async def test_sequences_are_read_again_when_they_move(database: str, slot: str) -> None:
    """A value handed out appears in the next reading, and an idle sequence causes none."""
    run(database, "CREATE SEQUENCE s")
    async with capture(database, slot, poll_seconds=0.2) as made:
        await watched(made)
        run(database, "SELECT nextval('s')", "SELECT nextval('s')")
        await made.until(lambda: _last(made, 2))
        count = len(await sequences(made))
        await made.until(lambda: quiet(made))
        assert len(await sequences(made)) == count


async def test_a_clean_stop_reads_sequences_once_more(database: str, made: Capture) -> None:
    """What was handed out since the last poll, to a transaction that rolled back even, is in the journal when the stop is done."""
    run(database, "CREATE SEQUENCE s")
    await watched(made)
    run(database, "BEGIN; SELECT nextval('s'); ROLLBACK")
    await made.stop()
    assert await _last(made, 1)


async def test_a_stop_without_news_reads_no_sequences(database: str, made: Capture) -> None:
    """Sequences that stand still add nothing to the journal, stop by stop."""
    run(database, "CREATE SEQUENCE s")
    await watched(made)
    await made.until(lambda: quiet(made))
    count = len(await sequences(made))
    await made.stop()
    assert len(await sequences(made)) == count


async def _last(made: Capture, value: int) -> bool:
    return (await sequences(made))[-1] == {"s": value}


async def test_a_plain_owner_is_served_by_polling(database: str, slot: str) -> None:
    """A role that is no superuser captures its own tables: no event trigger, changes found by the poll, a strange table said loudly."""
    role = f"owner_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN REPLICATION".encode())
        admin.execute(f"GRANT CREATE ON DATABASE {admin.info.dbname} TO {role}".encode())
        admin.execute(f"CREATE SCHEMA app AUTHORIZATION {role}".encode())
    mine = database.replace("postgres@", f"{role}@")
    try:
        run(mine, "CREATE TABLE app.t (id int PRIMARY KEY)", "INSERT INTO app.t VALUES (1)")
        async with capture(mine, slot, poll_seconds=0.2) as made:
            await watched(made)
            run(mine, "CREATE TABLE app.more (id int PRIMARY KEY)", "INSERT INTO app.more VALUES (2)")
            await copied(made, "more")
            assert await newest_rows(made, "more") == [b"2"]
            run(database, "CREATE TABLE app.strange (id int PRIMARY KEY)", "INSERT INTO app.strange VALUES (3)")
            await made.until(lambda: _gap(made, "table app.strange", "table_not_readable"))
            run(mine, "INSERT INTO app.t VALUES (4)")
            await made.until(lambda: _inserted_contains(made, 4))
            run(database, f"ALTER TABLE app.strange OWNER TO {role}")
            await copied(made, "strange")
            assert await newest_rows(made, "strange") == [b"3"]
            assert made.errors == []
            await made.stop()
    finally:
        with psycopg.connect(database, autocommit=True) as admin:
            admin.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", [slot])
            admin.execute(f"DROP OWNED BY {role} CASCADE".encode())
            admin.execute(f"DROP ROLE {role}".encode())


async def _gap(made: Capture, what: str, reason: str) -> bool:
    return reason in await gap_reasons(made, what)


async def _inserted_contains(made: Capture, value: int) -> bool:
    return value in await made.inserted()
