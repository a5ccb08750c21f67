"""Settings that the owner of a database may give to every session in it: they change no value and no decision."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from archiver.capture.postgres.session import access
from tests.integration.replay.postgres.arrange import run
from tests.integration.replay.postgres.test_restore_partial import recorded, restore
from tests.servers.compare import differences

pytestmark = pytest.mark.postgres(15, 18)

SETTINGS = {
    "array_nulls": "off",
    "backslash_quote": "off",
    "bytea_output": "escape",
    "check_function_bodies": "on",
    "client_min_messages": "error",
    "constraint_exclusion": "off",
    "datestyle": "German",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "escape_string_warning": "off",
    "extra_float_digits": "-15",
    "intervalstyle": "iso_8601",
    "lc_monetary": "C.UTF-8",
    "lc_numeric": "C.UTF-8",
    "lock_timeout": "1ms",
    "quote_all_identifiers": "on",
    "row_security": "off",
    "search_path": "bait, lure, pg_catalog",
    "standard_conforming_strings": "off",
    "statement_timeout": "100s",
    "timezone": "Asia/Kathmandu",
    "transform_null_equals": "on",
    "xmlbinary": "hex",
    "xmloption": "document",
    "default_table_access_method": "heap",
    "default_toast_compression": "pglz",
    "work_mem": "64kB",
}
BAIT = """
CREATE SCHEMA bait;
CREATE FUNCTION bait.md5(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'bait'; END $$;
CREATE FUNCTION bait.eq(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR bait.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = bait.eq);
CREATE FUNCTION bait.eq(name, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR bait.= (LEFTARG = name, RIGHTARG = text, FUNCTION = bait.eq);
CREATE TABLE bait.pg_class (oid oid, relname name);
CREATE TABLE bait.pg_namespace (oid oid);
"""
DATA = r"""
CREATE TYPE pair AS (a text, b interval);
CREATE TABLE trap (id int PRIMARY KEY, texts text[], one text DEFAULT '\x\n', f float8, i interval, t timestamptz, d date, b bytea, m money, p pair[],
    r tstzrange, x text CHECK (x <> E'\\'), n int CHECK ((n = NULL) IS NULL));
INSERT INTO trap VALUES (1, ARRAY[NULL, 'NULL', '', '\', '"', E'\n'], '\', 0.1 + 0.2, '1 year -2 days 03:04:05.6', '2026-02-03 04:05:06.789+05:45',
    '2026-12-11', '\x00ff5c', 1234.5, ARRAY[ROW('a"b\,', '-1 day')::pair, NULL], '[2026-01-02 00:00+00, infinity)', 'x\y', 5);
CREATE TABLE "back\slash'" ("co\l'" serial PRIMARY KEY, v text);
INSERT INTO "back\slash'" (v) VALUES ('\'), ('\.'), (E'\\N'), (NULL);
COMMENT ON TABLE "back\slash'" IS 'a\b''c';
CREATE VIEW seen AS SELECT id FROM trap WHERE texts[1] IS NULL;
"""


def hostile(dsn: str) -> None:
    name = dsn.rsplit("/", 1)[1]
    with psycopg.connect(dsn, autocommit=True) as session:
        for setting, value in SETTINGS.items():
            if session.execute("SELECT 1 FROM pg_settings WHERE name = %s", [setting]).fetchone():
                session.execute(f"ALTER DATABASE {name} SET {setting} = {value if ',' in value else repr(value)}".encode())


def plain(dsn: str) -> str:
    """The same database, in a session without those settings."""
    with psycopg.connect(dsn, options="-c default_transaction_read_only=off", autocommit=True) as session:
        session.execute("ALTER DATABASE {} RESET ALL".format(dsn.rsplit("/", 1)[1]).encode())
    return dsn


async def test_values_stay_what_they_are(database: str, target_database: str, tmp_path: Path) -> None:
    """Captured and restored under them, at both ends: baseline and stream, names and values."""
    run(database, BAIT)
    # The test itself could not speak to the source any more.
    run(target_database, BAIT.replace("bait", "lure"), "CREATE DOMAIN lure.text AS pg_catalog.text CHECK (VALUE = '')")
    hostile(target_database)
    # A restore that is refused because the target is read-only harms nobody.
    run(
        target_database,
        f"START TRANSACTION READ WRITE; ALTER DATABASE {target_database.rsplit('/', 1)[1]} RESET default_transaction_read_only; COMMIT",
    )
    changed = r"""START TRANSACTION READ WRITE;
        SET search_path = public; SET array_nulls = on; SET standard_conforming_strings = on; SET xmloption = content; SET datestyle = ISO;
        UPDATE public.trap SET texts = texts || ARRAY[NULL, 'NULL'], i = '-00:00:01', f = 1e-300;
        INSERT INTO public."back\slash'" (v) VALUES ('later' || chr(92)); COMMIT"""
    setup = DATA
    run(database, setup)
    hostile(database)
    async with recorded(database, "SELECT 1", changed) as (made, planned):
        report = await restore(made, planned, target_database, tmp_path)
    assert report.problems == []
    plain(database)
    run(plain(target_database), "DROP SCHEMA lure CASCADE")
    assert differences(database, target_database) == []


async def test_a_dump_of_an_earlier_version_says_how_its_strings_are_written(
    database: str, target_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was taken with backslashes that escape is read so."""
    run(database, DATA)
    hostile(database)
    monkeypatch.setattr(access, "PLAIN_SQL", {})
    async with recorded(database, "SELECT 1") as (made, planned):
        report = await restore(made, planned, target_database, tmp_path)
    assert report.problems == []
    plain(database)
    assert differences(database, target_database) == []
