"""``archiver window`` says from when to when a database can be restored, and a restore agrees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from archiver import clock
from tests.integration.service.rig import captured, create_table, database_source, write
from tests.servers.archiver import Archiver
from tests.servers.postgres import PostgresServer


def now(dsn: str) -> int:
    """The server's own clock, microseconds."""
    with psycopg.connect(dsn, autocommit=True) as session:
        row = session.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").fetchone()
    assert row is not None
    return int(row[0])


def window_of(archiver: Archiver) -> dict[str, Any]:
    """The one source's."""
    said = archiver.call("window", "--json")
    assert said.returncode == 0, said.stderr
    answer = json.loads(said.stdout)
    assert answer["damage"] is None
    [source] = answer["sources"]
    return dict(source)


@pytest.mark.postgres(18)
def test_a_lost_slot_splits_the_window(postgres: PostgresServer, database: str, target_database: str, tmp_path: Path) -> None:
    """Up to the loss and from the new baseline on; a restore between is refused as the window says."""
    create_table(database)
    source = database_source(database, pg_bin=str(postgres.bin))
    with Archiver(tmp_path, {"db": source}, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        known = now(database)
        captured(archiver, "db", database)
        [span] = window_of(archiver)["restorable"]
        assert span["from_time"] < known
        assert span["before_time"] is None
        assert archiver.stop() == 0

        with psycopg.connect(database, autocommit=True) as session:
            session.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()")
        write(database)
        lost = now(database)
        archiver.start()
        archiver.wait(lambda: archiver.live_source("db").get("state") == "streaming", "it does not stream again")
        captured(archiver, "db", database)
        again = now(database)
        captured(archiver, "db", database)
        assert archiver.stop() == 0

        found = window_of(archiver)
        assert [(gap["what"], gap["reason"]) for gap in found["gaps"]] == [("all", "slot_lost")]
        assert len(found["restorable"]) == 2, found
        first, second = found["restorable"]
        assert first["from_time"] < known < first["before_time"] <= lost < second["from_time"] < again
        assert second["before_time"] is None
        for at, code in ((known, 0), (lost, 3), (again, 0)):
            done = archiver.call("restore", "--at", clock.to_text(at), "--to", target_database, "--dry-run")
            planned = archiver.call("restore", "--at", clock.to_text(at), "--to", target_database, "--overwrite")
            assert planned.returncode == code, done.stdout + planned.stderr

        shown = archiver.call("window", "--source", "db")
        assert shown.returncode == 0
        assert "slot_lost" in shown.stdout
        assert "the end" in shown.stdout
        assert "never" in shown.stdout
        wrong = archiver.call("window", "--source", "bd")
        assert (wrong.returncode, "its sources: db" in wrong.stderr) == (2, True)
