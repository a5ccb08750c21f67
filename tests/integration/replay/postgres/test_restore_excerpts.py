"""One table, one schema or some rows in a new schema beside what lives: exact, tied to nothing that lives, and nobody's code is run."""

from __future__ import annotations

from collections import Counter

import pytest

from archiver.clock import SystemClock
from archiver.errors import Corrupt, Invalid, Refused
from archiver.journal.reader import Reader
from archiver.maintenance.folding import fold_database
from archiver.store.memory import MemoryStore
from tests.integration.capture.postgres.rig import SOURCE, capture
from tests.integration.replay.postgres.arrange import ask, baseline, quiet, run
from tests.integration.replay.postgres.excerpts import beside, planned, restored
from tests.integration.replay.postgres.test_restore_partial import recorded
from tests.servers.postgres import PostgresServer, has_vector

pytestmark = pytest.mark.postgres(18)

ORDERS = """
CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'glad');
CREATE TYPE place AS (street text, number int);
CREATE DOMAIN percent AS numeric(5, 2) CHECK (VALUE BETWEEN 0 AND 100);
CREATE TABLE customers (id int PRIMARY KEY);
INSERT INTO customers VALUES (1);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    serial serial,
    customer int NOT NULL REFERENCES customers DEFAULT 1,
    "we ""ird" text DEFAULT 'x',
    mood mood,
    moods mood[],
    place place,
    share percent,
    shares percent[],
    big text,
    twice bigint GENERATED ALWAYS AS (customer * 2) STORED,
    at timestamptz(3),
    code char(5),
    bits bit(3)
);
CREATE INDEX ON orders (mood);
ALTER TABLE orders ALTER big SET STORAGE EXTERNAL;
CREATE FUNCTION live() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a trigger of the live table ran'; END $$;
INSERT INTO orders ("we ""ird", mood, moods, place, share, shares, big, at, code, bits) SELECT E'a\\tb\\\\' || g, 'it''s ok', '{sad,glad}',
    ROW('O''Connell, "St"', g)::place, 12.5, '{1,2}', repeat(md5(g::text), 500), '2026-01-01 10:05:00.123+02', 'ab', '101'
    FROM generate_series(1, 5) g;
INSERT INTO orders (big) VALUES (NULL);
"""
AS_IT_WAS = """SELECT array_agg(ROW(id, serial, customer, "we ""ird", mood, moods, place, share::numeric(5, 2), shares::text, big, at, code, bits)::text
 ORDER BY id) FROM {}"""


@pytest.mark.postgres(15, 16, 18)
async def test_one_table_beside_the_living_one(database: str) -> None:
    """Rows, types and key are those of the point; TOASTed values that updates left alone are there. Nothing of it is tied to what lives."""
    after = 'UPDATE orders SET "we ""ird" = NULL WHERE id < 3; DELETE FROM orders WHERE id = 5'
    async with recorded(database, ORDERS, after) as (made, _):
        expected = ask(database, AS_IT_WAS.format("orders"))
        run(database, "CREATE TRIGGER t BEFORE INSERT ON orders EXECUTE FUNCTION live()", "TRUNCATE orders")
        report = await restored(made, database, excerpt=beside("orders"))
    assert ask(database, AS_IT_WAS.format("restored.orders")) == expected
    assert [(table.schema, table.name, table.rows) for table in report.tables] == [("restored", "orders", 5)]
    # What it depends on: its schema, and types that are not the server's own.
    ties = ask(
        database,
        "SELECT array_agg(DISTINCT d.refclassid::regclass::text || ' ' || coalesce(t.typname, '')) FROM pg_depend d"
        " LEFT JOIN pg_type t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid"
        " WHERE d.classid = 'pg_class'::regclass AND d.objid = 'restored.orders'::regclass AND d.refobjid <> d.objid",
    )
    assert sorted(ties) == ["pg_namespace ", "pg_type _mood", "pg_type mood", "pg_type place"]  # type: ignore[call-overload]
    for catalog in ("pg_attrdef WHERE adrelid", "pg_trigger WHERE tgrelid"):
        assert ask(database, f"SELECT count(*) FROM {catalog} = 'restored.orders'::regclass") == 0
    assert ask(database, "SELECT count(*) FROM pg_constraint WHERE conrelid = 'restored.orders'::regclass AND contype <> 'n'") == 1
    assert ask(
        database, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'restored.orders'::regclass AND contype = 'p'"
    )
    said = "\n".join([*report.notes, *report.not_included])
    for words in (
        "orders.share comes as numeric(5,2)",
        "orders.shares comes as text",
        "generated columns of public.orders: twice",
        "drop it",
    ):
        assert words in said, said


async def test_rows_by_their_key_and_another_database(database: str, target_database: str) -> None:
    """Only rows with these values; where a type is not there the values come as text, and that is said."""
    async with recorded(database, ORDERS) as (made, _):
        report = await restored(made, target_database, excerpt=beside("orders", rows=["id=2", "id = 4", "id=99"]), into_source=False)
        with pytest.raises(Invalid, match="is not of the key"):
            await planned(made, target_database, excerpt=beside("orders", rows=["customer=1"]))
    assert ask(target_database, "SELECT array_agg(id ORDER BY id) FROM restored.orders") == [2, 4]
    assert ask(target_database, "SELECT mood || ' ' || place FROM restored.orders WHERE id = 2") == 'it\'s ok ("O\'Connell, ""St""",2)'
    assert any("mood comes as text: the target has no type public.mood" in note for note in report.notes), report.notes


HOSTILE = """
CREATE SCHEMA "sch""ema; DROP TABLE x --";
CREATE TABLE "sch""ema; DROP TABLE x --"."ta'ble"");
" (id int PRIMARY KEY, "col,\\umn'"" int" text, "select" int);
CREATE TABLE "sch""ema; DROP TABLE x --".nothing ();
CREATE TABLE "sch""ema; DROP TABLE x --".keyless (a int); ALTER TABLE "sch""ema; DROP TABLE x --".keyless REPLICA IDENTITY FULL;
INSERT INTO "sch""ema; DROP TABLE x --".keyless VALUES (1), (1), (NULL);
INSERT INTO "sch""ema; DROP TABLE x --"."ta'ble"");
" VALUES (1, E'\\\\.', 2), (2, E'\\n', NULL);
"""


async def test_a_whole_schema_with_hostile_names(database: str) -> None:
    """Every table of it, under the names that they had, in a schema whose name is no better."""
    schema, into = 'sch"ema; DROP TABLE x --', "re\"st'; --"
    async with recorded(database, HOSTILE) as (made, _):
        report = await restored(made, database, excerpt=beside(schemas=[schema], into=into))
    assert sorted(table.name for table in report.tables) == ["keyless", "nothing", "ta'ble\");\n"]
    names = [name.replace('"', '""') for name in (schema, into)]
    for table in ("keyless", 'ta\'ble"");\n'):
        then, now = (ask(database, f'SELECT array_agg(t::text ORDER BY t::text) FROM "{name}"."{table}" t') for name in names)
        assert then == now
    assert (
        ask(
            database,
            f"SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('\"{names[1].replace(chr(39), chr(39) * 2)}\"') AND relkind = 'r'",
        )
        == 3
    )


PARTITIONED = """
CREATE TABLE events (id int, at date, what text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE old (what text, dropped int, at date NOT NULL, id int NOT NULL); ALTER TABLE old DROP dropped;
ALTER TABLE events ATTACH PARTITION old FOR VALUES FROM ('2020-01-01') TO ('2025-01-01');
CREATE TABLE recent PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2030-01-01') PARTITION BY LIST (id);
CREATE TABLE recent_a PARTITION OF recent FOR VALUES IN (2); CREATE TABLE recent_rest PARTITION OF recent DEFAULT;
INSERT INTO events VALUES (1, '2021-01-01', 'x'), (2, '2026-01-01', 'a'), (3, '2026-01-02', 'b'), (4, '2022-01-01', 'gone');
"""


async def test_a_partitioned_table_is_one_table(database: str) -> None:
    """With the rows of all partitions at any depth, whatever the order of their columns; a partition can be asked for alone."""
    async with recorded(database, PARTITIONED, "DELETE FROM events WHERE id = 4; UPDATE events SET at = '2026-05-05' WHERE id = 1") as (
        made,
        _,
    ):
        await restored(made, database, excerpt=beside("events"))
        await restored(made, database, excerpt=beside("recent_rest", into="part"))
        report = await restored(made, database, excerpt=beside(schemas=["public"], into="whole"))
    rows = "SELECT array_agg(ROW(id, at, what)::text ORDER BY id) FROM {}"
    assert ask(database, rows.format("restored.events")) == ask(database, rows.format("public.events"))
    assert ask(database, rows.format("part.recent_rest")) == ask(database, rows.format("public.recent_rest"))
    assert [table.name for table in report.tables] == ["events"]
    assert ask(database, "SELECT count(*) FROM pg_class WHERE relnamespace = 'restored'::regnamespace AND relkind = 'p'") == 0


async def test_nothing_is_touched_where_it_is_refused(database: str) -> None:
    """The captured database without a word, a schema that is there, a table that is not, a name that the server would change."""
    async with recorded(database, ORDERS) as (made, _):
        for asked, into_source, words in (
            (beside("orders"), False, "captured database itself"),
            (beside("orders", into="public"), True, "has a schema public already"),
            (beside("order"), True, "did you mean public.orders"),
        ):
            with pytest.raises((Refused, Invalid), match=words):
                await restored(made, database, excerpt=asked, into_source=into_source)
        plan = await planned(made, database, excerpt=beside("orders"), into_source=True)
        assert plan.refusal is None
        for name in ("pg_restored", "x" * 64):
            with pytest.raises(Invalid):
                beside("orders", into=name)
    assert ask(database, "SELECT count(*) FROM pg_class WHERE relname = 'orders'") == 1


async def test_a_type_that_changed_since(database: str) -> None:
    """A label that is called otherwise now is no reason to restore nothing: the column comes as text, and that is said."""
    async with recorded(database, ORDERS) as (made, _):
        run(database, "ALTER TYPE mood RENAME VALUE 'it''s ok' TO 'fine'")
        report = await restored(made, database, excerpt=beside("orders"))
    assert ask(database, "SELECT count(*) FROM restored.orders WHERE mood::text = 'it''s ok'") == 5
    assert any("orders.mood came as text" in note for note in report.notes), report.notes


ROLE = "SELECT rolconnlimit FROM pg_roles WHERE rolname = '{}'"
CODE = """
CREATE FUNCTION {0}.f(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE {0} CONNECTION LIMIT 77'; END IF;
    RETURN true; END $$;
CREATE DOMAIN {0}.d AS int CHECK ({0}.f(VALUE));
CREATE TYPE {0}.c AS (a {0}.d);
CREATE TABLE {0}.t (id int PRIMARY KEY, d {0}.d, c {0}.c, ds {0}.d[] CHECK ({0}.f(1)));
CREATE FUNCTION {0}.trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM {0}.f(1); RETURN NEW; END $$;
CREATE TRIGGER a BEFORE INSERT OR UPDATE ON {0}.t FOR EACH ROW EXECUTE FUNCTION {0}.trigger();
INSERT INTO {0}.t VALUES (1, 1, ROW(1), '{{1}}');
ALTER TABLE {0}.t ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON {0}.t USING ({0}.f(1));
"""


async def test_nobodys_code_runs(database: str, mallory: str) -> None:
    """Neither checks of domains nor triggers, checks, policies; only event triggers do, which cannot be avoided, and they are named first."""
    run(database, f"SET ROLE {mallory}; {CODE.format(mallory)}")
    async with recorded(database, "SELECT 1") as (made, _):
        report = await restored(made, database, excerpt=beside(f"{mallory}.t"))
        plan = await planned(made, database, excerpt=beside(f"{mallory}.t", into="other"), into_source=True)
    assert ask(database, ROLE.format(mallory)) == -1
    assert ask(database, "SELECT (d, c, ds)::text FROM restored.t") == '(1,"(1)",{1})'
    assert report.tables[0].rows == 1
    assert any(note.startswith("event trigger archiver") for note in plan.notes), plan.notes


async def test_nobody_else_may_read_it(database: str, mallory: str) -> None:
    """The live table's policies do not come along, so default privileges of the role give nothing away."""
    run(
        database,
        f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {mallory}, PUBLIC; ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO PUBLIC",
    )
    async with recorded(database, "CREATE TABLE t (id int PRIMARY KEY)") as (made, _):
        await restored(made, database, excerpt=beside("t"))
        # Whoever may make a schema and connect needs no more rights than that.
        run(database, f"ALTER ROLE {mallory} LOGIN")
        with pytest.raises(Refused, match="may not make a schema"):
            await restored(made, database.replace("postgres@", f"{mallory}@"), excerpt=beside("t", into=f"{mallory}_2"))
        run(database, f"GRANT CREATE ON DATABASE {database.rpartition('/')[2]} TO {mallory}")
        await restored(made, database.replace("postgres@", f"{mallory}@"), excerpt=beside("t", into=f"{mallory}_2"))
    assert ask(database, f"SELECT has_schema_privilege('{mallory}', 'restored', 'USAGE')") is False
    assert ask(database, f"SELECT has_table_privilege('{mallory}', 'restored.t', 'SELECT')") is False


async def test_a_gap_of_another_table_is_no_matter(database: str, target_database: str) -> None:
    """What is not known of others does not stop it; what is not known of the table itself does, as in any restore."""
    run(
        database,
        "CREATE TABLE good (id int PRIMARY KEY); CREATE TABLE bad (v int); INSERT INTO good VALUES (1); INSERT INTO bad VALUES (1)",
    )
    async with capture(database, f"archiver_{database.rpartition('/')[2]}", poll_seconds=0.3, insert_only_snapshot_seconds=3600) as made:
        await baseline(made)
        await quiet(made, database)
        run(database, "INSERT INTO bad VALUES (2)", "INSERT INTO good VALUES (2)")
        await quiet(made, database)
        await made.stop()
        good = await planned(made, target_database, excerpt=beside("good"))
        bad = await planned(made, target_database, excerpt=beside("bad"))
    assert good.doubts == []
    assert len(bad.doubts) == 1
    assert "public.bad" in bad.doubts[0]


async def test_columns_of_extensions(postgres: PostgresServer, database: str, target_database: str) -> None:
    """They keep their type where the target has it, and are text where it has not."""
    assert has_vector(18)
    made_by = "CREATE EXTENSION vector; CREATE TABLE t (id int PRIMARY KEY, v vector(3)); INSERT INTO t VALUES (1, '[1,2,3]')"
    async with recorded(database, made_by) as (made, _):
        await restored(made, database, excerpt=beside("t"))
        await restored(made, target_database, excerpt=beside("t"))
    column = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'restored.t'::regclass AND attname = 'v'"
    assert (ask(database, column), ask(target_database, column)) == ("vector(3)", "text")
    assert ask(target_database, "SELECT v FROM restored.t") == "[1,2,3]"
    del postgres


TWO = "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)"


async def test_what_fails_half_way_leaves_nothing(database: str) -> None:
    """The rows of the second table are gone from the store: neither the schema nor the first table is there."""
    async with recorded(database, TWO) as (made, _):
        plan = await planned(made, database, excerpt=beside("b"), into_source=True)
        [part] = [part for table in plan.material.checkpoint.tables if table.name == "b" for part in table.parts]
        await made.store.delete(part.key)
        with pytest.raises(Corrupt, match=r"rows of public\.b"):
            await restored(made, database, excerpt=beside("a", "b"))
        assert ask(database, "SELECT to_regnamespace('restored') IS NULL") is True
        await restored(made, database, excerpt=beside("a"))


class MeteredStore(MemoryStore):
    """Knows how many bytes it gave away, by the first level of the key."""

    def __init__(self) -> None:
        super().__init__()
        self.given: Counter[str] = Counter()

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        found = await super().get(key, start, length)
        self.given[key.partition("/")[0]] += len(found or b"")
        return found


async def test_only_its_own_rows_are_read(database: str) -> None:
    """From a checkpoint: the table's parts and nothing of others'; all that is read beside the shared tail is at most 1.2 times those."""
    run(
        database,
        "CREATE TABLE mine (id int PRIMARY KEY, v text); CREATE TABLE others (id int PRIMARY KEY, v text)",
        "INSERT INTO mine SELECT g, md5(g::text) FROM generate_series(1, 5000) g",
        "INSERT INTO others SELECT g, md5(g::text) FROM generate_series(1, 40000) g",
    )
    store = MeteredStore()
    async with capture(database, f"archiver_{database.rpartition('/')[2]}", store) as made:
        await baseline(made)
        run(database, "UPDATE others SET v = 'x' WHERE id < 100; UPDATE mine SET v = 'y' WHERE id < 10")
        await quiet(made, database)
        await made.stop()
        reader = Reader(store)
        await fold_database(reader, SystemClock(), SOURCE, until=await reader.last())
        plan = await planned(made, database, excerpt=beside("mine"), into_source=True)
        store.given.clear()
        report = await restored(made, database, excerpt=beside("mine"))
    assert plan.plan.checkpoint.key, "it begins with a folded checkpoint"
    own = plan.plan.checkpoint.size
    assert report.read.rows == own
    assert store.given["parts"] == own
    assert store.given["parts"] + store.given["checkpoints"] <= 1.2 * own, (store.given, own)
    assert ask(database, "SELECT count(*) FROM restored.mine r JOIN mine m USING (id, v)") == 5000
