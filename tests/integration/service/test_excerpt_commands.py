"""``archiver restore`` of one table, as a user says it: words, exit codes, what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from tests.integration.replay.postgres.excerpts import psql
from tests.integration.service.rig import captured, create_table, database_source, write
from tests.servers.archiver import Archiver, wait_until_durable
from tests.servers.postgres import PostgresServer
from tests.servers.warm_commands import WarmCommands

pytestmark = pytest.mark.postgres(18)


def test_one_table_beside_and_back_and_undone(postgres: PostgresServer, database: str, tmp_path: Path) -> None:
    """Words that do not fit are told first; the dry run shows what the restore does; the live table is never written to."""
    create_table(database)
    script, undo = tmp_path / "merge.sql", tmp_path / "undo.sql"
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver, WarmCommands(archiver.config) as commands:
        archiver.start()
        captured(archiver, "db", database)
        write(database, 2)
        wait_until_durable(archiver, "db", database)
        before = archiver.live_source("db")["durable_position"]
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("UPDATE note SET text = 'spoilt' WHERE id = 2")
            connection.execute("DELETE FROM note WHERE id = 3")
        wait_until_durable(archiver, "db", database)
        asked = ("restore", "--at", before, "--table", "note", "--to", database)
        for more, code, says in (
            ((), 2, "what becomes of the tables"),
            (("--into-schema", "a", "--merge-script", "b"), 2, "two restores"),
            (("--into-schema", "past", "--overwrite"), 2, "does not go with"),
            (("--into-schema", "past"), 3, "--into-source"),
            (("--into-schema", "past", "--dry-run"), 3, "--into-source"),
            (("--merge-script", str(tmp_path / "none/merge.sql")), 2, "cannot be written there"),
            (("--merge-script", str(script), "--rows", "text=x"), 2, "is not of the key"),
        ):
            done = commands.call(*asked, *more)
            assert (done.returncode, says in done.stderr) == (code, True), (more, done.stderr)
        dry = commands.call(*asked, "--into-schema", "past", "--into-source", "--dry-run")
        assert (dry.returncode, "into a new schema" in dry.stdout) == (0, True), dry.stderr
        done = commands.call(*asked, "--into-schema", "past", "--into-source")
        assert (done.returncode, "past.note" in done.stdout) == (0, True), done.stderr
        assert 'DROP SCHEMA "past" CASCADE;' in done.stdout
        diff = commands.call(*asked, "--merge-script", str(script), "--dry-run")
        assert diff.returncode == 0, diff.stderr
        assert "1 inserted, 1 updated, 0 deleted, 1 unchanged" in diff.stdout
        assert "'spoilt' -> 'n" in diff.stdout
        assert not script.exists()
        plan = json.loads(commands.call(*asked, "--merge-script", str(script), "--dry-run", "--json").stdout)["sources"][0]
        assert (plan["script"], plan["difference"]["updated"], plan["plan"]["not_included"]) == (str(script), 1, [])
        made = commands.call(*asked, "--merge-script", str(script), "--json")
        assert made.returncode == 0, made.stderr
        report = json.loads(made.stdout)["sources"][0]["report"]
        assert (report["script"], report["difference"]["inserted"]) == (str(script), 1)
        assert ids(database, "past.note") == [1, 2, 3]
        assert ids(database, "note") == [1, 2]
        # As the how-to says: name the moment, run it, and back again.
        assert commands.call("mark", "before-merge").returncode == 0
        assert psql(postgres, database, script).returncode == 0
        assert ids(database, "note") == [1, 2, 3]
        wait_until_durable(archiver, "db", database)
        back = commands.call("restore", "--at", "mark:before-merge", "--table", "note", "--to", database, "--merge-script", str(undo))
        assert (back.returncode, "0 inserted, 1 updated, 1 deleted" in back.stdout) == (0, True), back.stderr
        archiver.stop()
    assert psql(postgres, database, undo).returncode == 0
    assert ids(database, "note") == [1, 2]


def ids(dsn: str, table: str) -> list[int]:
    with psycopg.connect(dsn) as connection:
        found = connection.execute(f"SELECT coalesce(array_agg(id ORDER BY id), '{{}}') FROM {table}".encode()).fetchone()
    assert found is not None
    numbers: list[int] = found[0]
    return numbers
