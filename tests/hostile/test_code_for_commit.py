"""Code of users that is run while a database is restored leaves something behind: for COMMIT, or for what is run after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.replay.postgres.arrange import ask, run
from tests.integration.replay.postgres.test_restore_partial import recorded, restore

pytestmark = pytest.mark.postgres(15, 18)

_HELPERS = """
CREATE FUNCTION {0}.evil() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE 'ALTER ROLE {1} CONNECTION LIMIT {2}'; END IF;
    RETURN 1; END $$;
CREATE FUNCTION {0}.evil_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM {0}.evil(); RETURN NEW; END $$;
CREATE FUNCTION {0}.again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.n < 3 THEN SET CONSTRAINTS ALL DEFERRED; INSERT INTO pg_temp.q{2} VALUES (NEW.n + 1); END IF;
    PERFORM {0}.evil(); RETURN NEW; END $$;
CREATE FUNCTION {0}.sure(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN EXECUTE $1; RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN 0; END $$;
CREATE FUNCTION {0}.g() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
    IF current_database() = '{3}' THEN RETURN 1; END IF;
    {4}
    RETURN 1; END $$;
CREATE FUNCTION {0}.f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM {0}.g(); RETURN 1; END $$;
"""
_DEFERRED = """
    EXECUTE 'CREATE TEMP TABLE q{2} (n int)';
    EXECUTE 'CREATE CONSTRAINT TRIGGER tr AFTER INSERT ON pg_temp.q{2} DEFERRABLE INITIALLY DEFERRED'
            ' FOR EACH ROW EXECUTE FUNCTION {0}.%s()';
    EXECUTE 'INSERT INTO pg_temp.q{2} VALUES (1)';
"""
_GENERATED = "CREATE TABLE {0}.t (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id + {0}.f(1)) STORED)"
_FULL = _GENERATED + "; INSERT INTO {0}.t VALUES (1)"
_KEY = "CREATE TABLE {0}.t (id int, v int) PARTITION BY RANGE ((id + {0}.f(1)))"
_DOMAIN = "CREATE DOMAIN {0}.d AS int CHECK ({0}.f(VALUE) = 1); CREATE TABLE {0}.t (id int PRIMARY KEY, v {0}.d[] DEFAULT '{{1}}'::{0}.d[])"
_ATTACH = """CREATE TABLE {0}.t (id int, v int) PARTITION BY RANGE (id); CREATE TABLE {0}.p (id int, v int, CHECK ({0}.f(1) = 1));
    ALTER TABLE {0}.t ATTACH PARTITION {0}.p FOR VALUES FROM (0) TO (9)"""
_CURSOR = "EXECUTE 'DECLARE c{2} CURSOR WITH HOLD FOR SELECT {0}.evil()';"
_LATE = """CREATE TABLE {0}.a (id int PRIMARY KEY); INSERT INTO {0}.a VALUES (1);
    CREATE TABLE {0}.b (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id + {0}.f(1)) STORED)"""

WAYS = {
    "cursor of a generated column": (_CURSOR, _GENERATED),
    "cursor of a row": (_CURSOR, _FULL),
    "cursor of a key": (_CURSOR, _KEY),
    "cursor of a domain": (_CURSOR, _DOMAIN),
    "cursor of a partition": (_CURSOR, _ATTACH),
    "trigger of a generated column": (_DEFERRED % "evil_trigger", _GENERATED),
    "trigger of a key": (_DEFERRED % "evil_trigger", _KEY),
    "trigger of a domain": (_DEFERRED % "evil_trigger", _DOMAIN),
    "trigger of a partition": (_DEFERRED % "evil_trigger", _ATTACH),
    "trigger that defers itself": (_DEFERRED % "again", _FULL),
    "trigger of a table whose rows come later": (
        "EXECUTE 'CREATE TRIGGER tr AFTER INSERT ON {0}.a FOR EACH ROW EXECUTE FUNCTION {0}.evil_trigger()';",
        _LATE,
    ),
    "path": (
        "PERFORM set_config('search_path', '{0}_path, pg_catalog', false);",
        "CREATE TABLE {0}.a (id int) PARTITION BY RANGE ((id + 1)); " + _GENERATED,
    ),
    "strings": (
        "PERFORM set_config('standard_conforming_strings', 'off', false);",
        _GENERATED + "; COMMENT ON TABLE {0}.t IS $c$\\'; SELECT {0}.evil(); --$c$",
    ),
    "prepared statements": (
        """FOR i IN 0..200 LOOP
            PERFORM {0}.sure(format('DEALLOCATE _pg3_%s', i)); PERFORM {0}.sure(format('PREPARE _pg3_%s AS SELECT {0}.evil()', i)); END LOOP;""",
        _GENERATED,
    ),
}
"""Each: what the function does in the target, and what calls it."""


_SHADOW = """; CREATE FUNCTION {0}_path.f(name, name) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM {0}.evil(); RETURN true; END $$;
    CREATE OPERATOR {0}_path.= (FUNCTION = {0}_path.f, LEFTARG = name, RIGHTARG = name)"""


@pytest.mark.parametrize("jobs", [1, 2])
async def test_nothing_is_left_for_the_restorer_to_run(
    database: str, target_database: str, tmp_path: Path, mallory: str, jobs: int
) -> None:
    """Each way by itself: whichever is run with the rights of a superuser names itself."""
    here = ask(database, "SELECT current_database()")
    for number, (meddling, statements) in enumerate(WAYS.values(), 100):
        schema = f"{mallory}_{number}"
        run(database, f"CREATE SCHEMA {schema} AUTHORIZATION {mallory}; CREATE SCHEMA {schema}_path AUTHORIZATION {mallory}")
        made = _HELPERS.format(schema, mallory, number, here, meddling.format(schema, mallory, number)) + (statements + _SHADOW).format(
            schema
        )
        run(database, f"SET ROLE {mallory}; {made}")
    run(
        database,
        f"CREATE TABLE public.kept (id int PRIMARY KEY); INSERT INTO public.kept VALUES (1); ALTER ROLE {mallory} CONNECTION LIMIT -1",
    )
    limit = f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{mallory}'"
    async with recorded(database, "SELECT 1") as (made_by, planned):
        assert ask(database, limit) == -1, "capture ran it"
        await restore(made_by, planned, target_database, tmp_path, jobs=jobs)
    found = int(str(ask(database, limit)))
    assert found == -1, list(WAYS)[found - 100]
    assert ask(target_database, "SELECT count(*) FROM public.kept") == 1
    assert ask(target_database, "SELECT count(*) FROM pg_proc WHERE prosecdef AND oid >= 16384") == 0
