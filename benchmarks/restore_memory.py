"""``restore.memory``: peak resident memory of ``archiver restore`` into a database, over a tail in which each of a million rows changes.

    python -m benchmarks.restore_memory [rows]

Two archives, of which the worse counts: one whose rows all come in the tail, 3 in 10 of them changed again by one transaction; and one
whose baseline has the rows, each of which the tail changes twice. The promise is the memory limit of the chart.
"""

from __future__ import annotations

import asyncio
import sys
import time

from benchmarks.capturing import VERSION, quiet, scratch
from benchmarks.child import archiver
from benchmarks.report import emit
from benchmarks.restore_database import insert, journal, tail
from tests.servers.postgres import PostgresServer

BOUND_MB = (768 << 20) / 1e6


def main(rows: int) -> None:
    quiet()
    twice = (
        f"DO $$ BEGIN FOR i IN 0..{rows // 1000 - 1} LOOP UPDATE t SET a = a + 1 WHERE id BETWEEN i * 1000 + 1 AND i * 1000 + 1000; COMMIT;"
        " END LOOP; END $$"
    )
    shapes = {"new": ([], tail(rows)), "changed": ([insert(0, rows)], [twice, twice])}
    peaks: dict[str, float] = {}
    seconds: dict[str, float] = {}
    with PostgresServer.start(VERSION, {"max_wal_size": "4GB"}) as server, scratch() as folder:
        for name, (before, after) in shapes.items():
            archive = folder / name
            archive.mkdir()
            server.execute(f"CREATE DATABASE source_{name}")
            asyncio.run(journal(server, f"source_{name}", archive, f"bench_{name}", before=before, after=after))
            with server.database() as target:
                began = time.perf_counter()
                _, peak = archiver("--archive", archive.as_uri(), "restore", "--at", "latest", "--to", server.socket_dsn(target), "--json")
                seconds[f"{name}_seconds"] = round(time.perf_counter() - began, 1)
                with server.connect(target) as session:
                    row = session.execute("SELECT count(*) FROM t").fetchone()
                assert row == (rows,)
            peaks[name] = round((peak << 20) / 1e6, 1)
    emit(
        "restore.memory",
        max(peaks.values()),
        "MB",
        peer="promised bound",
        peer_value=BOUND_MB,
        less_is_better=True,
        rows=rows,
        **peaks,
        **seconds,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
