"""Temporary objects under the server's own names, made by code that runs while rows are written: nobody reads them with other rights."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.replay.postgres.arrange import ask
from tests.integration.replay.postgres.test_restore_partial import recorded, restore

pytestmark = pytest.mark.postgres(15, 18)


_TAKE_OVER = """
CREATE FUNCTION {0}.g() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE {0} SUPERUSER'; END IF;
    RETURN true; END $$;
CREATE FUNCTION {0}.cast_text(anyelement) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM {0}.g(); RETURN 'x'; END $$;
CREATE FUNCTION {0}.md5(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM {0}.g(); RETURN pg_catalog.md5($1); END $$;
"""
_WAYS = {
    "path": "PERFORM pg_catalog.set_config('search_path', '{0}, pg_catalog', false);",
    "views": """
        FOR name IN SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v') LOOP
            BEGIN EXECUTE format('CREATE TEMP VIEW %I AS SELECT c.* FROM pg_catalog.%I c WHERE {0}.g()', name, name);
            EXCEPTION WHEN OTHERS THEN NULL; END;
        END LOOP;""",
    "types": """
        FOREACH name IN ARRAY ARRAY['text', 'oid', 'regclass', 'regtype', 'name'] LOOP
            BEGIN EXECUTE format('CREATE TEMP TABLE %I (a int)', name); EXCEPTION WHEN OTHERS THEN NULL; END;
        END LOOP;""",
    "catalogs": """
        FOREACH name IN ARRAY ARRAY['pg_rewrite', 'pg_trigger', 'pg_proc'] LOOP
            BEGIN EXECUTE format('CREATE TEMP TABLE %I AS SELECT * FROM pg_catalog.%I', name, name); EXCEPTION WHEN OTHERS THEN NULL; END;
        END LOOP;
        BEGIN CREATE RULE bait AS ON INSERT TO {0}.other DO ALSO SELECT {0}.g(); EXCEPTION WHEN OTHERS THEN NULL; END;""",
}


@pytest.mark.parametrize("way", _WAYS)
async def test_what_rows_make_stands_before_nothing(database: str, target_database: str, tmp_path: Path, mallory: str, way: str) -> None:
    """The rows of everybody else come back, and no role has more rights than before."""
    attack = (
        _TAKE_OVER
        + """
    CREATE FUNCTION {0}.f(int) RETURNS boolean LANGUAGE plpgsql AS $$ DECLARE name text; BEGIN
        IF current_setting('application_name') = 'archiver restore' THEN """
        + _WAYS[way]
        + """ END IF;
        RETURN true; END $$;
    CREATE TABLE {0}.t (id int PRIMARY KEY CHECK ({0}.f(id)));
    CREATE TABLE {0}.other (id int PRIMARY KEY);
    CREATE MATERIALIZED VIEW {0}.m AS SELECT {0}.f(1) AS a;
    INSERT INTO {0}.t VALUES (1), (2);
    """
    )
    other = "CREATE TABLE zother (id serial PRIMARY KEY, v text CHECK (v <> 'x')); INSERT INTO zother (v) VALUES ('y');"
    async with recorded(database, f"{other} SET ROLE {mallory}; {attack.format(mallory)} RESET ROLE") as (made, planned):
        await restore(made, planned, target_database, tmp_path)
    assert ask(target_database, f"SELECT rolsuper FROM pg_roles WHERE rolname = '{mallory}'") is False
    assert ask(target_database, "SELECT count(*) FROM zother") == 1
