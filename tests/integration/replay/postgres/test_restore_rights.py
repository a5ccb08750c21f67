"""Nobody's code gets the rights of whoever restores: attacks of a user of the source on the superuser of the target."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.replay.postgres.arrange import ask, run
from tests.integration.replay.postgres.test_restore_partial import recorded, restore
from tests.servers.compare import differences

pytestmark = pytest.mark.postgres(16, 18)


@pytest.fixture
def mallory(database: str) -> Iterator[str]:
    """A role without rights, with a schema of its own in the source."""
    name = f"mallory_{uuid.uuid4().hex[:8]}"
    run(database, f"CREATE ROLE {name}", f"CREATE SCHEMA {name} AUTHORIZATION {name}")
    yield name
    run(database, f"DROP OWNED BY {name} CASCADE")


_ATTACK = """
CREATE FUNCTION {0}.f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE way text;
BEGIN
    FOREACH way IN ARRAY ARRAY['RESET ROLE', 'SET ROLE NONE', 'RESET SESSION AUTHORIZATION', 'SET LOCAL ROLE postgres'] LOOP
        BEGIN EXECUTE way; EXCEPTION WHEN OTHERS THEN NULL; END;
        IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE {0} SUPERUSER'; END IF;
    END LOOP;
    PERFORM pg_catalog.set_config('datestyle', 'SQL, DMY', false);
    RETURN $1;
END $$;
CREATE FUNCTION {0}.same(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT {0}.f($1) = $2';
CREATE OPERATOR {0}.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = {0}.same);
"""
_WAYS = {
    "check": "CREATE TABLE {0}.t (id int PRIMARY KEY CHECK ({0}.f(id) > 0), day date)",
    "operator": "CREATE TABLE {0}.t (id int PRIMARY KEY CHECK (id OPERATOR({0}.===) id), day date)",
    "generated": "CREATE TABLE {0}.t (id int PRIMARY KEY, day date, g int GENERATED ALWAYS AS ({0}.f(id)) STORED)",
    "domain": "CREATE DOMAIN {0}.d AS int CHECK ({0}.f(VALUE) > 0); CREATE TABLE {0}.t (id int PRIMARY KEY, day date, d {0}.d DEFAULT 1)",
    "array of a composite of a domain": """CREATE DOMAIN {0}.d AS int CHECK ({0}.f(VALUE) > 0); CREATE TYPE {0}.c AS (d {0}.d, v varchar(9));
        CREATE TABLE {0}.t (id int PRIMARY KEY, day date, c {0}.c[] DEFAULT ARRAY[ROW(3, 'x,"y')::{0}.c])""",
    "partition key": """CREATE TABLE {0}.t (id int, day date) PARTITION BY RANGE ({0}.f(id));
        CREATE TABLE {0}.leaf PARTITION OF {0}.t FOR VALUES FROM (0) TO (100)""",
    "identity and types": """CREATE TABLE {0}.t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, day date, c char(5) DEFAULT 'a',
        v varchar(3) DEFAULT 'b', n numeric(6, 2) DEFAULT 1.25, b bit(3) DEFAULT '101', q "char" DEFAULT 'q', CHECK ({0}.f(id) > 0))""",
    "index": "CREATE TABLE {0}.t (id int PRIMARY KEY, day date); CREATE INDEX ON {0}.t ({0}.f(id))",
    "not valid check": """CREATE TABLE {0}.t (id int PRIMARY KEY, day date);
        ALTER TABLE {0}.t ADD CONSTRAINT k CHECK ({0}.f(id) > 0) NOT VALID; ALTER TABLE {0}.t VALIDATE CONSTRAINT k""",
    "view": "CREATE TABLE {0}.t (id int PRIMARY KEY, day date); CREATE MATERIALIZED VIEW {0}.m AS SELECT {0}.f(1) AS n",
}


@pytest.mark.parametrize("way", _WAYS)
async def test_code_of_the_database_runs_as_its_owner(database: str, target_database: str, tmp_path: Path, mallory: str, way: str) -> None:
    """However a function is called while rows are written: as the table's owner, who cannot come back from that."""
    made_by = f"SET ROLE {mallory}; {(_ATTACK + _WAYS[way]).format(mallory)}; RESET ROLE;"
    insert = f"SET ROLE {mallory}; SET datestyle = 'ISO'; INSERT INTO {mallory}.t (day) VALUES ('2026-02-01'), ('2026-03-12'); RESET ROLE"
    if way != "identity and types":
        insert = insert.replace("(day) VALUES ('2026-02-01'), ('2026-03-12')", "(id, day) VALUES (1, '2026-02-01'), (2, '2026-03-12')")
    before = "CREATE TABLE later (id int PRIMARY KEY, day date); INSERT INTO later VALUES (1, '2026-02-01');"
    async with recorded(database, before + made_by + insert) as (made, planned):
        report = await restore(made, planned, target_database, tmp_path)
    assert ask(target_database, f"SELECT rolsuper FROM pg_roles WHERE rolname = '{mallory}'") is False
    assert report.problems == []
    assert [text for text in differences(database, target_database) if not text.startswith("sequences of ")] == []


async def test_code_that_makes_objects_gets_nothing(database: str, target_database: str, tmp_path: Path, mallory: str) -> None:
    """A deferred trigger would run with the rights of whoever commits: rows whose checks make one are set aside, all else comes back."""
    attack = f"""
    CREATE FUNCTION {mallory}.deferred() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE {mallory} SUPERUSER'; END IF;
        RETURN NULL; END $$;
    CREATE FUNCTION {mallory}.f(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        IF to_regclass('{mallory}.bait') IS NULL AND current_setting('application_name') = 'archiver restore' THEN
            CREATE TABLE {mallory}.bait (id int);
            CREATE CONSTRAINT TRIGGER later AFTER INSERT ON {mallory}.bait DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION {mallory}.deferred();
            SET CONSTRAINTS ALL DEFERRED;
            INSERT INTO {mallory}.bait VALUES (1);
        END IF;
        RETURN true; END $$;
    CREATE TABLE {mallory}.t (id int PRIMARY KEY CHECK ({mallory}.f(id)));
    INSERT INTO {mallory}.t VALUES (1), (2);
    """
    other = "CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1);"
    async with recorded(database, f"{other} SET ROLE {mallory}; {attack} RESET ROLE") as (made, planned):
        report = await restore(made, planned, target_database, tmp_path)
    assert ask(target_database, f"SELECT rolsuper FROM pg_roles WHERE rolname = '{mallory}'") is False
    assert ask(target_database, "SELECT count(*) FROM other") == 1
    assert [(each.name, each.rows) for each in report.left_out] == [(f"{mallory}.t", 2)]
    assert "1\n2\n\\.\n" in Path(report.left_out_file).read_text()
