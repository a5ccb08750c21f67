"""Code that came with a restore runs again where a drill reads what was restored: for an assertion, and for a hash."""

from __future__ import annotations

import hashlib

import psycopg
import pytest

from archiver.replay.postgres.write.owner_query import ask as ask_owner
from archiver.replay.postgres.write.table_hashes import hash_tables
from tests.integration.replay.postgres.arrange import ask, run

pytestmark = pytest.mark.postgres(15, 18)

_TAKE_OVER = """
CREATE FUNCTION {0}.g() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    BEGIN PERFORM set_config('role', 'none', false); EXCEPTION WHEN OTHERS THEN NULL; END;
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('COPY (SELECT 1) TO %L', current_setting('data_directory') || '/{0}'); END IF;
    RETURN true; END $$;
CREATE FUNCTION {0}.f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM {0}.g(); RETURN 1; END $$;
CREATE TABLE {0}.t (id int PRIMARY KEY, v int); INSERT INTO {0}.t VALUES (1, 2);
CREATE INDEX ON {0}.t (v) WHERE {0}.f(1) = 1;
"""


async def test_what_reads_for_a_drill_has_no_rights(database: str, mallory: str) -> None:
    """Neither at an assertion nor at a hash does code of a table's owner become who the drill is; it says nothing either."""
    run(database, f"SET ROLE {mallory}; {_TAKE_OVER.format(mallory)}")
    # What an event trigger's function does, whoever makes a function runs.
    run(
        database,
        f"SET ROLE {mallory}; CREATE FUNCTION {mallory}.et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM {mallory}.g(); END'",
    )
    run(database, f"CREATE EVENT TRIGGER {mallory} ON ddl_command_end EXECUTE FUNCTION {mallory}.et()")
    written = f"SELECT (pg_stat_file('{mallory}', true)).size"
    (hashed,) = (await hash_tables(database, [(mallory, "t")])).tables
    assert ask(database, written) is None, "a hash runs it as who drills"
    assert (hashed.rows, hashed.sha256) == (1, hashlib.sha256(b"1\t2\n").hexdigest())
    assert (await ask_owner(database, f"SELECT v FROM {mallory}.t WHERE v > 0", seconds=60)).values == ["2"]
    assert ask(database, written) is None, "an assertion runs it as who drills"
    run(database, f"DROP EVENT TRIGGER {mallory}")
    assert ask(database, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'archiver_reader_%'") == 0


@pytest.mark.parametrize("state", ["42P01", "42601", "XX000", "SECRT"])
async def test_code_of_a_restore_chooses_no_words_of_a_report(database: str, mallory: str, state: str) -> None:
    """Whatever SQLSTATE it raises: its text may quote rows."""
    raising = f"BEGIN RAISE EXCEPTION 'precious' USING ERRCODE = '{state}'; END"
    run(database, f"CREATE FUNCTION {mallory}.f(int) RETURNS boolean LANGUAGE plpgsql AS $${raising}$$")
    run(database, f"CREATE DOMAIN {mallory}.d AS int CHECK ({mallory}.f(VALUE))")
    run(database, f"CREATE TABLE {mallory}.t (v text); INSERT INTO {mallory}.t VALUES ('precious')")
    for query in (f"SELECT {mallory}.f(1)", f"SELECT '1'::{mallory}.d", f"SELECT v::regclass FROM {mallory}.t"):
        fault = (await ask_owner(database, query, seconds=60)).fault
        assert fault.startswith("the server does not do it"), fault
        assert "precious" not in fault
        assert "SECRT" not in fault


async def test_code_of_a_restore_leaves_nothing_behind_in_the_session(database: str, mallory: str) -> None:
    """Settings, cursors and statements that it makes are not there for what is read next."""
    run(
        database,
        f"""CREATE FUNCTION {mallory}.g() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
        PERFORM set_config('bytea_output', 'escape', false); PERFORM set_config('search_path', '{mallory}', false); END $$;
        CREATE FUNCTION {mallory}.f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM {mallory}.g(); RETURN 1; END $$;
        CREATE TABLE {mallory}.a (v int); CREATE INDEX ON {mallory}.a (v) WHERE {mallory}.f(1) = 1;
        CREATE TABLE {mallory}.b (v bytea); INSERT INTO {mallory}.b VALUES ('\\x00')""",
    )
    _, hashed = (await hash_tables(database, [(mallory, "a"), (mallory, "b")])).tables
    assert hashed.sha256 == hashlib.sha256(b"\\\\x00\n").hexdigest()


async def test_values_are_hashed_as_copy_writes_them(database: str, mallory: str) -> None:
    """NULL, empty text, rows of NULLs, what COPY escapes; no columns; and no rows of others behind a policy are missing."""
    run(database, f"CREATE TYPE {mallory}.c AS (x int, y text)")
    run(database, f'CREATE TABLE {mallory}.t (id int PRIMARY KEY, "a ""b" text, c {mallory}.c, n text[], b boolean)')
    run(database, f"INSERT INTO {mallory}.t VALUES (2, '', ROW(NULL, NULL), '{{}}', true), (10, NULL, NULL, NULL, NULL)")
    run(database, f"INSERT INTO {mallory}.t VALUES (3, E'\\t\\n\\\\ %s \\\\N', ROW(1, 'x y'), '{{NULL,\"\"}}', false)")
    run(database, f"CREATE TABLE {mallory}.none (); INSERT INTO {mallory}.none DEFAULT VALUES")
    run(database, f"ALTER TABLE {mallory}.t ENABLE ROW LEVEL SECURITY; ALTER TABLE {mallory}.t FORCE ROW LEVEL SECURITY")
    found = {each.name: each for each in (await hash_tables(database, [(mallory, "t"), (mallory, "none")])).tables}
    for name, order in (("t", 'id::text COLLATE "C"'), ("none", "'x'::text")):
        query = f"COPY (SELECT * FROM {mallory}.{name} ORDER BY {order}) TO STDOUT"
        with psycopg.connect(database) as connection, connection.cursor() as cursor, cursor.copy(query.encode()) as copy:
            rows = b"".join(copy)
        assert (found[name].rows, found[name].sha256) == (rows.count(b"\n"), hashlib.sha256(rows).hexdigest()), name


@pytest.mark.parametrize(
    ("value", "text"),
    [("'a, \"b\" (c) \\d'", 'a, "b" (c) \\d'), ("''", ""), ("NULL", None), ("ROW(1, 'x y')", '(1,"x y")'), ("E'\\n'", "\n"), ("true", "t")],
)
async def test_an_answer_is_the_text_of_the_server(database: str, value: str, text: str | None) -> None:
    """Of one value, whatever stands in it."""
    answer = await ask_owner(database, f"SELECT {value} -- a remark;", seconds=60)
    assert (answer.values, answer.fault) == ([text], "")


@pytest.mark.parametrize(("rights", "reads"), [("CREATEROLE", True), ("", True)])
async def test_a_role_of_few_rights_can_drill(database: str, mallory: str, rights: str, reads: bool) -> None:
    """Where it may make no role, and not become ``pg_read_all_data``, it reads what it may itself."""
    run(database, f"ALTER ROLE {mallory} LOGIN {rights}; SET ROLE {mallory}; CREATE TABLE {mallory}.t (v int)")
    run(database, f"INSERT INTO {mallory}.t VALUES (7)")
    who = psycopg.conninfo.make_conninfo(database, user=mallory)
    assert (await ask_owner(who, f"SELECT v FROM {mallory}.t", seconds=60)).values == ["7"]
    (hashed,) = (await hash_tables(who, [(mallory, "t")])).tables
    assert (hashed.rows, hashed.fault) == (1, "")
