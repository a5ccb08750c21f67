"""Constraints that a dump adds after the rows, and whatever else the server would run with the rights of whoever restores."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.replay.postgres.arrange import ask, run
from tests.integration.replay.postgres.test_restore_partial import recorded, restore

pytestmark = pytest.mark.postgres(15, 18)

_TAKE_OVER = """
CREATE FUNCTION {0}.g() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE {0} SUPERUSER'; END IF;
    RETURN true; END $$;
"""
WAYS = {
    "check of the whole row": """CREATE TABLE {0}.t (id int PRIMARY KEY);
        CREATE FUNCTION {0}.f({0}.t) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN {0}.g(); END $$;
        ALTER TABLE {0}.t ADD CHECK ({0}.f(t.*)); INSERT INTO {0}.t VALUES (1)""",
    "domain that is altered": """CREATE DOMAIN {0}.d AS int; CREATE TABLE {0}.t (id int PRIMARY KEY, d {0}.d);
        CREATE FUNCTION {0}.f(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN {0}.g(); END $$;
        ALTER DOMAIN {0}.d ADD CHECK ({0}.f(VALUE)); INSERT INTO {0}.t VALUES (1, 1)""",
    "check of another table's row": """CREATE TABLE {0}.a (id int PRIMARY KEY); CREATE TABLE {0}.t (id int PRIMARY KEY);
        CREATE FUNCTION {0}.f(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 FROM {0}.a; RETURN {0}.g(); END $$;
        ALTER TABLE {0}.t ADD CHECK ({0}.f(id)); INSERT INTO {0}.t VALUES (1)""",
    "partition with a check of its own": """CREATE TABLE {0}.t (id int, v int) PARTITION BY RANGE (id);
        CREATE TABLE {0}.p PARTITION OF {0}.t FOR VALUES FROM (0) TO (9);
        CREATE FUNCTION {0}.f({0}.p) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN {0}.g(); END $$;
        ALTER TABLE {0}.p ADD CHECK ({0}.f(p.*)); INSERT INTO {0}.t VALUES (1, 1)""",
    "exclusion": """CREATE TABLE {0}.t (id int PRIMARY KEY, v int);
        CREATE FUNCTION {0}.f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM {0}.g(); RETURN $1; END $$;
        ALTER TABLE {0}.t ADD EXCLUDE USING btree (({0}.f(v)) WITH =); INSERT INTO {0}.t VALUES (1, 1)""",
    "statistics": """CREATE TABLE {0}.t (id int PRIMARY KEY, v int);
        CREATE FUNCTION {0}.f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM {0}.g(); RETURN $1; END $$;
        CREATE STATISTICS {0}.s ON {0}.f(v), {0}.f(id) FROM {0}.t; INSERT INTO {0}.t SELECT n, n FROM generate_series(1, 999) n""",
    "cast": """CREATE TYPE {0}.c AS (a int); CREATE TABLE {0}.t (id int PRIMARY KEY, c {0}.c, d {0}.c[]);
        CREATE FUNCTION {0}.f({0}.c) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM {0}.g(); RETURN 'x'; END $$;
        CREATE CAST ({0}.c AS text) WITH FUNCTION {0}.f({0}.c) AS IMPLICIT; INSERT INTO {0}.t VALUES (1, ROW(1), ARRAY[ROW(1)::{0}.c])""",
    "rule and view": """CREATE TABLE {0}.t (id int PRIMARY KEY); CREATE VIEW {0}.v AS SELECT {0}.g() AS a;
        CREATE RULE r AS ON INSERT TO {0}.t DO ALSO SELECT {0}.g(); INSERT INTO {0}.t VALUES (1)""",
    "always trigger": """CREATE TABLE {0}.t (id int PRIMARY KEY);
        CREATE FUNCTION {0}.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM {0}.g(); RETURN NEW; END $$;
        CREATE TRIGGER a BEFORE INSERT OR UPDATE OR TRUNCATE ON {0}.t EXECUTE FUNCTION {0}.f(); INSERT INTO {0}.t VALUES (1);
        ALTER TABLE {0}.t ENABLE ALWAYS TRIGGER a""",
    "policy": """CREATE TABLE {0}.t (id int PRIMARY KEY); INSERT INTO {0}.t VALUES (1);
        ALTER TABLE {0}.t ENABLE ROW LEVEL SECURITY; ALTER TABLE {0}.t FORCE ROW LEVEL SECURITY;
        CREATE POLICY p ON {0}.t USING ({0}.g()) WITH CHECK ({0}.g())""",
    "foreign key": """CREATE TABLE {0}.a (id int PRIMARY KEY); CREATE TABLE {0}.t (id int PRIMARY KEY REFERENCES {0}.a);
        CREATE FUNCTION {0}.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM {0}.g(); RETURN NULL; END $$;
        INSERT INTO {0}.a VALUES (1); INSERT INTO {0}.t VALUES (1);
        CREATE CONSTRAINT TRIGGER c AFTER INSERT ON {0}.t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {0}.f()""",
    "not null of a column whose default runs code": """CREATE FUNCTION {0}.f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM {0}.g();
        RETURN 1; END $$; CREATE TABLE {0}.t (id int PRIMARY KEY, v int NOT NULL DEFAULT {0}.f()); INSERT INTO {0}.t VALUES (1);
        ALTER TABLE {0}.t ADD w int DEFAULT {0}.f()""",
}


async def test_nothing_runs_with_the_restorers_rights(database: str, target_database: str, tmp_path: Path, mallory: str) -> None:
    """Each way by itself: whichever gives the role rights names itself."""
    for number, statements in enumerate(WAYS.values()):
        schema = f"{mallory}_{number}"
        script = (_TAKE_OVER + statements).format(mallory).replace(f"{mallory}.", f"{schema}.")
        run(database, f"CREATE SCHEMA {schema} AUTHORIZATION {mallory}")
        script = script.replace(f"'ALTER ROLE {mallory} SUPERUSER'", f"'ALTER ROLE {mallory} CONNECTION LIMIT {100 + number}'")
        run(database, f"SET ROLE {mallory}; {script}")
    limit = f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{mallory}'"
    run(database, f"ALTER ROLE {mallory} CONNECTION LIMIT -1")
    async with recorded(database, "SELECT 1") as (made, planned):
        assert ask(database, limit) == -1, "capture ran it"
        await restore(made, planned, target_database, tmp_path)
        found = ask(database, limit)
        assert found == -1, list(WAYS)[int(str(found)) - 100]
