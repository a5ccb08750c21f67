"""A redacted column's values are nowhere in the archive, whatever happens to the column, its table or our publications."""

from __future__ import annotations

from pathlib import Path

import pytest

from archiver.capture.postgres import source
from archiver.capture.postgres.catalog.redaction import Redaction
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.preflight.preflight import Preflight, preflight
from archiver.capture.postgres.session.access import Access, Session
from archiver.clock import SystemClock
from archiver.errors import Refused
from archiver.history.row_at import row_at
from archiver.history.rows import RowRef, row_log
from archiver.journal.reader import Reader
from archiver.maintenance.folding import fold_database
from archiver.maintenance.history_files import write_history
from archiver.replay.points import parse_point, resolve
from archiver.replay.postgres.restore import restore_to_database
from archiver.timeline.answers import life_answer
from archiver.timeline.questions import SubjectQuestion
from tests.integration.capture.postgres.recorded import schemas
from tests.integration.capture.postgres.redacted import LINES, SECRET, TABLES, contents, shown, slot
from tests.integration.capture.postgres.rig import SOURCE, Capture, capture
from tests.integration.replay.postgres.arrange import ask, baseline, plan, quiet, run
from tests.integration.replay.postgres.excerpts import beside, merge, planned, restored


async def history(made: Capture) -> None:
    """Write the history files."""
    async for step in write_history(Reader(made.store), SystemClock()):
        assert not step.reason


async def answers(made: Capture) -> None:
    """What is asked about a row, and what a script for the living table would write."""
    ref, latest = RowRef("public", "people", {"id": "1"}), await resolve(Reader(made.store), parse_point("latest"))
    changes = await row_log(Reader(made.store), SOURCE, ref)
    assert [(each.event, each.detail) for each in changes][-1] == ("NOTE", "hidden redacted: values are kept out of the archive")
    assert all("hidden" not in (each.state or {}) and "secret" not in (each.state or {}) for each in changes)
    told = await life_answer(Reader(made.store), SubjectQuestion(SOURCE, "public.people", {"id": "1"}))
    assert told.notes == [changes[-1].detail]
    assert "NOTE" not in [each.event for each in told.states]
    found = await row_at(Reader(made.store), SOURCE, ref, latest)
    assert found.state == {"id": "1", "name": "down", "added": "seen", "more": None}
    assert any("hidden redacted" in note for note in found.notes)


async def look(dsn: str, *lines: str) -> Preflight:
    session = await Access.of(dsn).connect()
    try:
        return await preflight(session, PostgresConfig(dsn=dsn, slot=slot(), redact=list(lines), allow_unlimited_wal=True))
    finally:
        await session.close()


ROWS = [
    f"INSERT INTO users (id, name, secret) SELECT n, 'name ' || n, '{SECRET}' || n FROM generate_series(1, 9) n",
    f"INSERT INTO logins SELECT n, '{SECRET}' FROM generate_series(1, 9) n",
    f"INSERT INTO parts SELECT n, '{SECRET}', n FROM generate_series(1, 9) n",
    "ANALYZE",
]
CHANGES = [
    f"INSERT INTO users (id, name, secret) VALUES (10, 'ten', '{SECRET}'), (11, 'eleven', repeat('{SECRET}', 9000))",
    f"UPDATE users SET secret = '{SECRET} again' WHERE id = 1",
    "UPDATE users SET name = 'other' WHERE id = 11",
    "UPDATE users SET id = 20 WHERE id = 2",
    "DELETE FROM users WHERE id = 3",
    f"INSERT INTO logins VALUES (10, '{SECRET}')",
    f"UPDATE parts SET secret = '{SECRET} again' WHERE id < 5",
    f"SET logical_decoding_work_mem = '64kB'; INSERT INTO users (id, name, secret) SELECT n, 'many', '{SECRET}' FROM generate_series(100, 4000) n",
]


async def test_nothing_of_it_is_kept(database: str, target_database: str) -> None:
    """Copied, inserted, updated, deleted, out of line, in a large transaction; renamed, added, copied again; in partitions; in history files."""
    run(database, *TABLES, *ROWS)
    async with capture(database, slot(), poll_seconds=0.3, redact=LINES) as made:
        await baseline(made)
        run(database, *CHANGES)
        await quiet(made, database)
        run(
            database,
            f"BEGIN; ALTER TABLE users RENAME secret TO hidden; UPDATE users SET hidden = '{SECRET} renamed' WHERE id < 9; COMMIT",
            f"INSERT INTO users (id, name, hidden) VALUES (30, 'thirty', '{SECRET}')",
            f"ALTER TABLE users ADD added text; UPDATE users SET added = 'seen', hidden = '{SECRET} added' WHERE id < 7",
            "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20)",
            f"INSERT INTO parts SELECT n, '{SECRET}', n FROM generate_series(10, 15) n",
            "ALTER TABLE parts RENAME secret TO hidden",
            "CREATE TABLE late (id int PRIMARY KEY, secret text); INSERT INTO late VALUES (1, 'in the open')",
        )
        await quiet(made, database)
        await made.stop()
        run(
            database,
            f"UPDATE users SET hidden = '{SECRET} while it was down', name = 'down' WHERE id < 9",
            "ALTER TABLE users RENAME TO people",
        )
        await made.start()
        run(
            database,
            f"UPDATE people SET hidden = '{SECRET} later'",
            f"UPDATE parts SET hidden = '{SECRET}'",
            "ALTER TABLE people ADD more int",
        )
        await quiet(made, database)
        await answers(made)
        await history(made)
        reader = Reader(made.store)
        await fold_database(reader, SystemClock(), SOURCE, until=await reader.last())
        await answers(made)
        # Copied; streamed, and in history files; of a table that no line names.
        assert await shown(made, "name 9") > 0
        assert await shown(made, "thirty") > 1
        assert await shown(made, "in the open") > 0
        assert await shown(made, SECRET) == 0
        at_end = await plan(made, "latest")
        assert at_end.checkpoint.cause == "folded"
        await restore_to_database(at_end, Reader(made.store), made.store, target_database)
        for query in (
            "SELECT id, name, added, more FROM people ORDER BY 1",
            "SELECT at FROM logins ORDER BY 1",
            "SELECT id, day FROM parts ORDER BY 1",
            "SELECT * FROM late",
        ):
            assert contents(target_database, query) == contents(database, query)
        assert ask(target_database, "SELECT count(hidden) + count(lower) FROM people") == 0
        assert ask(target_database, "SELECT count(hidden) FROM parts") == 0
        told = [text for text in at_end.doubts if "redacted" in text]
        assert [text.split(":")[1].strip() for text in told] == ["public.logins", "public.parts_1", "public.parts_2", "public.people"]
        assert not at_end.gaps


@pytest.mark.postgres(16, 18)
async def test_a_publication_that_somebody_alters_lets_nothing_through(database: str) -> None:
    """The server sends the column from there on. Nothing of it is taken: a gap, and another baseline."""
    name = slot()
    run(database, *TABLES, *ROWS)
    async with capture(database, name, poll_seconds=0.3, redact=LINES) as made:
        await baseline(made)
        await quiet(made, database)
        checkpoint = made.writer.marks[SOURCE].checkpoint
        run(
            database,
            f"BEGIN; ALTER PUBLICATION {name}_key DROP TABLE users; ALTER PUBLICATION {name}_key ADD TABLE ONLY users;"
            f" UPDATE users SET secret = '{SECRET} sent'; COMMIT",
        )
        await made.until(lambda: made.writer.marks[SOURCE].checkpoint > checkpoint, 60)
        run(database, f"UPDATE users SET secret = '{SECRET} and not sent', name = 'after'")
        await quiet(made, database)
        assert "redacted" in [gap.reason for gap in await made.gaps()]
        assert await shown(made, "after") > 0
        assert await shown(made, SECRET) == 0
        assert not (await plan(made, "latest")).gaps


@pytest.mark.postgres(18)
async def test_what_waits_at_the_server_is_left_out_when_a_column_becomes_redacted(database: str) -> None:
    """It was written while the column was published. What was journaled before stays."""
    name = slot()
    run(database, "CREATE TABLE users (id int PRIMARY KEY, name text, secret text)", "INSERT INTO users VALUES (1, 'one', 'known before')")
    async with capture(database, name, poll_seconds=0.3) as made:
        await baseline(made)
        await quiet(made, database)
        await made.stop()
        run(database, f"UPDATE users SET secret = '{SECRET}', name = 'two'")
        made.options["redact"] = ["public.users.secret"]
        await made.start(wait=False)
        await made.until(lambda: made.source.status().state == "streaming", 60)
        run(database, f"UPDATE users SET secret = '{SECRET}', name = 'three'")
        await quiet(made, database)
        [gap] = await made.gaps()
        assert (gap.what, gap.reason) == ("all", "redacted")
        assert await shown(made, "known before") > 0
        assert await shown(made, "three") > 0
        assert await shown(made, SECRET) == 0
        # And back: rows of before are copied as they are.
        await made.stop()
        del made.options["redact"]
        run(database, "UPDATE users SET secret = 'open again'")
        await made.start()

        async def copied() -> bool:
            return await shown(made, "open again") > 0

        await made.until(copied)
        await quiet(made, database)
        assert not [text for text in (await plan(made, "latest")).doubts if "redacted" in text]


@pytest.mark.postgres(15)
async def test_names_that_are_exchanged_hide_both(database: str) -> None:
    """One column holds what was hidden, and the other has the name that is."""
    run(database, "CREATE TABLE users (id int PRIMARY KEY, name text, secret text)", f"INSERT INTO users VALUES (1, 'one', '{SECRET}')")
    async with capture(database, slot(), poll_seconds=0.3, redact=["public.users.secret"]) as made:
        await baseline(made)
        await quiet(made, database)
        run(
            database,
            "BEGIN; ALTER TABLE users RENAME secret TO other; ALTER TABLE users RENAME name TO secret; ALTER TABLE users RENAME other TO name;"
            f" UPDATE users SET secret = '{SECRET} by its new name'; COMMIT",
        )
        await quiet(made, database)
        run(database, f"UPDATE users SET secret = '{SECRET} twice', name = '{SECRET} kept', id = 2")
        await quiet(made, database)
        assert await shown(made, SECRET) == 0
        newest = (await schemas(made))[-1].catalog.tables
        assert [sorted(each.attnum for each in table.redacted) for table in newest if table.name == "users"] == [[2, 3]]


@pytest.mark.postgres(18)
async def test_a_table_of_which_too_much_is_hidden_is_left_alone(database: str) -> None:
    """NOT NULL, a new key, REPLICA IDENTITY FULL, while it is captured: writes go on at the source, and nothing of the table is kept."""
    run(
        database,
        *(f"CREATE TABLE {name} (id int PRIMARY KEY, secret text)" for name in ("a", "b", "c", "d")),
        *(f"INSERT INTO {name} VALUES (1, '{SECRET}')" for name in ("a", "b", "c", "d")),
    )
    async with capture(database, slot(), poll_seconds=0.3, redact=["public.*.secret"]) as made:
        await baseline(made)
        await quiet(made, database)
        run(
            database,
            "ALTER TABLE a ALTER secret SET NOT NULL",
            "ALTER TABLE b DROP CONSTRAINT b_pkey, ADD PRIMARY KEY (id, secret)",
            "ALTER TABLE c REPLICA IDENTITY FULL",
        )
        await quiet(made, database)
        run(database, *(f"UPDATE {name} SET secret = '{SECRET} written'" for name in ("a", "b", "c", "d")))
        await quiet(made, database)
        assert await shown(made, SECRET) == 0
        modes = {table.name: table.mode for table in (await schemas(made))[-1].catalog.tables}
        assert modes == {"a": "excluded", "b": "excluded", "c": "excluded", "d": "key"}
        assert any("redact" in text for text in made.source.status().warnings)
        assert sum("not captured" in text for text in (await plan(made, "latest")).not_included) >= 3
        await made.stop()
        await made.start()
        run(database, "ALTER TABLE a ALTER secret DROP NOT NULL", "ALTER TABLE c REPLICA IDENTITY DEFAULT", "ALTER TABLE b DROP secret")
        await quiet(made, database)
        assert [table.mode for table in (await schemas(made))[-1].catalog.tables if table.name in ("a", "c")] == ["key", "key"]
        assert await shown(made, SECRET) == 0


@pytest.mark.postgres(16)
async def test_what_cannot_be_hidden_is_refused_before_anything_is_touched(database: str) -> None:
    """A history does not begin where a line of ``redact`` hides nothing, or what rows need."""
    run(
        database,
        "CREATE DOMAIN filled AS text NOT NULL",
        "CREATE DOMAIN refilled AS filled",
        "CREATE TABLE t (id int PRIMARY KEY, must text NOT NULL, domained refilled DEFAULT '', may text)",
        "CREATE TABLE f (id int PRIMARY KEY, may text)",
        "ALTER TABLE f REPLICA IDENTITY FULL",
        "CREATE TABLE p (id int, day int, half int) PARTITION BY RANGE (day, (half / 2))",
        "CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0, 0) TO (10, 10)",
        "CREATE TABLE alone (secret text)",
        "CREATE TABLE g (id int PRIMARY KEY, may text, length int NOT NULL GENERATED ALWAYS AS (length(may)) STORED)",
        "CREATE TABLE n (id int PRIMARY KEY, may text UNIQUE NULLS NOT DISTINCT)",
    )
    for line, code in {
        "public.t.id": "redacted_needed",
        "public.t.must": "redacted_needed",
        "public.t.domained": "redacted_needed",
        "public.p.day": "redacted_needed",
        "public.p.half": "redacted_needed",
        "public.alone.secret": "redacted_needed",
        "public.g.may": "redacted_needed",
        "public.n.may": "redacted_needed",
        "public.f.may": "redacted_full",
        "public.t.mya": "selects_nothing",
    }.items():
        report = await look(database, line)
        assert [finding.code for finding in report.refusals] == [code], line
        assert all(finding.remedy for finding in report.refusals)
    report = await look(database, "public.t.may")
    assert not report.refusals
    assert "column_lists" in [finding.code for finding in report.notes]


@pytest.mark.postgres(18)
async def test_a_restore_gets_over_what_refuses_null(database: str, target_database: str, tmp_path: Path) -> None:
    """A CHECK that NULL breaks, a default, a unique index: rows come back without the value, and what they break is named.

    Beside living rows they may stand; over them NULL is not written.
    """
    run(
        database,
        "CREATE TABLE users (id int PRIMARY KEY, secret text UNIQUE DEFAULT 'a default' CHECK (secret IS NOT NULL))",
        f"INSERT INTO users SELECT n, '{SECRET}' || n FROM generate_series(1, 3) n",
    )
    async with capture(database, slot(), poll_seconds=0.3, redact=["public.users.secret"]) as made:
        await baseline(made)
        await quiet(made, database)
        report = await restore_to_database(await plan(made, "latest"), Reader(made.store), made.store, target_database)
        assert contents(target_database, "SELECT id, secret FROM users ORDER BY 1") == [(1, None), (2, None), (3, None)]
        assert [each.name for each in report.left_out] == ["CHECK CONSTRAINT public.users users_secret_check"]
        planned_beside = await planned(made, database, excerpt=beside("users"), into_source=True)
        assert any("redacted" in text for text in planned_beside.doubts)
        await restored(made, database, excerpt=beside("users"))
        assert contents(database, "SELECT id, secret FROM restored.users ORDER BY 1") == [(1, None), (2, None), (3, None)]
        with pytest.raises(Refused, match=r"secret of public\.users is redacted"):
            await restored(made, database, excerpt=merge("users", tmp_path / "merge.sql"))


@pytest.mark.postgres(18)
async def test_a_column_that_comes_while_capture_begins_is_known(
    database: str, target_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The baseline has it, and the list that was made just before has not: the table is copied again."""
    run(database, "CREATE TABLE users (id int PRIMARY KEY, secret text)", f"INSERT INTO users VALUES (1, '{SECRET}'), (2, '{SECRET}')")

    async def looked(session: Session, config: PostgresConfig, redaction: Redaction | None = None) -> Preflight:
        report = await preflight(session, config, redaction)
        run(database, "ALTER TABLE users ADD late text")
        return report

    monkeypatch.setattr(source, "preflight", looked)
    async with capture(database, slot(), poll_seconds=0.3, redact=["public.users.secret"]) as made:
        await baseline(made)
        run(database, f"UPDATE users SET late = 'x', secret = '{SECRET} again' WHERE id = 1")

        async def noticed() -> bool:
            return bool(await made.gaps())

        await made.until(noticed)
        await quiet(made, database)
        run(database, "UPDATE users SET late = 'y' WHERE id = 2")
        await quiet(made, database)
        await restore_to_database(await plan(made, "latest"), Reader(made.store), made.store, target_database)
        assert contents(target_database, "SELECT id, late FROM users ORDER BY 1") == [(1, "x"), (2, "y")]
        assert await shown(made, SECRET) == 0
