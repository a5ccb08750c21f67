"""Everything between two points of a database, through real captures: what is hard to tell right."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import psycopg
import pytest

from archiver.cli.span_log import AskedSpan, print_span
from archiver.clock import SystemClock
from archiver.errors import Invalid
from archiver.history.span.bounds import Bounds
from archiver.history.span.changes import Change
from archiver.history.span.selection import Selection
from archiver.history.span.span_log import SpanLog
from archiver.journal.reader import Reader
from archiver.maintenance.folding import fold_database
from archiver.replay.points import parse_point, resolve
from tests.integration.capture.postgres.rig import SOURCE, Capture, capture
from tests.integration.replay.postgres.arrange import baseline, caught_up, quiet, run

pytestmark = pytest.mark.postgres(18)


STREAM_EARLY = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET logical_decoding_work_mem = 64', current_database()); END $$"


@pytest.fixture
def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


async def told(made: Capture, start: str = "", end: str = "latest", **chosen: Any) -> tuple[list[Change], SpanLog]:
    """The answer, and what is not known of it."""
    reader = Reader(made.store)
    since = await resolve(reader, parse_point(start)) if start else None
    log = SpanLog(reader, Selection(**chosen), Bounds(since, await resolve(reader, parse_point(end))))
    return [change async for change in log.changes()], log


def rows(changes: list[Change]) -> list[tuple[str, str]]:
    """Of changes of rows: what and which."""
    return [(each.operation, each.what) for each in changes if each.operation in ("insert", "update", "delete", "truncate")]


def values(change: Change) -> dict[str, object]:
    return {field.name: field.new for field in change.fields}


async def test_large_transactions_that_run_beside_each_other(database: str, slot: str) -> None:
    """Streamed while they run: each stands where it commits, whole; without the savepoint that was rolled back, and without what never ends."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE other (id int PRIMARY KEY)", STREAM_EARLY)
    async with capture(database, slot) as made:
        await baseline(made)
        with psycopg.connect(database) as one, psycopg.connect(database) as two, psycopg.connect(database) as never:
            one.execute("INSERT INTO t SELECT g, repeat('1', 500) FROM generate_series(1, 1500) g")
            two.execute("INSERT INTO t SELECT g, repeat('2', 500) FROM generate_series(2001, 3000) g")
            two.execute("SAVEPOINT s")
            two.execute("INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(5001, 6000) g")
            two.execute("ROLLBACK TO SAVEPOINT s")
            never.execute("INSERT INTO t SELECT g, repeat('n', 500) FROM generate_series(7001, 8000) g")
            run(database, "INSERT INTO other VALUES (1)")
            two.commit()
            one.execute("UPDATE t SET v = 'changed' WHERE id = 1500")
            one.commit()
            end = await caught_up(made, database)
            never.rollback()
        run(database, "INSERT INTO other VALUES (2)")
        await caught_up(made, database)
        changes, log = await told(made, end=end)
        assert log.gaps == []
        numbers = [int(each.key["id"] or 0) for each in changes if each.table == "public.t"]
        assert numbers == [*range(2001, 3001), *range(1, 1501), 1500]
        assert [each.what for each in changes if each.table == "public.other"] == ["public.other id=1"]
        assert changes[0].table == "public.other"
        assert [each.entry for each in changes] != sorted(each.entry for each in changes)
        assert [each.at for each in changes] == sorted(each.at for each in changes)
        (changed,) = [each for each in changes if each.operation == "update"]
        assert [(field.old, field.new) for field in changed.fields] == [("1" * 500, "changed")]


async def test_old_values_of_every_kind_of_table(database: str, slot: str) -> None:
    """By key, by the whole row and without a key; TOASTed values that were left alone; keys that change; rows from before the baseline."""
    run(
        database,
        """CREATE TABLE keyed (id int PRIMARY KEY, v text, big text); ALTER TABLE keyed ALTER big SET STORAGE EXTERNAL;
        CREATE TABLE whole (a int, b text); ALTER TABLE whole REPLICA IDENTITY FULL; CREATE TABLE bare (a int);
        INSERT INTO keyed VALUES (1, NULL, repeat('b', 5000)); INSERT INTO whole VALUES (1, 'x'); INSERT INTO bare VALUES (1)""",
    )
    async with capture(database, slot) as made:
        await baseline(made)
        start = await caught_up(made, database)
        for statement in (
            "UPDATE keyed SET v = ''",
            "UPDATE keyed SET id = 2",
            "UPDATE keyed SET big = 'small'",
            "UPDATE whole SET b = NULL",
            "INSERT INTO bare VALUES (2)",
            "UPDATE bare SET a = a + 1",
            "DELETE FROM whole",
            "DELETE FROM keyed",
        ):
            run(database, statement)
        end = await caught_up(made, database)
        changes, log = await told(made, start, end)
        said = [(each.operation, each.what, [(field.name, field.old, field.new) for field in each.fields if field.old_known is not False])
                for each in changes]  # fmt: skip
        big = "b" * 5000
        assert [(operation, what) for operation, what, _ in said] == [
            ("update", "public.keyed id=1"),
            ("update", "public.keyed id=2"),
            ("update", "public.keyed id=2"),
            ("update", "public.whole a=1, b=x"),
            ("insert", "public.bare"),
            ("delete", "public.whole a=1, b=NULL"),
            ("delete", "public.keyed id=2"),
        ]
        assert [fields for _, _, fields in said[:4]] == [
            [("v", None, "")],
            [("id", "1", "2")],
            [("big", big, "small")],
            [("b", "x", None)],
        ]
        assert [field.old for field in changes[-1].fields] == ["2", "", "small"]
        assert changes[1].detail == "its key was id=1"
        assert log.notes == ["db: table public.bare: it has no key, so its updates and deletions are not captured"]


async def test_a_gap_and_a_restart(database: str, slot: str) -> None:
    """A restart changes nothing. What a lost slot missed is not known, is told, and nothing from before it counts as known behind it."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a')")
    async with capture(database, slot) as made:
        await baseline(made)
        run(database, "UPDATE t SET v = 'b'")
        await made.stop()
        run(database, "UPDATE t SET v = 'c'")
        await made.start()
        run(database, "UPDATE t SET v = 'd'")
        before = await caught_up(made, database)
        whole, log = await told(made)
        assert [[(field.old, field.new) for field in each.fields] for each in whole] == [[("a", "b")], [("b", "c")], [("c", "d")]]
        assert log.gaps == []
        known = whole[-1].at
        await made.stop()
        run(database, f"SELECT pg_drop_replication_slot('{slot}')", "UPDATE t SET v = 'nobody saw'")
        first = made.writer.marks[SOURCE].checkpoint
        await made.start()
        await made.until(lambda: made.writer.marks[SOURCE].checkpoint > first)
        run(database, "UPDATE t SET v = 'e'")
        after = await caught_up(made, database)
        again, log = await told(made)
        assert again[: len(whole)] == whole
        assert [each.operation for each in again[len(whole) :]] == ["gap", "baseline", "update"]
        assert [(field.name, field.old_known) for field in again[-1].fields] == [("v", False)]
        assert len(log.gaps) == 1
        assert "slot_lost" in log.gaps[0]
        # The gap belongs to spans that reach into it, and to no other.
        for start, end, gaps in (("", before, 0), (str(known), str(again[-1].at), 1), (str(again[-2].at), "latest", 0), (before, after, 1)):
            assert len((await told(made, start, end))[1].gaps) == gaps, (start, end)
        last, _ = await told(made, str(again[-2].at))
        assert [(field.old, field.new) for field in last[0].fields] == [("nobody saw", "e")]


async def test_schema_changes_and_folded_beginnings(database: str, slot: str) -> None:
    """Columns that come, go and change, tables that are renamed, rewritten and dropped: from a folded checkpoint on as from the beginning."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE gone (id int)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    async with capture(database, slot, poll_seconds=0.2) as made:
        await baseline(made)
        run(database, "UPDATE t SET v = 'c' WHERE id = 1", "ALTER TABLE t ADD COLUMN note text DEFAULT 'n'")
        await quiet(made, database)
        reader = Reader(made.store)
        middle = await caught_up(made, database)
        assert (await fold_database(reader, SystemClock(), SOURCE, until=await reader.last())).reason == ""
        run(database, "UPDATE t SET v = 'd' WHERE id = 1", "UPDATE t SET v = 'd' WHERE id = 2", "ALTER TABLE t RENAME COLUMN v TO w")
        await quiet(made, database)
        run(database, "UPDATE t SET w = 'e' WHERE id = 2", "ALTER TABLE t RENAME TO u")
        await quiet(made, database)
        run(database, "UPDATE u SET note = 'm' WHERE id = 2", "DROP TABLE gone", "ALTER TABLE u ALTER id TYPE bigint USING id + 10")
        end = await quiet(made, database)
        changes, log = await told(made, middle, end)
        assert [each.what for each in changes if each.operation == "update"] == [
            "public.t id=1", "public.t id=2", "public.t id=2", "public.u id=2",
        ]  # fmt: skip
        old = [{field.name: (field.old, field.new) for field in each.fields if field.old_known is not False} for each in changes]
        assert [each for each in old if each][:2] == [{"v": ("c", "d")}, {"v": ("b", "d")}]
        of_tables = [
            (each.operation, each.table, each.detail) for each in changes if each.operation in ("alter", "rename", "drop", "copied")
        ]
        assert ("alter", "public.t", "column v renamed to w") in of_tables
        assert ("rename", "public.u", "it was public.t") in of_tables
        assert ("drop", "public.gone", "with all its rows") in of_tables
        assert any(operation == "copied" and table == "public.u" for operation, table, _ in of_tables)
        assert all("public.u" in gap or "public.t" in gap for gap in log.gaps)
        # The same from the beginning on, but for what is known of old values.
        whole, _ = await told(made, end=end)
        assert [(each.at, each.entry, each.operation, each.what) for each in whole[-len(changes) :]] == [
            (each.at, each.entry, each.operation, each.what) for each in changes
        ]
        only, _ = await told(made, tables=frozenset({"public.u"}))
        assert rows(only) == [("update", "public.u id=2")]
        assert {each.table for each in only if each.operation != "gap"} == {"public.u"}


async def test_partitions_are_within_their_table(database: str, slot: str) -> None:
    """Rows of each are of the table that they are within, when that is asked for."""
    run(
        database,
        "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id)",
        "CREATE TABLE p11 PARTITION OF p1 FOR VALUES FROM (0) TO (5)",
        "CREATE TABLE other (id int PRIMARY KEY)",
    )
    async with capture(database, slot) as made:
        await baseline(made)
        run(database, "INSERT INTO p VALUES (1, 'a')", "INSERT INTO other VALUES (1)", "UPDATE p SET v = 'b'", "TRUNCATE p")
        await caught_up(made, database)
        for table in ("public.p", "public.p1", "public.p11"):
            changes, _ = await told(made, tables=frozenset({table}))
            assert [each for each in rows(changes) if each[1].startswith("public.p11")] == [
                ("insert", "public.p11 id=1"),
                ("update", "public.p11 id=1"),
                ("truncate", "public.p11"),
            ]
            assert changes[0].within == ["public.p1", "public.p"]
            assert not any("other" in what for _, what in rows(changes))


async def test_questions_that_cannot_be_answered(database: str, slot: str) -> None:
    """No such source, no such kind, a point that is not reached."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY)")
    async with capture(database, slot) as made:
        await baseline(made)
        with pytest.raises(Invalid, match="no source 'dp'"):
            await told(made, sources=frozenset({"dp"}))
        with pytest.raises(Invalid, match="--kind is about objects, and no source"):
            await told(made, kinds=frozenset({"runs"}))
        with pytest.raises(Invalid, match="is not reached yet"):
            await told(made, end="FFFFFF/0")
        with pytest.raises(Invalid, match="nothing was heard of a table") as near:
            await told(made, tables=frozenset({"public.tt"}))
        assert near.value.hint == "did you mean public.t?"
        changes, log = await told(made, "2001-01-01T00:00:00Z")
        assert changes == []
        assert "nothing is known of it before" in log.gaps[0]


async def test_a_gap_of_a_table_that_is_not_asked_about(database: str, slot: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Is no gap of the answer: by the table's name, or by a pattern that no key of it can match. Of all else it stays one."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a')")
    async with capture(database, slot, poll_seconds=0.2) as made:
        await baseline(made)
        run(database, "CREATE TABLE late (code text PRIMARY KEY)", "INSERT INTO late VALUES ('x')", "UPDATE t SET v = 'b'")
        await quiet(made, database)
        run(database, "UPDATE t SET v = 'c'")
        await caught_up(made, database)
        asked: tuple[tuple[dict[str, Any], bool], ...] = (
            ({}, True),
            ({"keys": frozenset({"code=x"})}, True),
            ({"keys": frozenset({"*=?"})}, True),
            ({"tables": frozenset({"public.late"})}, True),
            ({"keys": frozenset({"id=1"})}, False),
            ({"tables": frozenset({"public.t"})}, False),
        )
        for chosen, is_one in asked:
            changes, log = await told(made, **chosen)
            assert (log.gaps != []) is is_one, chosen
            assert is_one or [each.operation for each in changes if each.operation == "update"] == ["update", "update"]
        monkey = pytest.MonkeyPatch()
        with monkey.context() as patch:
            patch.setattr("archiver.cli.span_log.SHOWN_CHANGES", 1)
            tables = Selection(tables=frozenset({"public.t"}))
            for everything in (False, True):
                await print_span(Reader(made.store), AskedSpan(tables, "", "latest", "table", False, False, show_all=everything))
                said = capsys.readouterr()
                assert said.out.count(" update ") == (2 if everything else 1)
                assert ("2 changes, of which the first 1 are shown" in said.out) is not everything
                assert ("1 changes are not shown" in said.err) is not everything
            with pytest.raises(Invalid, match="lies behind"):
                await print_span(Reader(made.store), AskedSpan(tables, "latest", "5", "table", False, False))


async def test_from_a_checkpoint_whose_schema_was_written_behind_it(database: str, slot: str) -> None:
    """The last commit before it changed a table, and the catalog was read a moment later: the log goes on from there as a restore does."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a')")
    async with capture(database, slot, poll_seconds=0.2) as made:
        await baseline(made)
        run(database, "UPDATE t SET v = 'b'", "ALTER TABLE t ADD COLUMN w text")
        start = await quiet(made, database)
        reader = Reader(made.store)
        assert (await fold_database(reader, SystemClock(), SOURCE, until=await reader.last())).reason == ""
        body = next(iter([made.store.peek(key) for key in await made.store.list("checkpoints/")]))
        assert body is not None
        assert msgspec.json.decode(body)["schemas"] == []
        run(database, "UPDATE t SET v = 'c'")
        end = await caught_up(made, database)
        changes, log = await told(made, start, end)
        assert [[(field.name, field.old, field.new) for field in each.fields] for each in changes if each.operation == "update"] == [
            [("v", "b", "c")]
        ]
        assert log.gaps == []
