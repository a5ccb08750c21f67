"""``capture.memory``: peak resident memory of ``archiver run`` over a transaction of a million rows, its baseline included.

    python -m benchmarks.capture_memory [rows]

A second million is there from the beginning, so that the baseline copies as much as the stream carries. The promise is 300 MB.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from archiver.postgres.lsn import parse_position
from benchmarks.capturing import TABLE, VERSION, scratch
from benchmarks.report import emit
from tests.servers.archiver import Archiver
from tests.servers.postgres import PostgresServer

BOUND_MB = 300
LIMIT_SECONDS = 300


def peak(pid: int) -> float:
    """Megabytes: ``VmHWM`` of the process."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def wait(archiver: Archiver, lsn: int) -> None:
    """Until a baseline is complete and everything before ``lsn`` is durable."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        line = archiver.source("db")
        if line and line["checkpoint"] and parse_position(line["durable_position"]) >= lsn:
            return
        if archiver.process.poll() is not None:
            break
        time.sleep(0.2)
    raise SystemExit(f"the archiver did not get there:\n{archiver.log_file.read_text()[-2000:]}")


def rows(server: PostgresServer, first: int, last: int) -> int:
    """Insert them in one transaction; where the log ends then."""
    server.execute(f"INSERT INTO t SELECT g, g, 'row ' || g || repeat('x', 100), now(), '{{}}' FROM generate_series({first}, {last}) g")
    with server.connect() as session:
        row = session.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return parse_position(row[0])


def main(count: int) -> None:
    with PostgresServer.start(VERSION) as server, scratch() as folder:
        server.execute(TABLE)
        rows(server, 1, count)
        archiver = Archiver(folder, {"db": {"postgres": {"dsn": server.dsn(), "allow_unlimited_wal": True}}})
        archiver.start()
        try:
            wait(archiver, 0)
            before = peak(archiver.process.pid)
            wait(archiver, rows(server, count + 1, 2 * count))
            most = peak(archiver.process.pid)
            archiver.stop()
        finally:
            archiver.kill()
    emit("capture.memory", most, "MB", peer="promised bound", peer_value=BOUND_MB, less_is_better=True, after_baseline=round(before, 1))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
