"""``archiver mark``: points get names, whether an archiver runs or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archiver.journal.entry import Kind
from tests.integration.service.rig import captured, create_table, database_source, events, headers, kinds_at_end, write
from tests.servers.archiver import Archiver, wait_until_durable

pytestmark = pytest.mark.postgres(18)


def test_a_running_archiver_sets_the_mark_itself(database: str, tmp_path: Path) -> None:
    """The mark is durable on return, in the session that runs; a restore to it holds what was there before and nothing behind."""
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        before = write(database)
        wait_until_durable(archiver, "db", database)
        done = archiver.call("mark", "before 2.0", "--json")
        assert done.returncode == 0, done.stderr
        marked = json.loads(done.stdout)
        assert archiver.live()["last_entry"] >= marked["entry"] > 0
        assert marked["name"] == "before 2.0"
        write(database)
        wait_until_durable(archiver, "db", database)
        again = archiver.call("mark", "before 2.0")
        assert again.returncode == 3
        assert "already" in again.stderr
        assert archiver.call("mark", "a\tb").returncode == 2
        assert len({header.epoch for header in headers(f"file://{tmp_path}/journal")}) == 1
        out = tmp_path / "out"
        restored = archiver.call("restore", "--at", "mark:before 2.0", "--to", str(out))
        assert restored.returncode == 0, restored.stderr
        assert sum(rows.read_bytes().count(b"\tn1\n") for rows in out.rglob("*note*") if rows.is_file()) == before
        assert archiver.process.poll() is None
        assert archiver.stop() == 0


def test_without_an_archiver_the_mark_is_written_directly(database: str, tmp_path: Path) -> None:
    """After a clean stop the mark gets a closed session of its own; the archiver starts behind it at once and records no gap."""
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        assert archiver.stop() == 0
        done = archiver.call("mark", "stopped")
        assert done.returncode == 0, done.stderr
        assert kinds_at_end(f"file://{tmp_path}/journal")[-1] is Kind.CLOSE
        archiver.start()
        captured(archiver, "db", database)
        assert not events(archiver, "gap")
        assert archiver.call("mark", "stopped").returncode == 3
        archiver.kill()
        refused = archiver.call("mark", "killed")
        assert refused.returncode == 3
        assert "not closed" in refused.stderr
