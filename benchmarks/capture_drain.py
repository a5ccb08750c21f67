"""``capture.drain.tcp`` and ``capture.drain.socket``: a backlog through to a durable journal, beside pg_recvlogical to /dev/null.

    python -m benchmarks.capture_drain [rounds]

The backlog: 1 000 transactions of 1 000 inserts, and one of 300 000 updates; 1.3 million frames. Ours is packed, hashed, compressed and
fsynced into a local directory; the peer throws it away. Value: frames per second, median of the rounds, which take turns.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path

from archiver.postgres.lsn import format_position, parse_position
from benchmarks.capturing import TABLE, VERSION, capture, quiet, scratch
from benchmarks.report import emit
from tests.servers.postgres import PostgresServer

INSERTS = """
    DO $$ BEGIN
        FOR i IN 0..999 LOOP
            INSERT INTO t SELECT i * 1000 + g, g, 'row ' || g || repeat('x', 40), now(), '{"k": 1}' FROM generate_series(1, 1000) g;
            COMMIT;
        END LOOP;
    END $$"""
UPDATES = "UPDATE t SET a = a + 1 WHERE id <= 300000"


def backlog(server: PostgresServer) -> int:
    """Write it; where the log ends then."""
    server.execute(INSERTS, UPDATES)
    with server.connect() as session:
        row = session.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return parse_position(row[0])


def peer(server: PostgresServer, dsn: str, slot: str, end: int) -> float:
    """Seconds that pg_recvlogical takes for the backlog."""
    options = [f"--option={one}" for one in ("proto_version=4", f"publication_names={slot}_key", "streaming=on", "messages=true")]
    command: list[str | Path] = [
        server.bin / "pg_recvlogical",
        "-d",
        dsn,
        "--slot",
        f"{slot}_peer",
        "--start",
        "--no-loop",
        "-f",
        "/dev/null",
    ]
    began = time.perf_counter()
    subprocess.run([*command, "--endpos", format_position(end), *options], check=True)
    return time.perf_counter() - began


async def ours(dsn: str, slot: str, folder: Path, end: int) -> tuple[float, int, float]:
    """Seconds from START_REPLICATION until the backlog is durable; frames; seconds of CPU in this process."""
    async with capture(dsn, slot, folder) as made:
        began, cpu = time.perf_counter(), time.process_time()
        # The last commit ends just before the end of the log.
        await made.reached(end - 256)
        seconds = time.perf_counter() - began
        return seconds, made.source.status().frames, time.process_time() - cpu


async def prepare(dsn: str, slot: str, folder: Path) -> None:
    """Slot and baseline before the backlog is written."""
    async with capture(dsn, slot, folder):
        pass


def main(rounds: int) -> None:
    quiet()
    ways = ("tcp", "socket")
    with PostgresServer.start(VERSION) as server, scratch() as folder:
        server.execute(TABLE)
        dsns = {"tcp": server.dsn(), "socket": server.socket_dsn()}
        slots = [f"{way}_{at}" for way in ways for at in range(rounds)]
        for slot in slots:
            asyncio.run(prepare(dsns["socket"], slot, folder / slot))
            server.execute(f"SELECT pg_copy_logical_replication_slot('{slot}', '{slot}_peer')")
        end = backlog(server)
        for way in ways:
            results = []
            for at in range(rounds):
                slot = f"{way}_{at}"
                other = peer(server, dsns[way], slot, end)
                results.append((*asyncio.run(ours(dsns[way], slot, folder / slot, end)), other))
            emit(
                f"capture.drain.{way}",
                statistics.median(frames / seconds for seconds, frames, _, _ in results),
                "frames/s",
                peer="pg_recvlogical --file=/dev/null",
                peer_value=statistics.median(frames / other for _, frames, _, other in results),
                cpu_seconds=round(statistics.median(cpu for _, _, cpu, _ in results), 2),
                rounds=rounds,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
