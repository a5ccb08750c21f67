"""Code of users that the server runs although no row is written: where it reads a value, plans a query, or looks what checks imply."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import restore_to_database
from tests.integration.capture.postgres.rig import capture
from tests.integration.replay.postgres.arrange import ask, baseline, caught_up, plan, quiet, run
from tests.integration.replay.postgres.test_restore_partial import recorded, restore

pytestmark = pytest.mark.postgres(15, 18)

_TAKE_OVER = """
CREATE FUNCTION {0}.g() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE 'ALTER ROLE {1} CONNECTION LIMIT {2}'; END IF;
    RETURN true; END $$;
"""
_WRITE = """
CREATE FUNCTION {0}.g() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('COPY (SELECT 1) TO %L', current_setting('data_directory') || '/{0}'); END IF;
    RETURN true; END $$;
"""
_FUNCTION = """CREATE FUNCTION {0}.f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM {0}.g(); RETURN 1; END $$;"""
_DEFAULT = (
    _FUNCTION
    + """CREATE FUNCTION {0}.k() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM {0}.g(); RETURN 1; END $$;
    CREATE FUNCTION {0}.h(a int, b int DEFAULT {0}.k()) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN b; END $$;"""
)
_DOMAIN = """CREATE DOMAIN {0}.d AS int CHECK ({0}.g()); CREATE TYPE {0}.c AS (a {0}.d);"""
_TRIGGER = """CREATE FUNCTION {0}.tf() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER tr BEFORE INSERT ON {0}.t FOR EACH ROW WHEN (NEW.c IS DISTINCT FROM '(1)'::{0}.c) EXECUTE FUNCTION {0}.tf();"""
WAYS = {
    "default": _DOMAIN + "CREATE TABLE {0}.t (id int PRIMARY KEY, v {0}.d[] DEFAULT '{{1}}'::{0}.d[])",
    "view": _DOMAIN + "CREATE VIEW {0}.v AS SELECT '(1)'::{0}.c AS x",
    "argument": _DOMAIN + "CREATE FUNCTION {0}.h(x {0}.c DEFAULT '(1)') RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "aggregate": _DOMAIN
    + """CREATE FUNCTION {0}.sf({0}.d, int) RETURNS {0}.d LANGUAGE sql AS 'SELECT $1';
        CREATE AGGREGATE {0}.agg(int) (SFUNC = {0}.sf, STYPE = {0}.d, INITCOND = '1')""",
    "bound of a partition": _DOMAIN
    + "CREATE TABLE {0}.t (id {0}.d) PARTITION BY LIST (id); CREATE TABLE {0}.p PARTITION OF {0}.t FOR VALUES IN (1)",
    "policy": _DOMAIN + "CREATE TABLE {0}.t (id int PRIMARY KEY, c {0}.c); CREATE POLICY p ON {0}.t USING (c = '(1)'::{0}.c)",
    "index": _DOMAIN + "CREATE TABLE {0}.t (id int PRIMARY KEY, c {0}.c); CREATE INDEX ON {0}.t (id) WHERE c IS DISTINCT FROM '(1)'::{0}.c",
    "trigger": _DOMAIN + "CREATE TABLE {0}.t (id int PRIMARY KEY, c {0}.c);" + _TRIGGER,
    "check of a domain that is added later": """CREATE DOMAIN {0}.d AS int; CREATE TYPE {0}.c AS (a {0}.d);
        CREATE FUNCTION {0}.f(int, {0}.d[] DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN {0}.g(); END $$;
        ALTER DOMAIN {0}.d ADD CHECK ({0}.f(VALUE)); CREATE TABLE {0}.t (id int PRIMARY KEY, d {0}.d); INSERT INTO {0}.t VALUES (1, 1);
        CREATE POLICY p ON {0}.t USING ('(1)'::{0}.c IS NOT NULL);
        CREATE FUNCTION {0}.tf() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
        CREATE TRIGGER tr BEFORE INSERT ON {0}.t FOR EACH ROW WHEN ('(1)'::{0}.c IS NULL) EXECUTE FUNCTION {0}.tf()""",
    "operator of a domain's check": """CREATE FUNCTION {0}.f(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN {0}.g(); END $$;
        CREATE OPERATOR {0}.<< (FUNCTION = {0}.f, LEFTARG = int, RIGHTARG = int);
        CREATE DOMAIN {0}.d AS int CHECK (VALUE OPERATOR({0}.<<) 2);
        CREATE TABLE {0}.t (id int PRIMARY KEY, v {0}.d[] DEFAULT '{{1}}'::{0}.d[])""",
    "foreign key beside an index": _FUNCTION
    + """CREATE TABLE {0}.a (id int PRIMARY KEY, v int); CREATE TABLE {0}.t (id int PRIMARY KEY REFERENCES {0}.a);
        CREATE INDEX ON {0}.a (v) WHERE {0}.f(1) = 1; INSERT INTO {0}.a VALUES (1); INSERT INTO {0}.t VALUES (1)""",
    "foreign key of a partitioned table": _FUNCTION
    + """CREATE TABLE {0}.a (id int PRIMARY KEY, v int); CREATE TABLE {0}.t (id int PRIMARY KEY REFERENCES {0}.a) PARTITION BY RANGE (id);
        CREATE TABLE {0}.p PARTITION OF {0}.t FOR VALUES FROM (0) TO (9); CREATE STATISTICS {0}.s ON (v + {0}.f(1)) FROM {0}.a;
        INSERT INTO {0}.a VALUES (1); INSERT INTO {0}.t VALUES (1)""",
    "foreign key over a cast": """CREATE TYPE {0}.e AS ENUM ('x');
        CREATE FUNCTION {0}.f({0}.e) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM {0}.g(); RETURN 1; END $$;
        CREATE CAST ({0}.e AS int) WITH FUNCTION {0}.f({0}.e) AS IMPLICIT; CREATE TABLE {0}.a (id int PRIMARY KEY);
        CREATE TABLE {0}.t (id int PRIMARY KEY, e {0}.e REFERENCES {0}.a); INSERT INTO {0}.a VALUES (1); INSERT INTO {0}.t VALUES (1, 'x')""",
    "index that is attached": _FUNCTION
    + """CREATE TABLE {0}.t (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
        CREATE TABLE {0}.p PARTITION OF {0}.t FOR VALUES FROM (0) TO (9); CREATE INDEX ON {0}.t ((v + {0}.f(1)));
        INSERT INTO {0}.t VALUES (1, 1)""",
    "partition that is attached": _FUNCTION
    + """CREATE TABLE {0}.t (id int, v int) PARTITION BY RANGE (id); CREATE TABLE {0}.p (id int, v int, CHECK ({0}.f(1) = 1));
        ALTER TABLE {0}.t ATTACH PARTITION {0}.p FOR VALUES FROM (0) TO (9); INSERT INTO {0}.t VALUES (1, 1)""",
    "partition beside the default": _FUNCTION
    + """CREATE TABLE {0}.t (id int, v int) PARTITION BY RANGE (id); CREATE TABLE {0}.a (id int, v int, CHECK ({0}.f(1) = 1));
        ALTER TABLE {0}.t ATTACH PARTITION {0}.a DEFAULT; CREATE TABLE {0}.p PARTITION OF {0}.t FOR VALUES FROM (0) TO (9);
        INSERT INTO {0}.t VALUES (1, 1)""",
    "generated column": _FUNCTION
    + """CREATE TABLE {0}.t (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id + {0}.f(1)) STORED); INSERT INTO {0}.t VALUES (1)""",
    "generated column over a function whose arguments have names": """CREATE TYPE {0}.a AS (x int);
        CREATE FUNCTION {0}.f("Ü x" int, b {0}.a[] DEFAULT NULL) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN PERFORM {0}.g(); RETURN 1; END $$;
        CREATE TABLE {0}.t (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id + {0}.f(1, NULL)) STORED); INSERT INTO {0}.t VALUES (1)""",
    "generated column over an operator": _FUNCTION
    + """CREATE OPERATOR {0}.@@@ (FUNCTION = {0}.f, RIGHTARG = int);
        CREATE TABLE {0}.t (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id + (OPERATOR({0}.@@@) 1)) STORED); INSERT INTO {0}.t VALUES (1)""",
    "generated column of a foreign table": _FUNCTION
    + "CREATE FOREIGN TABLE {0}.t (id int, v int GENERATED ALWAYS AS (id + {0}.f(1)) STORED) SERVER {1}",
    "generated column over what stands for an argument": _DEFAULT
    + "CREATE TABLE {0}.t (id int PRIMARY KEY, v int GENERATED ALWAYS AS ({0}.h(id)) STORED); INSERT INTO {0}.t VALUES (1)",
    "key over what stands for an argument": _DEFAULT
    + """CREATE TABLE {0}.t (id int, v int) PARTITION BY RANGE ({0}.h(id));
        CREATE TABLE {0}.p PARTITION OF {0}.t FOR VALUES FROM (0) TO (9); INSERT INTO {0}.t VALUES (1, 1)""",
    "domain over what stands for an argument": _DEFAULT
    + """CREATE DOMAIN {0}.d AS int CHECK ({0}.h(VALUE) > 0);
        CREATE TABLE {0}.t (id int PRIMARY KEY, v {0}.d[] DEFAULT '{{1}}'::{0}.d[])""",
    "key of a partitioned table": _FUNCTION
    + """CREATE TABLE {0}.t (id int, v int) PARTITION BY RANGE ((id + {0}.f(1)));
        CREATE TABLE {0}.p PARTITION OF {0}.t FOR VALUES FROM (0) TO (9); INSERT INTO {0}.t VALUES (1, 1)""",
    "trigger beside the key of a partitioned table": _FUNCTION
    + """CREATE TABLE {0}.t (id int, v int) PARTITION BY RANGE ((id + {0}.f(1)));
        CREATE TABLE {0}.p PARTITION OF {0}.t FOR VALUES FROM (0) TO (9); INSERT INTO {0}.t VALUES (1, 1); CREATE INDEX ON {0}.t (v);
        CREATE FUNCTION {0}.tf() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
        CREATE TRIGGER tr BEFORE INSERT ON {0}.t FOR EACH ROW EXECUTE FUNCTION {0}.tf(); ALTER TABLE {0}.t DISABLE TRIGGER tr;
        CREATE TABLE {0}.a (id int PRIMARY KEY); INSERT INTO {0}.a VALUES (1); ALTER TABLE {0}.t ADD FOREIGN KEY (v) REFERENCES {0}.a""",
}
"""Made by the role whose schema it is; ``g`` takes over where it has the rights for it."""
_XML = {
    "check that runs SQL": """CREATE TABLE {0}.t (id int PRIMARY KEY CHECK (query_to_xml('SELECT {0}.g()', true, true, '') IS NOT NULL));
        INSERT INTO {0}.t VALUES (1)""",
    "check that reads a view": """CREATE VIEW {0}.v AS SELECT {0}.g(); CREATE TABLE {0}.t (id int PRIMARY KEY,
        CHECK (table_to_xml('{0}.v', true, true, '') IS NOT NULL)); INSERT INTO {0}.t VALUES (1)""",
    "check of a domain that runs SQL": """CREATE DOMAIN {0}.d AS int CHECK (query_to_xml('SELECT {0}.g()', true, true, '') IS NOT NULL);
        CREATE TABLE {0}.t (id {0}.d PRIMARY KEY); CREATE VIEW {0}.v AS SELECT '{{1}}'::{0}.d[]; INSERT INTO {0}.t VALUES (1)""",
}


async def test_nobody_gets_the_restorers_rights(database: str, target_database: str, tmp_path: Path, mallory: str) -> None:
    """Each way by itself: whichever gives the role rights names itself. All of it comes back."""
    ways = {**WAYS, **(_XML if _knows_xml(database) else {})}
    run(database, f"CREATE FOREIGN DATA WRAPPER {mallory}; CREATE SERVER {mallory} FOREIGN DATA WRAPPER {mallory}")
    run(database, f"GRANT USAGE ON FOREIGN SERVER {mallory} TO {mallory}")
    for number, statements in enumerate(ways.values()):
        schema = f"{mallory}_{number}"
        run(database, f"CREATE SCHEMA {schema} AUTHORIZATION {mallory}")
        run(database, f"SET ROLE {mallory}; {(_TAKE_OVER + statements).format(schema, mallory, 100 + number)}")
    limit = f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{mallory}'"
    run(database, f"ALTER ROLE {mallory} CONNECTION LIMIT -1")
    async with recorded(database, "SELECT 1") as (made, planned):
        assert ask(database, limit) == -1, "capture ran it"
        report = await restore(made, planned, target_database, tmp_path)
    found = int(str(ask(database, limit)))
    assert found == -1, list(ways)[found - 100]
    assert report.problems == []
    assert ask(target_database, "SELECT count(*) FROM pg_proc WHERE prosecdef AND oid >= 16384") == 0
    unsure = "SELECT count(*) FROM pg_constraint WHERE NOT convalidated"
    assert ask(target_database, unsure) == ask(database, unsure)


async def test_a_sequence_is_set_with_the_rights_of_its_tables_owner(database: str, target_database: str, mallory: str) -> None:
    """Its column is asked for the greatest value where readings of the sequence differ."""
    made_by = (_TAKE_OVER + _FUNCTION).format(mallory, mallory, 100)
    run(database, f"SET ROLE {mallory}; {made_by} CREATE TABLE {mallory}.t (id serial PRIMARY KEY, v int)")
    run(database, f"SET ROLE {mallory}; CREATE INDEX ON {mallory}.t (v) WHERE {mallory}.f(1) = 1; INSERT INTO {mallory}.t (v) VALUES (1)")
    limit = f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{mallory}'"
    async with capture(database, f"archiver_{mallory}", poll_seconds=0.3) as made:
        await baseline(made)
        await quiet(made, database)
        run(database, f"SET ROLE {mallory}; INSERT INTO {mallory}.t (v) SELECT 1 FROM generate_series(1, 9)")
        point = await caught_up(made, database)
        run(database, f"SET ROLE {mallory}; INSERT INTO {mallory}.t (v) SELECT 1 FROM generate_series(1, 9)")
        await quiet(made, database)
        await made.stop()
        planned = await plan(made, point)
        assert ask(database, limit) == -1
        report = await restore_to_database(planned, Reader(made.store), made.store, target_database)
    assert ask(database, limit) == -1
    assert report.sequences == 1
    assert int(str(ask(target_database, f"SELECT nextval('{mallory}.t_id_seq')"))) >= 11


@pytest.mark.parametrize("jobs", [1, 3])
async def test_rows_of_a_superuser_that_name_anothers(database: str, target_database: str, tmp_path: Path, mallory: str, jobs: int) -> None:
    """A foreign key of a superuser's table is checked by a query on the other's, before that has the indexes that call code."""
    made_by = (_TAKE_OVER + _FUNCTION).format(mallory, mallory, 100)
    run(database, f"SET ROLE {mallory}; {made_by} CREATE TABLE {mallory}.a (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)")
    run(database, f"SET ROLE {mallory}; CREATE TABLE {mallory}.p PARTITION OF {mallory}.a FOR VALUES FROM (0) TO (9)")
    run(database, f"SET ROLE {mallory}; CREATE INDEX i ON {mallory}.a (v) WHERE {mallory}.f(1) = 1; INSERT INTO {mallory}.a VALUES (1)")
    run(
        database,
        f"SET ROLE {mallory}; COMMENT ON INDEX {mallory}.i IS 'kept'; CREATE STATISTICS {mallory}.s ON (v + {mallory}.f(1)) FROM {mallory}.p",
    )
    run(database, f"CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t VALUES (1); ALTER ROLE {mallory} CONNECTION LIMIT -1")
    run(database, f"ALTER TABLE public.t ADD FOREIGN KEY (id) REFERENCES {mallory}.a NOT VALID")
    run(database, "UPDATE pg_constraint SET convalidated = true WHERE NOT convalidated")
    run(database, f"ALTER ROLE {mallory} CONNECTION LIMIT -1")
    async with recorded(database, "SELECT 1") as (made, planned):
        report = await restore(made, planned, target_database, tmp_path, strict=True, jobs=jobs)
    assert ask(database, f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{mallory}'") == -1
    assert report.problems == []
    indexes = "SELECT count(*) FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indpred IS NOT NULL AND indisvalid"
    assert ask(target_database, indexes) == ask(database, indexes) == 2
    assert ask(target_database, f"SELECT obj_description('{mallory}.i'::regclass)") == "kept"


@pytest.mark.parametrize("jobs", [1, 3])
async def test_rows_of_a_superuser_that_name_one_that_is_refused(
    database: str, target_database: str, tmp_path: Path, mallory: str, jobs: int
) -> None:
    """The foreign key fails at first. It is not checked again once the other table has the indexes that call code: a failure undoes no files."""
    made_by = (_WRITE + _FUNCTION).format(mallory)
    run(database, f"SET ROLE {mallory}; {made_by} CREATE TABLE {mallory}.a (id int PRIMARY KEY, v int)")
    run(database, f"INSERT INTO {mallory}.a VALUES (1); CREATE TABLE public.t (id int PRIMARY KEY REFERENCES {mallory}.a)")
    run(database, f"INSERT INTO public.t VALUES (1); SET ROLE {mallory}; CREATE INDEX i ON {mallory}.a (v) WHERE {mallory}.f(1) = 1")
    here = ask(database, "SELECT current_database()")
    refusing = f"SELECT 1 / (current_database() = '{here}')::int"
    run(database, f"SET ROLE {mallory}; CREATE FUNCTION {mallory}.h(int) RETURNS int LANGUAGE sql IMMUTABLE AS $${refusing}$$")
    run(database, f"SET ROLE {mallory}; ALTER TABLE {mallory}.a ADD w int GENERATED ALWAYS AS ({mallory}.h(id)) STORED")
    async with recorded(database, "SELECT 1") as (made, planned):
        report = await restore(made, planned, target_database, tmp_path, jobs=jobs)
    assert ask(database, f"SELECT pg_stat_file('{mallory}', true) IS NULL") is True
    assert ask(target_database, "SELECT convalidated FROM pg_constraint WHERE conrelid = 'public.t'::regclass AND contype = 'f'") is False
    assert any("NOT VALID" in item.reason for item in report.left_out)
    assert ask(target_database, f"SELECT indisvalid FROM pg_index WHERE indexrelid = '{mallory}.i'::regclass") is True


async def test_a_foreign_key_is_not_checked_beside_code_that_rows_brought(
    database: str, target_database: str, tmp_path: Path, mallory: str
) -> None:
    """Functions that run while rows are written may make statistics of another table of their owner's: an order holds nobody off."""
    run(database, f"SET ROLE {mallory}; {(_WRITE + _FUNCTION).format(mallory)} CREATE TABLE {mallory}.a (id int PRIMARY KEY, v int)")
    run(database, f"INSERT INTO {mallory}.a VALUES (1); CREATE TABLE public.t (id int PRIMARY KEY REFERENCES {mallory}.a)")
    run(database, "INSERT INTO public.t VALUES (1)")
    run(database, f"CREATE TABLE public.p (id int REFERENCES {mallory}.a) PARTITION BY RANGE (id)")
    run(database, "CREATE TABLE public.p_1 PARTITION OF public.p FOR VALUES FROM (0) TO (9); INSERT INTO public.p VALUES (1)")
    making = f"CREATE STATISTICS {mallory}.s ON (v + {mallory}.f(1)) FROM {mallory}.a"
    beside = f"IF current_database() <> '{ask(database, 'SELECT current_database()')}' THEN {making}; END IF;"
    run(database, f"SET ROLE {mallory}; CREATE FUNCTION {mallory}.i() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {beside} END $$")
    run(
        database,
        f"SET ROLE {mallory}; CREATE FUNCTION {mallory}.h(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
        f" $$ BEGIN PERFORM {mallory}.i(); RETURN 1; END $$",
    )
    run(database, f"SET ROLE {mallory}; CREATE TABLE {mallory}.b (id int PRIMARY KEY, w int GENERATED ALWAYS AS ({mallory}.h(id)) STORED)")
    run(database, f"SET ROLE {mallory}; INSERT INTO {mallory}.b VALUES (1)")
    async with recorded(database, "SELECT 1") as (made, planned):
        report = await restore(made, planned, target_database, tmp_path)
    assert ask(target_database, f"SELECT count(*) FROM pg_statistic_ext WHERE stxrelid = '{mallory}.a'::regclass") == 1
    assert ask(database, f"SELECT pg_stat_file('{mallory}', true) IS NULL") is True
    assert sorted(item.name for item in report.left_out) == ["FK CONSTRAINT public.p p_id_fkey", "FK CONSTRAINT public.t t_id_fkey"]
    assert ask(target_database, "SELECT count(*) FROM pg_constraint WHERE conname = 't_id_fkey' AND NOT convalidated") == 1


async def test_nobody_gets_the_restorers_rights_by_errors(database: str, target_database: str, tmp_path: Path, mallory: str) -> None:
    """What names nothing that is found is tried in its maker's search_path, and with its owner's rights still."""
    run(database, f"SET ROLE {mallory}; {_WRITE.format(mallory)} CREATE TYPE {mallory}.e AS ENUM ('x')")
    missing = "RAISE undefined_function" + f" USING MESSAGE = current_database(); END IF; PERFORM {mallory}.g(); RETURN 1; END"
    here = ask(database, "SELECT current_database()")
    plain = f"current_database() <> '{here}' AND current_setting('search_path') !~ '{mallory}'"
    run(
        database,
        f"SET ROLE {mallory}; CREATE FUNCTION {mallory}.f({mallory}.e) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
        f" $$ BEGIN IF {plain} THEN {missing} $$; CREATE CAST ({mallory}.e AS int) WITH FUNCTION {mallory}.f({mallory}.e) AS IMPLICIT",
    )
    run(database, f"SET ROLE {mallory}; CREATE TABLE {mallory}.a (id int PRIMARY KEY); INSERT INTO {mallory}.a VALUES (1)")
    run(
        database,
        f"SET ROLE {mallory}; CREATE TABLE {mallory}.t (id int PRIMARY KEY, e {mallory}.e REFERENCES {mallory}.a);"
        f" INSERT INTO {mallory}.t VALUES (1, 'x')",
    )
    async with recorded(database, "SELECT 1") as (made, planned):
        report = await restore(made, planned, target_database, tmp_path)
    assert ask(database, f"SELECT pg_stat_file('{mallory}', true) IS NULL") is True
    assert report.problems == []
    assert ask(target_database, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated") == 1


def _knows_xml(dsn: str) -> bool:
    try:
        return bool(ask(dsn, "SELECT '<a/>'::xml IS NOT NULL"))
    except psycopg.errors.FeatureNotSupported:
        return False
