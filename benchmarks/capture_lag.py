"""``capture.lag``: from the return of COMMIT to the moment at which the transaction is durable, at 1 000 transactions a second.

    python -m benchmarks.capture_lag [seconds]

Default settings: at most ten PUTs a second, so half of their interval is in every value. The journal is in a local directory.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from bisect import bisect_right

import psycopg

from archiver.postgres.lsn import parse_position
from benchmarks.capturing import SOURCE, TABLE, VERSION, capture, quiet, scratch
from benchmarks.report import emit
from tests.servers.postgres import PostgresServer

RATE = 1000


def load(dsn: str, seconds: float) -> None:
    """Commit single-row transactions at ``RATE``; print an LSN inside each and the wall-clock time at which its commit returned."""
    lines = []
    with psycopg.connect(dsn, autocommit=True) as session:
        began = time.monotonic()
        for number in range(int(seconds * RATE)):
            # One message, so one implicit transaction: the LSN lies before its commit record.
            row = session.execute(f"INSERT INTO t (id, a) VALUES ({number}, 0) RETURNING pg_current_wal_insert_lsn()::text").fetchone()
            assert row is not None
            lines.append(f"{row[0]} {time.time_ns() // 1000}")
            time.sleep(max(0.0, began + (number + 1) / RATE - time.monotonic()))
        taken = time.monotonic() - began
    print(taken)
    print("\n".join(lines))


async def measure(dsn: str, seconds: float) -> None:
    """Run the load beside a capture."""
    with scratch() as folder:
        async with capture(dsn, "bench", folder) as made:
            durable: list[tuple[int, int]] = []
            made.writer.on_durable(SOURCE, lambda position: durable.append((parse_position(position), time.time_ns() // 1000)))
            command = [sys.executable, "-m", "benchmarks.capture_lag", "load", dsn, str(seconds)]
            process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            output, _ = await process.communicate()
            taken, *lines = output.decode().split("\n")
            commits = [(parse_position(lsn), int(at)) for lsn, at in (line.split() for line in lines if line)]
            while durable[-1][0] <= commits[-1][0]:
                await asyncio.sleep(0.01)
    positions = [position for position, _ in durable]
    lags = sorted((durable[bisect_right(positions, lsn)][1] - at) / 1000 for lsn, at in commits)
    rate = round(len(commits) / float(taken))
    emit("capture.lag.p50", statistics.median(lags), "ms", transactions_per_second=rate)
    emit("capture.lag.p99", lags[int(len(lags) * 0.99)], "ms", transactions_per_second=rate)


def main(seconds: float) -> None:
    quiet()
    with PostgresServer.start(VERSION) as server:
        server.execute(TABLE)
        asyncio.run(measure(server.dsn(), seconds))


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        load(sys.argv[2], float(sys.argv[3]))
    else:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
