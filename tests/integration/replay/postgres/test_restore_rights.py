"""Nobody's code gets the rights of whoever restores: attacks of a user of the source on the superuser of the target."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import restore_to_database
from archiver.replay.postgres.write.target_preview import preview_target
from tests.integration.replay.postgres.arrange import ask, run
from tests.integration.replay.postgres.test_restore_partial import recorded, restore
from tests.servers.compare import differences

pytestmark = pytest.mark.postgres(16, 18)


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


async def test_what_loads_the_rows_stays_ours(database: str, target_database: str, tmp_path: Path, mallory: str) -> None:
    """The function that writes rows as their owner belongs to that owner, who can put another one in its place between two batches."""
    attack = f"""
    CREATE FUNCTION {mallory}.f(int) RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN
        IF current_setting('application_name') = 'archiver restore' THEN
            IF $1 = 1 THEN RAISE 'no' USING ERRCODE = '22000'; END IF;
            EXECUTE $e$CREATE OR REPLACE FUNCTION pg_temp.archiver_load() RETURNS bigint LANGUAGE plpgsql SECURITY INVOKER AS $g$ BEGIN
                IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
                    EXECUTE 'ALTER ROLE {mallory} SUPERUSER';
                END IF;
                RETURN 1; END $g$$e$;
        END IF;
        RETURN true; END $f$;
    CREATE TABLE {mallory}.t (id int PRIMARY KEY CHECK ({mallory}.f(id)));
    INSERT INTO {mallory}.t SELECT generate_series(1, 8);
    """
    other = "CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1);"
    async with recorded(database, f"{other} SET ROLE {mallory}; {attack} RESET ROLE") as (made, planned):
        report = await restore(made, planned, target_database, tmp_path)
    assert ask(target_database, f"SELECT rolsuper FROM pg_roles WHERE rolname = '{mallory}'") is False
    assert ask(target_database, "SELECT count(*) FROM other") == 1
    assert [(each.name, each.rows) for each in report.left_out] == [(f"{mallory}.t", 8)]


async def test_a_table_that_waits_does_not_get_code(database: str, target_database: str, tmp_path: Path, mallory: str) -> None:
    """A table that no code ran for is tried again after others, whose code could have given it a column that runs code."""
    attack = f"""
    CREATE FUNCTION {mallory}.g(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE {mallory} SUPERUSER'; END IF;
        RETURN true; END $$;
    CREATE DOMAIN {mallory}.d AS int CHECK ({mallory}.g(VALUE));
    CREATE TABLE {mallory}.a (id int PRIMARY KEY, c int, CHECK (current_setting('application_name') <> 'archiver restore'));
    INSERT INTO {mallory}.a VALUES (1, 1);
    CREATE FUNCTION {mallory}.f(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('application_name') = 'archiver restore' THEN
            ALTER TABLE {mallory}.a ALTER COLUMN c TYPE {mallory}.d;
        END IF;
        RETURN true; END $$;
    CREATE TABLE {mallory}.t (id int PRIMARY KEY CHECK ({mallory}.f(id)));
    INSERT INTO {mallory}.t VALUES (1), (2);
    """
    async with recorded(database, f"SET ROLE {mallory}; {attack} RESET ROLE") as (made, planned):
        report = await restore(made, planned, target_database, tmp_path)
    assert ask(target_database, f"SELECT rolsuper FROM pg_roles WHERE rolname = '{mallory}'") is False
    assert (f"{mallory}.t", 2) in [(each.name, each.rows) for each in report.left_out]
    assert ask(target_database, f"SELECT count(*) FROM {mallory}.a") == 1


_RULED = """
SET ROLE {0};
CREATE FUNCTION {0}.f(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    IF current_setting('application_name') = 'archiver restore' AND current_user <> '{0}' THEN RAISE 'as %', current_user; END IF;
    RETURN true; END $$;
CREATE TABLE {0}.t (id int PRIMARY KEY CHECK ({0}.f(id)), v text);
CREATE TABLE {0}.plain (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t int REFERENCES {0}.t, v text);
INSERT INTO {0}.t SELECT g, 'v' || g FROM generate_series(1, 20) g;
INSERT INTO {0}.plain (t, v) SELECT id, v FROM {0}.t;
CREATE MATERIALIZED VIEW {0}.m AS SELECT count(*) FROM {0}.plain;
ALTER TABLE {0}.t ENABLE ROW LEVEL SECURITY; ALTER TABLE {0}.t FORCE ROW LEVEL SECURITY; CREATE POLICY p ON {0}.t USING (id < 5);
ALTER TABLE {0}.plain ENABLE ROW LEVEL SECURITY; ALTER TABLE {0}.plain FORCE ROW LEVEL SECURITY;
RESET ROLE;
REVOKE TEMPORARY ON DATABASE {1} FROM PUBLIC;
"""


@pytest.mark.parametrize("restorer", ["superuser", "member", "member without owner"])
async def test_owners_that_cannot_log_in_or_see_their_rows(
    database: str, target_database: str, tmp_path: Path, mallory: str, restorer: str
) -> None:
    """Row security that is forced on owners holds after the restore, and takes no row from it; whoever restores."""
    name = f"restorer_{uuid.uuid4().hex[:8]}"
    into = str(ask(target_database, "SELECT current_database()"))
    run(database, f"CREATE ROLE {name} LOGIN", f"GRANT {mallory} TO {name}", f"ALTER DATABASE {into} OWNER TO {name}")
    run(target_database, f"REVOKE TEMPORARY ON DATABASE {into} FROM PUBLIC")
    no_owner = restorer == "member without owner"
    made_by = _RULED.format(mallory, ask(database, "SELECT current_database()"))
    if no_owner:
        made_by = made_by.replace(f"current_user <> '{mallory}'", "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user)")
    to = target_database if restorer == "superuser" else make_conninfo(target_database, user=name)
    async with recorded(database, made_by) as (made, planned):
        look = await preview_target(planned, Reader(made.store), to, no_owner=no_owner)
        report = await restore_to_database(planned, Reader(made.store), made.store, to, no_owner=no_owner, left_out=tmp_path)
    assert report.problems == []
    assert [text for text in differences(database, target_database) if not text.startswith("rows of " + mallory + ".m")] == []
    owner = name if no_owner else mallory
    assert ask(target_database, "SELECT string_agg(DISTINCT tableowner, ' ') FROM pg_tables WHERE tablename IN ('t', 'plain')") == owner
    assert ask(target_database, "SELECT bool_and(relforcerowsecurity) FROM pg_class WHERE relname IN ('t', 'plain')") is True
    assert not ask(target_database, f"SELECT has_database_privilege('{mallory}', current_database(), 'TEMPORARY')")
    # Who gives all to themselves gives the functions of others their rights, and is told so before.
    assert any(f"may run with the rights of {name}" in note for note in look.notes) is no_owner
    assert [note for note in look.notes if note not in report.notes] == []


async def test_a_superuser_who_leaves_owners_out_is_told_first(database: str, target_database: str, tmp_path: Path, mallory: str) -> None:
    """Then the checks of everybody run as a superuser: the plan says so, and what bounds it."""
    made_by = f"SET ROLE {mallory}; {(_ATTACK + _WAYS['domain']).format(mallory)}; INSERT INTO {mallory}.t VALUES (1); RESET ROLE"
    async with recorded(database, made_by) as (made, planned):
        look = await preview_target(planned, Reader(made.store), target_database, no_owner=True)
        assert (await preview_target(planned, Reader(made.store), target_database)).notes == []
    [note] = look.notes
    assert f"{mallory}.f(integer) of {mallory}, may run with the rights of postgres" in note
    assert "as a role that is no superuser" in note
