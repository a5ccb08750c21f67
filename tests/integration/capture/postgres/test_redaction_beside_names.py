"""A redacted column is kept out where neither its line nor its number tells of it, and costs no more than it must."""

from __future__ import annotations

import pytest

from archiver.errors import Refused
from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import restore_to_database
from tests.integration.capture.postgres.redacted import LINES, SECRET, TABLES, contents, shown, slot
from tests.integration.capture.postgres.rig import capture
from tests.integration.replay.postgres.arrange import baseline, plan, quiet, run


@pytest.mark.postgres(15)
async def test_a_column_that_came_and_was_renamed_while_nobody_looked_does_not_come(database: str) -> None:
    """Its line came with this start; the server has its values, under a name that no line has."""
    run(database, "CREATE TABLE users (id int PRIMARY KEY)", "INSERT INTO users VALUES (1)")
    async with capture(database, slot(), poll_seconds=0.3) as made:
        await baseline(made)
        await quiet(made, database)
        await made.stop()
        run(
            database,
            "ALTER TABLE users ADD tok text",
            f"INSERT INTO users VALUES (2, '{SECRET}')",
            "ALTER TABLE users RENAME tok TO token",
        )
        made.options["redact"] = ["public.users.token"]
        await made.start(wait=False)
        await made.until(lambda: made.source.status().state == "streaming", 60)
        await quiet(made, database)
        assert [(gap.what, gap.reason) for gap in await made.gaps()] == [("all", "redacted")]
        assert await shown(made, SECRET) == 0


@pytest.mark.postgres(16)
async def test_a_name_that_a_hidden_column_once_had_ends_capture_once_at_most(database: str) -> None:
    """A new column has it: it is captured, behind one new baseline. And a hidden column that rows need, of a table that came while the
    archiver was away, leaves that table alone; it does not stop the rest.
    """
    run(database, "CREATE TABLE users (id int PRIMARY KEY, secret text)", f"INSERT INTO users VALUES (1, '{SECRET}')")
    async with capture(database, slot(), poll_seconds=0.3, redact=["public.*.secret"]) as made:
        await baseline(made)
        for before, name in (("secret", "tok"), ("tok", "tok2")):
            run(database, f"ALTER TABLE users RENAME {before} TO {name}")
            await quiet(made, database)
        run(database, "ALTER TABLE users ADD tok text", "UPDATE users SET tok = 'in the open'")
        await quiet(made, database)
        run(database, f"INSERT INTO users VALUES (2, '{SECRET}', 'in the open')")
        await quiet(made, database)
        run(database, f"INSERT INTO users VALUES (3, '{SECRET}', 'and it goes on')")
        await quiet(made, database)
        assert [gap.reason for gap in await made.gaps() if gap.what == "all"] in ([], ["redacted"])
        assert await shown(made, "and it goes on") > 0
        await made.stop()
        run(database, "CREATE TABLE more (id int PRIMARY KEY, secret text NOT NULL)", f"INSERT INTO more VALUES (1, '{SECRET}')")
        await made.start()
        run(database, f"INSERT INTO users VALUES (4, '{SECRET}', 'behind it')")
        await quiet(made, database)
        assert await shown(made, "behind it") > 0
        assert any("public.more" in text and "redact" in text for text in made.source.status().warnings)
        assert await shown(made, SECRET) == 0


@pytest.mark.postgres(16)
async def test_a_line_that_is_written_for_what_rows_need_is_refused_later_as_well(database: str) -> None:
    """Nothing came to be so at the database: the line is a mistake, and nothing is touched for it."""
    run(database, "CREATE TABLE users (id int PRIMARY KEY, must text NOT NULL)", "INSERT INTO users VALUES (1, 'known')")
    async with capture(database, slot()) as made:
        await baseline(made)
        await quiet(made, database)
        await made.stop()
        made.options["redact"] = ["public.users.must"]
        with pytest.raises(Refused, match=r"public\.users: a column in `redact` is NOT NULL"):
            await made.run_once()
        assert not await made.gaps()


@pytest.mark.postgres(18)
async def test_a_table_that_may_be_attached_is_hidden_before_it_is(database: str, target_database: str) -> None:
    """It joins as itself, and becomes a partition and has rows before the next look."""
    run(database, *TABLES)
    async with capture(database, slot(), poll_seconds=0.3, redact=LINES[2:]) as made:
        await baseline(made)
        run(
            database,
            *(f"CREATE TABLE {name} (LIKE parts INCLUDING INDEXES)" for name in ("p", "q")),
            f"INSERT INTO p VALUES (10, '{SECRET}', 10)",
        )
        await quiet(made, database)
        run(
            database,
            f"BEGIN; ALTER TABLE parts ATTACH PARTITION p FOR VALUES FROM (10) TO (20); INSERT INTO parts VALUES (11, '{SECRET}', 11);"
            f" INSERT INTO q VALUES (12, '{SECRET}', 12); COMMIT",
        )
        await quiet(made, database)
        run(database, f"UPDATE parts SET secret = '{SECRET} later'")
        await quiet(made, database)
        assert await shown(made, SECRET) == 0
        assert not [gap for gap in await made.gaps() if gap.what == "all"]
        await restore_to_database(await plan(made, "latest"), Reader(made.store), made.store, target_database)
        assert contents(target_database, "SELECT id, secret FROM parts ORDER BY 1") == [(10, None), (11, None)]
        # One that fits only since a moment ago is not taken.
        run(database, "CREATE TABLE r (id int, sec text, day int, PRIMARY KEY (day, id))")
        await quiet(made, database)
        run(
            database,
            "BEGIN; ALTER TABLE r RENAME sec TO secret; ALTER TABLE parts ATTACH PARTITION r FOR VALUES FROM (20) TO (30);"
            f" INSERT INTO parts VALUES (21, '{SECRET}', 21); COMMIT",
        )
        await made.until(lambda: any("public.r.secret" in error.message for error in made.errors), 60)
        await quiet(made, database)
        assert [gap.reason for gap in await made.gaps() if gap.what == "all"] == ["redacted"]
        assert await shown(made, SECRET) == 0


@pytest.mark.postgres(15)
async def test_another_database_is_hidden_by_the_names_that_were_known_last(database: str, target_database: str) -> None:
    """Its numbers are others. Where the names are, too, nothing is captured of it."""
    name = slot()
    run(database, "CREATE TABLE users (id int PRIMARY KEY, secret text)", f"INSERT INTO users VALUES (1, '{SECRET}')")
    async with capture(database, name, poll_seconds=0.3, redact=["public.users.secret"], adopt_new_system=True) as made:
        await baseline(made)
        run(database, "ALTER TABLE users RENAME secret TO hidden")
        await quiet(made, database)
        await made.stop()
        run(database, f"SELECT pg_drop_replication_slot('{name}')")
        run(
            target_database,
            "CREATE TABLE users (id int PRIMARY KEY, name text, tok text)",
            f"INSERT INTO users VALUES (1, 'moved', '{SECRET}')",
        )
        made.dsn = target_database
        with pytest.raises(Refused, match=r"redact: public\.users\.secret: it hid a column of the database that was captured until now"):
            await made.run_once()
        run(target_database, "ALTER TABLE users RENAME tok TO hidden")
        await made.start(wait=False)
        await made.until(lambda: made.source.status().state == "streaming", 60)
        run(target_database, f"UPDATE users SET hidden = '{SECRET} again'")
        await quiet(made, target_database)
        assert await shown(made, "moved") > 0
        assert await shown(made, SECRET) == 0
        assert [gap.reason for gap in await made.gaps()] == ["system_changed"]
