"""``restore.jobs``: `archiver restore --jobs 2` into an empty database, beside ``pg_restore -j2`` of the same database.

    python -m benchmarks.restore_jobs [rows [rounds]]

Four tables with so many rows each, a primary key and two more indexes, in an archive's baseline and in a dump of the custom format, both in
the same directory. Each side is a process of its own, over the Unix socket; the peer is followed by ``vacuumdb --analyze-only -j2``, since
ours ends with statistics, too. Value: seconds of the whole, median of rounds that take turns, and the CPU seconds of the clients.
Full size: 2 000 000 rows.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.capturing import VERSION, quiet, scratch
from benchmarks.report import emit
from benchmarks.restore_database import insert, journal
from tests.servers.postgres import PostgresServer

ROWS = 150_000
JOBS = 2
_OTHERS = ("u", "v", "w")


def content(rows: int) -> list[str]:
    """Statements that fill four tables alike, ``t`` being there."""
    indexes = ["CREATE INDEX ON t (a)", "CREATE INDEX ON t (c, id)"]
    return [
        *indexes,
        insert(0, rows),
        *(f"CREATE TABLE {each} (LIKE t INCLUDING ALL); INSERT INTO {each} SELECT * FROM t" for each in _OTHERS),
    ]


def took(*commands: list[str | Path]) -> tuple[float, float]:
    """Seconds of commands one after another, and of CPU in them."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def both(server: PostgresServer, archive: Path, dump: Path) -> list[tuple[float, float]]:
    """Ours and the peer's, each into a database that was just made."""
    found = []
    with server.database() as target:
        dsn = server.socket_dsn(target)
        ours = [sys.executable, "-m", "archiver", "--archive", archive.as_uri(), "restore", "--at", "latest", "--to", dsn]
        found.append(took([*ours, "--jobs", str(JOBS)]))
        expected = rows_in(server, target)
    with server.database() as target:
        dsn = server.socket_dsn(target)
        analyze: list[str | Path] = [server.bin / "vacuumdb", "--analyze-only", f"-j{JOBS}", "-d", dsn]
        found.append(took([server.bin / "pg_restore", f"-j{JOBS}", "-d", dsn, dump], analyze))
        assert expected == rows_in(server, target)
    return found


def rows_in(server: PostgresServer, database: str) -> list[int]:
    """Rows of each table."""
    with server.connect(database) as session:
        counts = [session.execute(f"SELECT count(*) FROM {each}".encode()).fetchone() for each in ("t", *_OTHERS)]
    return [row[0] for row in counts if row]


def main(rows: int, rounds: int) -> None:
    quiet()
    with PostgresServer.start(VERSION, {"max_wal_size": "4GB"}) as server, scratch() as folder:
        archive, dump = folder / "archive", folder / "dump"
        archive.mkdir()
        server.execute("CREATE DATABASE source")
        asyncio.run(journal(server, "source", archive, "bench", before=content(rows), after=["SELECT 1"]))
        subprocess.run([server.bin / "pg_dump", "-Fc", "-f", dump, "-d", server.socket_dsn("source")], check=True)
        found = [both(server, archive, dump) for _ in range(rounds)]
    ours, peer = ([statistics.median(each) for each in zip(*one, strict=True)] for one in zip(*found, strict=True))
    emit(
        "restore.jobs",
        ours[0],
        "s",
        peer=f"pg_restore -j{JOBS} and vacuumdb --analyze-only",
        peer_value=peer[0],
        less_is_better=True,
        rows=rows * (1 + len(_OTHERS)),
        cpu_seconds=round(ours[1], 2),
        peer_cpu_seconds=round(peer[1], 2),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
