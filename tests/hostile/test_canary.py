"""No value of a row and no secret stands in any log, message, table, report or error, or in a message of the stream."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import psycopg
import pytest

from archiver.journal.entry import Kind
from archiver.journal.reader import Reader
from archiver.store.directory import DirectoryStore
from tests.integration.service.rig import captured, create_table, database_source
from tests.servers.archiver import Archiver
from tests.servers.postgres import PostgresServer

CANARY = "canary7f3a"
"""In every row, and in every secret."""

SOURCE = f"""
CREATE FUNCTION said(v text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    IF current_setting('application_name') = 'archiver restore' THEN RAISE EXCEPTION 'bad %', v USING ERRCODE = '23514', DETAIL = v, HINT = v;
    END IF; RETURN true; END $$;
CREATE FUNCTION warned(v text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE WARNING 'value %', v; RETURN true; END $$;
CREATE FUNCTION number(v text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    IF current_setting('application_name') = 'archiver restore' THEN RETURN v::int; END IF; RETURN 1; END $$;
CREATE TABLE checked (id int PRIMARY KEY, v text CHECK (said(v)));
CREATE TABLE warning (id int PRIMARY KEY, v text CHECK (warned(v)));
CREATE TABLE expression (id int PRIMARY KEY, v text);
CREATE UNIQUE INDEX ON expression (number(v));
CREATE TABLE generated (v text PRIMARY KEY, n int GENERATED ALWAYS AS (number(v)) STORED);
CREATE MATERIALIZED VIEW view AS SELECT number(v) AS n FROM expression;
CREATE DOMAIN d AS text CHECK (said(VALUE));
CREATE TABLE domained (v d PRIMARY KEY);
CREATE TABLE whole (a text, b int); ALTER TABLE whole REPLICA IDENTITY FULL;
INSERT INTO checked VALUES (1, '{CANARY}'); INSERT INTO warning VALUES (1, '{CANARY}'); INSERT INTO expression VALUES (1, '{CANARY}');
INSERT INTO generated VALUES ('{CANARY}'); INSERT INTO domained VALUES ('{CANARY}'); INSERT INTO whole VALUES ('{CANARY}', 1);
REFRESH MATERIALIZED VIEW view;
"""
SECRETS = (
    f"ALTER ROLE CURRENT_USER PASSWORD '{CANARY}'; CREATE TABLE together (id int PRIMARY KEY)",
    "CREATE FOREIGN DATA WRAPPER dummy",
    "CREATE SERVER far FOREIGN DATA WRAPPER dummy",
    f"CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (user 'u', password '{CANARY}')",
    f"ALTER USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (SET password '{CANARY}')",
    f"CREATE SUBSCRIPTION canary_sub CONNECTION 'host=127.0.0.1 dbname=x password={CANARY}' PUBLICATION p WITH (connect = false)",
    "ALTER SUBSCRIPTION canary_sub SET (slot_name = NONE)",
    "DROP SUBSCRIPTION canary_sub",
    "DROP USER MAPPING FOR CURRENT_USER SERVER far",
    "ALTER ROLE CURRENT_USER PASSWORD NULL",
)


def announced(journal: Path) -> list[bytes]:
    """Everything in the journal that is neither rows nor a dump: records, and logical messages of the stream."""

    async def read() -> list[bytes]:
        store = DirectoryStore(journal)
        found: list[bytes] = []
        try:
            async for placed in Reader(store).read():
                bodies = [bytes(body) for body in placed.run.bodies()]
                if placed.run.kind is Kind.PG_FRAMES:
                    bodies = [body for body in bodies if body[25:26] == b"M"]
                found += bodies[:1] if placed.run.kind is Kind.PG_SCHEMA else bodies
        finally:
            await store.close()
        return found

    return asyncio.run(read())


@pytest.mark.postgres(18)
def test_a_canary_sings_nowhere(postgres: PostgresServer, database: str, target_database: str, tmp_path: Path) -> None:
    """Whatever fails, whichever command."""
    create_table(database)
    source = database_source("env:DB_DSN", pg_bin=str(postgres.bin))
    secret = database.replace("postgres@", f"postgres:{CANARY}@") + f"?sslpassword={CANARY}"
    target = target_database.replace("postgres@", f"postgres:{CANARY}@") + f"?sslpassword={CANARY}"
    wrong = target.replace("/t_", "/gone_")
    shown: dict[str, str] = {}
    with pytest.MonkeyPatch.context() as patch, Archiver(tmp_path, {"db": source}, serve=True) as archiver:
        patch.setenv("DB_DSN", secret)
        patch.setenv("DRILL_DSN", target)

        def call(*words: str) -> int:
            done = archiver.call(*words)
            shown[" ".join(words)] = done.stdout + done.stderr
            return done.returncode

        with psycopg.connect(database, autocommit=True) as session:
            session.execute(SOURCE.encode())
        archiver.start()
        captured(archiver, "db", database)
        with psycopg.connect(database, autocommit=True) as session:
            for statement in SECRETS:
                with contextlib.suppress(psycopg.errors.FeatureNotSupported):
                    session.execute(statement.encode())
            session.execute(
                f"UPDATE whole SET a = '{CANARY}2'; INSERT INTO expression VALUES (2, '{CANARY}2') ON CONFLICT DO NOTHING".encode()
            )
        captured(archiver, "db", database)
        call("status")
        call("status", "--json")
        assert archiver.stop() == 0
        for words in (
            ["check"],
            ["check", "--json"],
            ["verify"],
            ["config", "show"],
            ["restore", "--at", "latest", "--to", target, "--dry-run"],
        ):
            call(*words)
        left = str(tmp_path / "left")
        assert call("restore", "--at", "latest", "--to", target, "--left-out", left, "--strict") != 0
        assert call("restore", "--at", "latest", "--to", target, "--left-out", left) == 8
        call("restore", "--at", "latest", "--to", target, "--left-out", left, "--json", "--overwrite")
        call("restore", "--at", "latest", "--to", wrong)
        call("restore", "--at", "latest", "--to", secret)
        call("restore", "--at", "latest", "--to", f"postgresql://u:{CANARY}@127.0.0.1:1/x")
        call("restore", "--at", "latest", "--to", f"host=127.0.0.1 password='{CANARY}")
        call("restore", "--at", "latest", "--to", f"postgresql://u:{CANARY}@127.0.0.1/x?nonsense={CANARY}")
        call("drill")
        call("drill", "--scratch-dsn", target)
        shown["log"] = archiver.log()
    assert [f"{words}: {text}" for words, text in shown.items() if CANARY in text.replace(words, "")] == []
    # The statement that made an object may hold its secrets: what is announced is the object.
    said = announced(tmp_path / "journal")
    assert any(b"together" in body for body in said)
    assert not any(CANARY.encode() in body for body in said)
