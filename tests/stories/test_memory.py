"""A transaction far larger than memory should ever hold."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from tests.servers.archiver import Archiver, wait_until_durable
from tests.servers.compare import differences

ROWS = 1_000_000
BOUND_MB = 300


@pytest.mark.postgres(18)
@pytest.mark.timeout(900)
def test_a_million_rows_in_one_transaction_stay_within_bounds(database: str, target_database: str, tmp_path: Path) -> None:
    """The archiver's resident memory never passes 300 MB over a transaction of a million rows, and the rows come back."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id bigint PRIMARY KEY, a int, b text, c timestamptz, d jsonb)")
    with Archiver(tmp_path, {"db": {"postgres": {"dsn": database, "allow_unlimited_wal": True}}}, serve=True) as archiver:
        archiver.start()
        archiver.wait(lambda: archiver.live_source("db").get("checkpoint"), "there is no baseline")
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO t SELECT g, g, 'row ' || g || repeat('x', 100), now(), '{}' FROM generate_series(1, %s) g", [ROWS]
            )
        wait_until_durable(archiver, "db", database, 400)
        most = peak(archiver.process.pid)
        print(f"peak resident memory {most:.0f} MB")
        assert most < BOUND_MB
        assert archiver.stop() == 0
        restored = archiver.call("restore", "--at", "latest", "--to", target_database, timeout=300)
        assert restored.returncode == 0, restored.stderr
        assert differences(database, target_database) == []


def peak(pid: int) -> float:
    """Megabytes: ``VmHWM``, the high-water mark of resident memory."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / 1e6
