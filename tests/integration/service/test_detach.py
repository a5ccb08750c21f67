"""``archiver detach`` beside ``archiver run``, as a user types it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import psycopg
import pytest

from tests.integration.service.rig import captured, create_table, database_source
from tests.servers.archiver import Archiver

OURS = (
    "SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_event_trigger)"
    " + (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())"
)


def ours(dsn: str) -> int:
    with psycopg.connect(dsn, autocommit=True) as session:
        row = session.execute(OURS.encode()).fetchone()
    assert row is not None
    return int(row[0])


def journal(folder: Path) -> dict[str, str]:
    """Every object of the archive with its hash."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "journal").rglob("*") if path.is_file()}


@pytest.mark.postgres(18)
def test_detach_is_refused_while_capture_runs_and_leaves_the_journal(database: str, tmp_path: Path) -> None:
    """The dry run exits as the command would, each time. Afterwards the archive gives back what it had."""
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        made = ours(database)
        assert made >= 6
        for words in (["--dry-run"], [], ["--dry-run", "--json"]):
            refused = archiver.call("detach", "db", *words)
            assert (refused.returncode, "capture" in refused.stderr, refused.stdout) == (3, True, ""), refused
        assert ours(database) == made
        assert archiver.stop() == 0
    elsewhere = Archiver(tmp_path, {"db": database_source(database)}, name="elsewhere", archive={"url": f"file://{tmp_path}/other"})
    assert [elsewhere.call("detach", "db", *words).returncode for words in (["--dry-run"], [])] == [2, 2]
    misspelt = archiver.call("detach", "dbx")
    assert (misspelt.returncode, "did you mean db?" in misspelt.stderr) == (2, True)
    before = journal(tmp_path)
    shown = archiver.call("detach", "db", "--dry-run")
    assert (shown.returncode, ours(database)) == (0, made), shown.stderr
    assert "pg_drop_replication_slot('archiver_db');" in shown.stdout
    done = archiver.call("detach", "db", "--json")
    assert done.returncode == 0, done.stderr
    assert [f"{line};" for line in json.loads(done.stdout)["sql"]] == shown.stdout.splitlines()
    assert (ours(database), journal(tmp_path)) == (0, before)
    again = archiver.call("detach", "db")
    assert (again.returncode, again.stdout) == (0, "nothing of the archiver's is there\n")
    assert archiver.call("restore", "--at", "latest", "--to", str(tmp_path / "out")).returncode == 0
