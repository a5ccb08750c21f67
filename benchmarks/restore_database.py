"""A journal into a fresh database: ``restore.baseline`` and ``restore.tail`` beside psql's copy of the same final rows from a file.

    python -m benchmarks.restore_database [rows [rounds]]

Then ``checkpoint.fold``: `archiver maintain` over the archive of the tail, beside reading, opening and compressing the same rows again. And
``restore.folded``: that archive again, which begins from the folded checkpoint now, beside the archive whose baseline has all rows.

Both sides end with the same table, its primary key and statistics, in one transaction, over the Unix socket. ``baseline``: all rows
are in the checkpoint. ``tail``: the checkpoint is empty, the rows come from inserts in transactions of 1 000, and 3 in 10 of them are
updated afterwards in one transaction. Value: rows per second from the plan to the end of ANALYZE, median of rounds that take turns.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from archiver.journal.folded_checkpoints import CHECKPOINT_LIMIT
from archiver.journal.keys import checkpoint_prefix
from archiver.journal.parts import fetch_part, opened
from archiver.journal.reader import Reader
from archiver.postgres.checkpoint_records import FoldedCheckpoint
from archiver.postgres.lsn import parse_position
from archiver.replay.points import parse_point
from archiver.replay.postgres.restore import RestoreReport, plan_restore, restore_to_database
from archiver.store.directory import DirectoryStore
from archiver.untrusted import decode_untrusted
from benchmarks.capturing import SOURCE, TABLE, VERSION, capture, quiet, scratch
from benchmarks.child import archiver
from benchmarks.report import emit
from tests.servers.postgres import PostgresServer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROWS = 1_000_000
_COLUMNS = "id bigint NOT NULL, a int, b text, c timestamptz, d jsonb"


def insert(begin: int, count: int) -> str:
    return f"INSERT INTO t SELECT {begin} + g, g, 'row ' || g || repeat('x', 40), now(), '{{\"k\": 1}}' FROM generate_series(1, {count}) g"


def tail(rows: int) -> list[str]:
    """Statements whose changes make up the tail."""
    loop = f"DO $$ BEGIN FOR i IN 0..{rows // 1000 - 1} LOOP {insert(0, 1000).replace('0 + g', 'i * 1000 + g')}; COMMIT; END LOOP; END $$"
    return [loop, f"UPDATE t SET a = a + 1 WHERE id <= {rows * 3 // 10}"]


async def journal(
    server: PostgresServer, database: str, folder: Path, slot: str, *, before: list[str], after: list[str], table: str = TABLE
) -> None:
    """Capture ``database`` with ``table`` and ``before`` in its baseline and ``after`` behind it."""
    server.execute(*([table] if table else []), *before, dbname=database)
    async with capture(server.dsn(database), slot, folder) as made:
        await asyncio.to_thread(server.execute, *after, dbname=database)
        with server.connect(database) as session:
            row = session.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        await made.reached(parse_position(row[0]) - 256)
        while not made.writer.marks[SOURCE].checkpoint:
            await asyncio.sleep(0.01)
    with server.connect(database) as session:
        while session.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active", [slot]).fetchone():
            await asyncio.sleep(0.05)
        session.execute("SELECT pg_drop_replication_slot(%s)", [slot])


async def ours(folder: Path, dsn: str) -> tuple[float, RestoreReport]:
    """Seconds from the plan to the end."""
    store = DirectoryStore(folder)
    began = time.perf_counter()
    reader = Reader(store)
    plan = await plan_restore(reader, SOURCE, parse_point("latest"))
    report = await restore_to_database(plan, reader, store, dsn)
    seconds = time.perf_counter() - began
    await store.close()
    return seconds, report


def peer(server: PostgresServer, dsn: str, rows: Path) -> float:
    """Seconds of psql."""
    script = f"""
    BEGIN;
    CREATE TABLE t ({_COLUMNS});
    \\copy t FROM '{rows}'
    ALTER TABLE t ADD PRIMARY KEY (id);
    COMMIT;
    ANALYZE t;
    """
    began = time.perf_counter()
    subprocess.run([server.bin / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn], input=script.encode(), check=True)
    return time.perf_counter() - began


def fold(folder: Path) -> tuple[float, int]:
    """CPU seconds of `archiver maintain`, and the most memory that it took, MiB."""
    return archiver("--archive", folder.as_uri(), "maintain", "--behind", "0", "--json")


async def recompress(folder: Path) -> tuple[float, int]:
    """CPU seconds of the peer, and bytes of the rows."""
    store = DirectoryStore(folder)
    keys = await store.list(checkpoint_prefix(SOURCE), limit=1)
    folded = decode_untrusted(await store.get(keys[0]) or b"", FoldedCheckpoint, most=CHECKPOINT_LIMIT)
    began, size = time.process_time(), 0
    for part in [part for table in folded.snapshot.tables for part in table.parts]:
        text = opened(part, await fetch_part(store, part))
        zstd.compress(text, 3)
        size += len(text)
    await store.close()
    return time.process_time() - began, size


def measures(rows: int = ROWS, rounds: int = 3) -> Iterator[tuple[str, list[float], list[float], RestoreReport]]:
    """(name, our seconds, psql's seconds, our last report) of each measure."""
    shapes = {
        "restore.baseline": ([insert(0, rows), f"UPDATE t SET a = a + 1 WHERE id <= {rows * 3 // 10}"], ["SELECT 1"]),
        "restore.tail": ([], tail(rows)),
    }
    with PostgresServer.start(VERSION, {"max_wal_size": "4GB"}) as server, scratch() as folder:
        baseline, archive = 0.0, folder
        for number, (name, (before, after)) in enumerate(shapes.items()):
            source, archive, file = f"source{number}", folder / f"journal{number}", folder / f"rows{number}"
            archive.mkdir()
            server.execute(f"CREATE DATABASE {source}")
            asyncio.run(journal(server, source, archive, f"bench{number}", before=before, after=after))
            subprocess.run([server.bin / "psql", "-q", "-d", server.socket_dsn(source), "-c", f"\\copy t TO '{file}'"], check=True)
            mine, theirs, report = [], [], None
            for _ in range(rounds):
                with server.database() as target:
                    theirs.append(peer(server, server.socket_dsn(target), file))
                with server.database() as target:
                    seconds, report = asyncio.run(ours(archive, server.socket_dsn(target)))
                    mine.append(seconds)
            assert report is not None
            assert report.rows == rows
            yield name, mine, theirs, report
            baseline = rows / statistics.median(mine) if not number else baseline
        folded(archive, server, rows, rounds, baseline)


def folded(archive: Path, server: PostgresServer, rows: int, rounds: int, baseline: float) -> None:
    """Print the last two measures. ``baseline``: our rows per second from an archive whose baseline has all rows."""
    cpu, peak = fold(archive)
    bare, size = asyncio.run(recompress(archive))
    emit(
        "checkpoint.fold",
        size / 1e6 / cpu,
        "MB/CPU-s",
        peer="open and compress",
        peer_value=size / 1e6 / bare,
        megabytes=round(size / 1e6),
        peak_mib=peak,
    )
    seconds = []
    for _ in range(rounds):
        with server.database() as target:
            took, report = asyncio.run(ours(archive, server.socket_dsn(target)))
            assert report.rows == rows
            seconds.append(took)
    emit("restore.folded", rows / statistics.median(seconds), "rows/s", peer="from a baseline", peer_value=baseline, rows=rows)


def main(rows: int, rounds: int) -> None:
    quiet()
    for name, mine, theirs, report in measures(rows, rounds):
        emit(
            name,
            rows / statistics.median(mine),
            "rows/s",
            peer="psql \\copy",
            peer_value=rows / statistics.median(theirs),
            rows=rows,
            megabytes=round(sum(table.size for table in report.tables) / 1e6),
            steps=", ".join(f"{step} {seconds:.2f}" for step, seconds in report.steps.items()),
            peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
