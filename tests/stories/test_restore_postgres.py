"""A good row in, a bad row in, and back to the moment between them, as a user does it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psycopg
import pytest

from tests.servers.archiver import Archiver, wait_until_durable
from tests.servers.compare import differences

SCHEMA = """
CREATE TABLE agents (id int PRIMARY KEY, name text NOT NULL, budget numeric(10, 2) DEFAULT 0);
CREATE TABLE runs (id bigserial PRIMARY KEY, agent int REFERENCES agents, result jsonb);
INSERT INTO agents SELECT g, 'agent ' || g, 100 FROM generate_series(1, 10) g;
INSERT INTO runs (agent, result) SELECT g, jsonb_build_object('n', g) FROM generate_series(1, 10) g;
"""


def execute(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute(statement.encode())


def moment(dsn: str) -> str:
    """The server's clock between what was committed and what will be."""
    time.sleep(0.05)
    with psycopg.connect(dsn) as session:
        row = session.execute("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')").fetchone()
    time.sleep(0.05)
    assert row is not None
    return str(row[0])


@pytest.mark.postgres(18)
def test_back_to_the_moment_before_the_mistake(database: str, target_database: str, tmp_path: Path) -> None:
    """After a mistake the database is brought back as it was a moment before it; the row's history says what happened."""
    execute(database, SCHEMA)
    archiver = Archiver(tmp_path, {"db": {"postgres": {"dsn": database, "allow_unlimited_wal": True, "poll_seconds": 1}}})
    archiver.start()
    try:
        archiver.wait_for_baseline("db")
        execute(database, "INSERT INTO agents VALUES (11, 'good', 5)")
        good = moment(database)
        execute(database, "UPDATE agents SET budget = -1; DELETE FROM runs; INSERT INTO agents VALUES (12, 'bad')")
        wait_until_durable(archiver, "db", database)

        planned = archiver.call("restore", "--at", good, "--to", target_database, "--dry-run", "--json")
        assert planned.returncode == 0, planned.stderr
        assert json.loads(planned.stdout)

        restored = archiver.call("restore", "--at", good, "--to", target_database)
        assert restored.returncode == 0, restored.stderr
        with psycopg.connect(target_database) as session:
            assert session.execute("SELECT count(*), sum(budget), max(id) FROM agents").fetchone() == (11, 1005, 11)
            assert session.execute("SELECT count(*) FROM runs").fetchone() == (10,)
        again = archiver.call("restore", "--at", "latest", "--to", target_database)
        assert again.returncode == 3
        assert "--overwrite" in again.stderr
        assert archiver.call("restore", "--at", "latest", "--to", target_database, "--overwrite").returncode == 0
        assert differences(database, target_database) == []

        log = archiver.call("log", "--source", "db", "--table", "public.agents", "--key", "id=11", "--json")
        assert [change["event"] for change in json.loads(log.stdout)] == ["INSERT", "UPDATE"]
        shown = archiver.call("show", "--source", "db", "--table", "agents", "--key", "id=11", "--at", good, "--json")
        assert json.loads(shown.stdout) == {"id": "11", "name": "good", "budget": "5.00"}
        diff = archiver.call("diff", "--source", "db", "--table", "agents", "--key", "id=11", "--from", good, "--json")
        assert diff.returncode == 1
        assert json.loads(diff.stdout) == [{"path": "budget", "before": "5.00", "after": "-1.00"}]
        folder = tmp_path / "out"
        assert archiver.call("restore", "--at", good, "--to", str(folder)).returncode == 0
        assert "agent 3" in (folder / "rows" / "public.agents.sql").read_text()
        assert archiver.stop() == 0
    finally:
        archiver.kill()
