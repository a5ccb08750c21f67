"""The script that gives a live table the rows of a point: what it says, what it does when it runs, and what makes it refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from archiver.errors import Invalid, Refused
from tests.integration.replay.postgres.arrange import ask, run
from tests.integration.replay.postgres.excerpts import merge, planned, psql, restored
from tests.integration.replay.postgres.test_restore_excerpts import ORDERS, PARTITIONED
from tests.integration.replay.postgres.test_restore_partial import recorded
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.postgres(18)

ALL = "SELECT array_agg(t::text ORDER BY id) FROM {} t"


@pytest.mark.postgres(15, 16, 18)
async def test_a_script_brings_the_live_table_back(postgres: PostgresServer, database: str, tmp_path: Path) -> None:
    """What was inserted, updated and deleted since is taken back; the restore itself writes nothing but its file, and the diff tells all."""
    file = tmp_path / "merge.sql"
    async with recorded(database, ORDERS) as (made, _):
        then = ask(database, ALL.format("orders"))
        run(
            database,
            "UPDATE orders SET mood = NULL, \"we \"\"ird\" = E'a''; DROP TABLE orders; --\\n\\\\' WHERE id < 3",
            "DELETE FROM orders WHERE id = 4",
            "INSERT INTO orders (mood) VALUES ('sad')",
        )
        now = ask(database, ALL.format("orders"))
        shown = (await planned(made, database, excerpt=merge("orders", file), ask_target=True)).difference
        assert not file.exists()
        report = await restored(made, database, excerpt=merge("orders", file), into_source=False)
        assert ask(database, ALL.format("orders")) == now
    assert report.difference == shown
    assert shown is not None
    assert (shown.inserted, shown.updated, shown.deleted, shown.unchanged) == (1, 2, 1, 3)
    assert [(line.do, line.key) for line in shown.lines] == [
        ("delete", "id='7'"),
        ("update", "id='1'"),
        ("update", "id='2'"),
        ("insert", "id='4'"),
    ]
    assert shown.lines[1].changed["mood"] == (None, "it's ok")
    assert file.stat().st_mode & 0o777 == 0o600
    done = psql(postgres, database, file)
    assert done.returncode == 0, done.stderr
    assert ask(database, ALL.format("orders")) == then
    again = psql(postgres, database, file)
    assert again.returncode == 3
    assert "is not as it was seen" in again.stderr
    assert ask(database, ALL.format("orders")) == then


async def test_a_row_that_changed_meanwhile_is_left_alone(postgres: PostgresServer, database: str, tmp_path: Path) -> None:
    """Between reading and running somebody writes to a row, or alters the table: all of the script is rolled back."""
    file = tmp_path / "merge.sql"
    async with recorded(
        database, "CREATE TABLE t (id int PRIMARY KEY, v text, w text); INSERT INTO t VALUES (1, 'a', 'x'), (2, 'b', 'x')"
    ) as (
        made,
        _,
    ):
        run(database, "UPDATE t SET v = 'new'")
        await restored(made, database, excerpt=merge("t", file))
    for meanwhile, back, words in (
        ("UPDATE t SET w = 'later' WHERE id = 2", "UPDATE t SET w = 'x'", "id='2' is not as it was seen"),
        ("ALTER TABLE t ADD more int", "ALTER TABLE t DROP more", "columns are not those"),
    ):
        run(database, meanwhile)
        done = psql(postgres, database, file)
        assert done.returncode == 3
        assert words in done.stderr
        assert ask(database, "SELECT array_agg(v) FROM t") == ["new", "new"]
        run(database, back)
    assert psql(postgres, database, file).returncode == 0


async def test_rows_of_a_partitioned_table_by_their_key(postgres: PostgresServer, database: str, tmp_path: Path) -> None:
    """Two of its rows, and no other is told of."""
    async with recorded(database, PARTITIONED) as (made, _):
        then = ask(database, "SELECT array_agg(e::text ORDER BY id) FROM events e WHERE id IN (1, 3)")
        run(database, "DELETE FROM events WHERE id IN (1, 2)", "UPDATE events SET what = 'other' WHERE id = 3", "DELETE FROM old")
        file = tmp_path / "merge.sql"
        report = await restored(made, database, excerpt=merge("events", file, "id=1", "id=3"))
        with pytest.raises(Invalid, match="is none of its column"):
            await restored(made, database, excerpt=merge("events", tmp_path / "none", "id=x"))
    assert report.difference is not None
    assert (report.difference.inserted, report.difference.updated, report.difference.deleted) == (1, 1, 0)
    done = psql(postgres, database, file)
    assert done.returncode == 0, done.stderr
    assert ask(database, "SELECT array_agg(e::text ORDER BY id) FROM events e") == then


async def test_what_a_script_cannot_do_is_refused_first(database: str, tmp_path: Path) -> None:
    """No key, other columns, no table, a file that is there, a key that was none then, an identity that no UPDATE sets."""
    before = """CREATE TABLE keyless (id int, v int); ALTER TABLE keyless REPLICA IDENTITY FULL; INSERT INTO keyless VALUES (1, 1), (1, 2);
        CREATE TABLE other (id int PRIMARY KEY, v int); CREATE TABLE gone (id int PRIMARY KEY);
        CREATE TABLE same (id int PRIMARY KEY, v int); CREATE TABLE counted (id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY);
        INSERT INTO counted VALUES (1)"""
    file = tmp_path / "merge.sql"
    async with recorded(database, before) as (made, _):
        run(
            database,
            "ALTER TABLE other ALTER v TYPE bigint, ADD w int; DROP TABLE gone; CREATE VIEW gone AS SELECT 1 AS id",
            "DELETE FROM counted; INSERT INTO counted VALUES (1)",
        )
        for table, words in (
            ("keyless", "has no primary key"),
            ("other", "w is new; v was integer and is bigint"),
            ("gone", "is no table"),
            ("counted", "no UPDATE can set it"),
        ):
            with pytest.raises(Refused, match=words):
                await restored(made, database, excerpt=merge(table, file))
        run(database, "DELETE FROM keyless; ALTER TABLE keyless ADD PRIMARY KEY (id)")
        with pytest.raises(Refused, match="share a key"):
            await restored(made, database, excerpt=merge("keyless", file))
        run(database, "ALTER TABLE same RENAME TO former; CREATE TABLE same (id int PRIMARY KEY, v int)")
        nothing = await restored(made, database, excerpt=merge("same", file))
        assert (nothing.script, file.exists()) == ("", False)
        assert any("another table than at the point" in note for note in nothing.notes), nothing.notes
        file.write_text("mine")
        with pytest.raises(Invalid, match="is there already"):
            await restored(made, database, excerpt=merge("same", file))
    assert file.read_text() == "mine"


HOSTILE = """
CREATE SCHEMA "s"";
\\! id";
CREATE TABLE "s"";
\\! id"."t$archiver$" ("k""; --
" text PRIMARY KEY, v text, j json, b bytea, n numeric, d timestamptz, a text[]);
INSERT INTO "s"";
\\! id"."t$archiver$" SELECT E'k\\n\\\\!' || g, E'\\x1b[2J\\u202e''; COMMIT; --' || g, '{"a": "\\\\"}', '\\xff00', 'NaN', now(), ARRAY['x,"', NULL, '']
    FROM generate_series(1, 3) g;
"""


async def test_hostile_names_and_values(postgres: PostgresServer, database: str, tmp_path: Path) -> None:
    """Each row is one line of the script, nothing in it ends its quotes or acts on a terminal, and it does what it says."""
    table = '"s"";\n\\! id"."t$archiver$"'
    file = tmp_path / "merge.sql"
    rows = f"SELECT array_agg(t::text ORDER BY t::text) FROM {table} t"
    async with recorded(database, HOSTILE) as (made, _):
        then = ask(database, rows)
        run(
            database,
            f"UPDATE {table} SET v = E'\\\\''; SELECT 1/0', b = NULL, a = '{{}}' WHERE v LIKE '%1'",
            f"DELETE FROM {table} WHERE v LIKE '%2'",
        )
        run(database, f"INSERT INTO {table} VALUES (E'\\n\\\\copy', 'x')")
        await restored(made, database, excerpt=merge(table, file))
    text = file.read_text()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert [line for line in text.splitlines() if line.startswith("\\")] == []
    done = psql(postgres, database, file)
    assert done.returncode == 0, done.stderr
    assert ask(database, rows) == then


async def test_reading_the_live_table_runs_nobodys_code(database: str, mallory: str, tmp_path: Path) -> None:
    """Neither an index on a function, which the server would call to plan a query, nor a policy: those make the server refuse."""
    run(
        database,
        f"""SET ROLE {mallory};
        CREATE FUNCTION {mallory}.f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
            IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
                EXECUTE 'ALTER ROLE {mallory} CONNECTION LIMIT 77'; END IF; RETURN $1; END $$;
        CREATE TABLE {mallory}.t (id int PRIMARY KEY, v int); INSERT INTO {mallory}.t VALUES (1, 1), (2, 2);
        CREATE INDEX ON {mallory}.t (({mallory}.f(3)), ({mallory}.f(v)))""",
    )
    file = tmp_path / "merge.sql"
    async with recorded(database, "SELECT 1") as (made, _):
        run(database, f"SET ROLE {mallory}; UPDATE {mallory}.t SET v = 3 WHERE id = 1")
        run(database, f"ALTER ROLE {mallory} CONNECTION LIMIT -1")
        for rows in ((), ("id=1",)):
            report = await restored(made, database, excerpt=merge(f"{mallory}.t", file, *rows))
            file.unlink()
            assert report.difference is not None
            assert report.difference.updated == 1
        assert ask(database, f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{mallory}'") == -1
        run(database, f"ALTER TABLE {mallory}.t ENABLE ROW LEVEL SECURITY; ALTER TABLE {mallory}.t FORCE ROW LEVEL SECURITY")
        run(database, f"ALTER ROLE {mallory} LOGIN; GRANT USAGE ON SCHEMA archiver TO {mallory}")
        as_mallory = database.replace("postgres@", f"{mallory}@")
        with pytest.raises(Refused, match="row-level security"):
            await restored(made, as_mallory, excerpt=merge(f"{mallory}.t", file))
    assert not file.exists()


async def test_a_script_names_what_it_sets_off(postgres: PostgresServer, database: str, tmp_path: Path) -> None:
    """Triggers, and rows that go with those that are deleted, stand in the plan and at the head of the file; a trigger may need its path."""
    before = """CREATE TABLE t (id int PRIMARY KEY, v int, r regclass); CREATE TABLE child (t int REFERENCES t ON DELETE CASCADE); CREATE TABLE log (id int);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (NEW.id); RETURN NEW; END $$;
        CREATE TRIGGER noting AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note(); INSERT INTO t VALUES (1, 1, 'log')"""
    file = tmp_path / "merge.sql"
    async with recorded(database, before) as (made, _):
        run(database, "UPDATE t SET v = 2")
        plan = await planned(made, database, excerpt=merge("t", file))
        await restored(made, database, excerpt=merge("t", file))
    for words in ("trigger noting calls public.note", "rows of public.child refer to it"):
        assert any(words in note for note in plan.notes), plan.notes
        assert words in file.read_text()
    done = psql(postgres, database, file)
    assert done.returncode == 0, done.stderr
    assert ask(database, "SELECT count(*) FROM log") == 2
