"""The history of one row, through a real capture."""

from __future__ import annotations

import asyncio
import uuid

import psycopg
import pytest

from archiver.clock import to_text
from archiver.errors import Invalid
from archiver.history.row_at import row_at
from archiver.history.row_states import differences
from archiver.history.rows import RowRef, row_log
from archiver.history.span.bounds import EVERYTHING
from archiver.history.span.selection import Selection
from archiver.history.span.span_log import SpanLog
from archiver.history.sql.as_of import put_in
from archiver.history.sql.engine import opened_engine
from archiver.journal.reader import Reader
from archiver.replay.points import Point, parse_point
from tests.integration.capture.postgres.recorded import schemas
from tests.integration.capture.postgres.rig import SOURCE, capture
from tests.integration.history.both_ways import row_log_both_ways
from tests.integration.replay.postgres.arrange import baseline, caught_up, quiet, run

pytestmark = pytest.mark.postgres(18)

TABLE = """
CREATE TABLE runs (id int PRIMARY KEY, state text, big text);
ALTER TABLE runs ALTER big SET STORAGE EXTERNAL;
INSERT INTO runs SELECT g, E'a\\t' || g, repeat('b', 5000) FROM generate_series(1, 20) g;
"""


@pytest.fixture
def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


def ref(key: int) -> RowRef:
    return RowRef.parse("public.runs", [f"id={key}"])


async def test_log_show_and_diff_follow_one_row(database: str, slot: str) -> None:
    """Baseline, updates with an unchanged TOASTed value, deletion and return: each with what it was and when; show and diff agree."""
    run(database, TABLE)
    async with capture(database, slot) as made:
        await baseline(made)
        run(
            database,
            "UPDATE runs SET state = 'x' WHERE id = 5",
            "UPDATE runs SET state = 'no' WHERE id = 15",
            "UPDATE runs SET big = 'small' WHERE id = 5",
        )
        before = await caught_up(made, database)
        run(database, "DELETE FROM runs WHERE id = 5", "INSERT INTO runs VALUES (5, NULL, 'again')")
        after = await caught_up(made, database)
        reader = Reader(made.store)
        log = await row_log_both_ways(made.store, SOURCE, ref(5))
        assert [(change.event, change.changed) for change in log] == [
            ("BASELINE", []), ("UPDATE", ["state"]), ("UPDATE", ["big"]), ("DELETE", []), ("INSERT", []),
        ]  # fmt: skip
        assert log[0].state == {"id": "5", "state": "a\t5", "big": "b" * 5000}
        assert log[1].state == {"id": "5", "state": "x", "big": "b" * 5000}
        assert [change.entry for change in log] == sorted(change.entry for change in log)
        one, other = await row_at(reader, SOURCE, ref(5), parse_point(before)), await row_at(reader, SOURCE, ref(5), parse_point(after))
        assert one.state == {"id": "5", "state": "x", "big": "small"}
        assert differences(one.state, other.state) == [("state", "x", None), ("big", "small", "again")]
        assert (await row_at(reader, SOURCE, ref(5), Point("", "entry", log[3].commit_entry))).state is None
        assert await row_log(reader, SOURCE, ref(99)) == []
        with pytest.raises(Invalid, match="no table") as nowhere:
            await row_log(reader, SOURCE, RowRef.parse("nowhere", ["id=5"]))
        assert "lists the tables" in nowhere.value.hint
        with pytest.raises(Invalid, match="no table") as near:
            await row_log(reader, SOURCE, RowRef.parse("public.run", ["id=5"]))
        assert near.value.hint == "did you mean public.runs?"
        with pytest.raises(Invalid, match="no column"):
            await row_log(reader, SOURCE, RowRef.parse("runs", ["key=5"]))


async def test_a_row_that_gets_another_key_is_followed_to_the_end_and_from_the_beginning(database: str, slot: str) -> None:
    """Under the old key it ends with a word where it went; under the new one it begins with where it came from."""
    run(database, TABLE)
    async with capture(database, slot) as made:
        await baseline(made)
        run(database, "UPDATE runs SET id = 105 WHERE id = 5")
        await caught_up(made, database)
        left, came = await row_log_both_ways(made.store, SOURCE, ref(5)), await row_log_both_ways(made.store, SOURCE, ref(105))
        assert (left[-1].state, left[-1].detail) == (None, "it is id=105 from here on")
        assert (came[0].event, came[0].detail) == ("UPDATE", "it was id=5 before")
        assert came[0].state == {"id": "105", "state": "a\t5"}


async def test_ddl_and_a_copy_of_the_table_are_part_of_the_history(database: str, slot: str) -> None:
    """A rewrite that puts nothing into the stream shows as what the copy found; a restart of capture changes nothing."""
    run(database, TABLE)
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        run(database, "UPDATE runs SET state = '7' WHERE id = 5", "ALTER TABLE runs ADD COLUMN note text")
        run(database, "UPDATE runs SET note = 'n' WHERE id = 5", "ALTER TABLE runs ALTER id TYPE bigint USING id + 1000 - 1000")
        await quiet(made, database)
        await made.stop()
        await made.start()
        run(database, "UPDATE runs SET note = 'm' WHERE id = 5", "TRUNCATE runs")
        await caught_up(made, database)
        log = await row_log_both_ways(made.store, SOURCE, ref(5))
        events = [(change.event, change.changed) for change in log if change.event not in ("GAP", "COPIED")]
        assert events == [("BASELINE", []), ("UPDATE", ["state"]), ("UPDATE", ["note"]), ("UPDATE", ["note"]), ("TRUNCATE", [])]
        assert "GAP" in [change.event for change in log]
        with psycopg.connect(database) as session:
            assert session.execute("SELECT count(*) FROM runs").fetchone() == (0,)


async def test_a_row_has_the_columns_that_its_table_has_at_the_point(database: str, slot: str) -> None:
    """A column added with a default, and one dropped, show in the row although nothing was written to it."""
    run(database, TABLE)
    async with capture(database, slot, poll_seconds=0.2) as made:
        await baseline(made)
        run(database, "ALTER TABLE runs ADD COLUMN cost numeric DEFAULT 3", "ALTER TABLE runs DROP COLUMN big")
        run(database, "UPDATE runs SET state = 'y' WHERE id = 6")
        after = await caught_up(made, database)
        async with asyncio.timeout(30):
            # The schema's own entry follows the change a moment later; until then the answer says that it is uncertain.
            while (found := await row_at(Reader(made.store), SOURCE, ref(5), parse_point(after))).notes:
                await asyncio.sleep(0.2)
        assert found.state == {"id": "5", "state": "a\t5", "cost": "3"}


async def test_a_name_that_passes_to_another_table_takes_no_foreign_rows_along(database: str, slot: str) -> None:
    """Copied into a new table that then takes the name: what happened to the new one before, and to the old one after, is not the name's."""
    run(database, TABLE)
    steps = [
        "UPDATE runs SET state = 'old' WHERE id = 5",
        "CREATE TABLE next (LIKE runs INCLUDING ALL); INSERT INTO next SELECT id, state || '!', big FROM runs",
        "UPDATE next SET state = 'not yet' WHERE id = 5",
        "BEGIN; ALTER TABLE runs RENAME TO runs_old; ALTER TABLE next RENAME TO runs; COMMIT",
        "UPDATE runs SET state = 'new' WHERE id = 5",
        "UPDATE runs_old SET state = 'forgotten' WHERE id = 5",
    ]
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        for step in steps:
            run(database, step)
            await quiet(made, database)
        log = await row_log_both_ways(made.store, SOURCE, ref(5))
        assert [(change.event, change.state and change.state["state"]) for change in log if change.event != "GAP"] == [
            ("BASELINE", "a\t5"),
            ("UPDATE", "old"),
            ("UPDATE", "new"),
        ]
        assert log[-1].changed == ["state"]
        old = await row_log_both_ways(made.store, SOURCE, RowRef.parse("public.runs_old", ["id=5"]))
        assert [change.state and change.state["state"] for change in old if change.event != "GAP"] == ["old", "forgotten"]


async def test_history_files_end_where_the_point_does_and_know_lost_slots(database: str, slot: str) -> None:
    """Points by entry, LSN and time, from and until, in each of two streams with a gap between, of keys of two columns and odd texts."""
    run(
        database,
        "CREATE TABLE pairs (note text, b text, a int, PRIMARY KEY (a, b))",
        "INSERT INTO pairs VALUES ('first', E'k\"\\\\\\t', 1)",
    )
    row = RowRef.parse("pairs", ['b=k"\\\t', "a=1"])
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        lsns = []
        for number in range(3):
            run(database, f"UPDATE pairs SET note = 'before {number}' WHERE a = 1", f"INSERT INTO pairs VALUES (NULL, 'x', {number})")
            lsns.append(await caught_up(made, database))
        await made.stop()
        run(database, f"SELECT pg_drop_replication_slot('{slot}')", "UPDATE pairs SET note = 'nobody saw' WHERE a = 1")
        first = made.writer.marks[SOURCE].checkpoint
        await made.start()
        await made.until(lambda: made.writer.marks[SOURCE].checkpoint > first)
        for number in range(2):
            run(database, f"UPDATE pairs SET note = 'after {number}' WHERE a = 1", "DELETE FROM pairs WHERE a = 0")
            lsns.append(await caught_up(made, database))
        whole = await row_log_both_ways(made.store, SOURCE, row)
        assert [change.state["note"] if change.state else change.event for change in whole] == [
            "first", "before 0", "before 1", "before 2", "GAP", "nobody saw", "after 0", "after 1",
        ]  # fmt: skip
        for text in [
            *lsns,
            *(str(change.commit_entry or change.entry) for change in whole),
            *(to_text(each.time) for each in whole[1:] if each.time),
        ]:
            until = await row_log_both_ways(made.store, SOURCE, row, to_point=parse_point(text), step_entries=3)
            assert until == whole[: len(until)], text
        since = await row_log_both_ways(made.store, SOURCE, row, from_point=parse_point(lsns[-1]))
        assert [change.state and change.state["note"] for change in since] == ["nobody saw", "after 0", "after 1"]
        by_note = await row_log_both_ways(made.store, SOURCE, RowRef.parse("pairs", ["note=after 0"]), step_entries=99, used=False)
        assert [change.event for change in by_note if change.event != "GAP"] == ["UPDATE", "UPDATE"]


async def test_a_gap_of_a_table_that_is_called_otherwise_now(database: str, slot: str) -> None:
    """As a swap migration leaves it: each answer about the new name has the gap, none about another table has."""
    run(database, "CREATE TABLE other (id int PRIMARY KEY)")
    async with capture(database, slot, poll_seconds=0.2) as made:
        await baseline(made)
        await quiet(made, database)
        with psycopg.connect(database) as open_for_long:
            # A new table is copied only when this has ended.
            open_for_long.execute("SELECT pg_current_xact_id()")
            run(database, "CREATE TABLE runs_new (id int PRIMARY KEY)", "INSERT INTO runs_new VALUES (5)")

            async def noticed() -> bool:
                return bool(await made.gaps())

            await made.until(noticed)
            run(database, "ALTER TABLE runs_new RENAME TO runs", "INSERT INTO other VALUES (5)")

            async def renamed() -> bool:
                return any(table.name == "runs" for table in (await schemas(made))[-1].catalog.tables)

            await made.until(renamed)
            point = parse_point(await caught_up(made, database))
            assert [(gap.what, bool(gap.relation)) for gap in await made.gaps()] == [("table public.runs_new", True)]
            reader = Reader(made.store)
            for name, has_gap in (("runs", True), ("other", False)):
                row = RowRef("public", name, {"id": "5"})
                shown = await row_at(reader, SOURCE, row, point)
                with opened_engine() as engine:
                    put = await put_in(engine, reader, point, {name}, [])
                log = await row_log(reader, SOURCE, row, to_point=point)
                span = SpanLog(reader, Selection(tables=frozenset({f"public.{name}"})), EVERYTHING)
                lines = [change.operation async for change in span.changes()]
                said = {
                    "show": "table public.runs_new" in " ".join(shown.gaps) and bool(shown.notes),
                    "sql": bool(put.gaps),
                    "log of a row": "GAP" in [change.event for change in log],
                    "line of a log": "gap" in lines,
                    "log": bool(span.gaps),
                }
                assert set(said.values()) == {has_gap}, said
            open_for_long.rollback()
