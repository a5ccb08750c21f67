"""``verify.rate``: stored megabytes a second that `archiver verify` proves, beside ``sha256sum`` of the same files.

    python -m benchmarks.verify_rate [rows [rounds]]

Half of the rows are in the baseline's parts, half in the journal, with text that compresses to half its size. ``sha256sum`` hashes what is
stored, once; verify hashes that and what it holds, opens it, and looks at every entry. Both read from the page cache; rounds take turns.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path

from archiver.journal.verify_levels import verify_level
from archiver.store.directory import DirectoryStore
from benchmarks.capturing import VERSION, quiet, scratch
from benchmarks.child import archiver
from benchmarks.report import emit
from benchmarks.restore_database import journal
from tests.servers.postgres import PostgresServer

_TEXT = " || ".join(f"md5((g + {number} * 7919)::text)" for number in range(6))


def insert(first: int, last: int) -> str:
    return f"INSERT INTO t SELECT g, g, {_TEXT}, now(), '{{}}' FROM generate_series({first}, {last}) g"


def in_parts(first: int, last: int) -> list[str]:
    """Transactions of 10 000 rows."""
    return [insert(at, min(at + 9999, last)) for at in range(first, last + 1, 10_000)]


async def ours(folder: Path) -> float:
    store = DirectoryStore(folder)
    began = time.perf_counter()
    report = await verify_level(store, level="all")
    seconds = time.perf_counter() - began
    assert report.ok
    await store.close()
    return seconds


def peer(files: list[Path]) -> float:
    began = time.perf_counter()
    subprocess.run(["sha256sum", *files], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main(rows: int, rounds: int) -> None:
    quiet()
    with PostgresServer.start(VERSION, {"max_wal_size": "4GB"}) as server, scratch() as folder:
        server.execute("CREATE DATABASE source")
        before, after = in_parts(1, rows // 2), in_parts(rows // 2 + 1, rows)
        asyncio.run(journal(server, "source", folder, "bench_verify", before=before, after=after))
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        size = sum(path.stat().st_size for path in files) / 1e6
        mine, theirs = [], []
        for _ in range(rounds):
            theirs.append(peer(files))
            mine.append(asyncio.run(ours(folder)))
        _, peak = archiver("--archive", folder.as_uri(), "verify", "--json")
    emit(
        "verify.rate",
        size / statistics.median(mine),
        "MB/s",
        peer="sha256sum",
        peer_value=size / statistics.median(theirs),
        megabytes=round(size),
        files=len(files),
        peak_mib=peak,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
