"""``restore.one_table``: bytes that a restore of one table reads from the store, beside those of the table's own rows there.

    python -m benchmarks.restore_one_table [rows]

A database of two tables, ten times as many rows in the other as in the one that is wanted, both changed after the baseline, and a folded
checkpoint near the journal's end. Value: all bytes that the restore into a new schema asks the store for, journal and checkpoint's object
included. Beside them: how many of those are of the journal, which holds the changes of both, what a restore of all would read, and how
many rows a second are compared with living ones for a script.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

from archiver.clock import SystemClock
from archiver.journal.kept_segments import KeptSegments
from archiver.journal.keys import PARTS, SEGMENTS
from archiver.journal.reader import Reader
from archiver.replay.excerpt import Excerpt
from archiver.replay.points import parse_point
from archiver.replay.postgres.restore import ExcerptReport, plan_restore
from archiver.replay.restoration import Options
from archiver.restore import carry_out, close_plans, make_plans
from archiver.store.directory import DirectoryStore
from benchmarks.capturing import SOURCE, VERSION, quiet, scratch
from benchmarks.report import emit
from benchmarks.restore_database import fold, journal
from tests.servers.postgres import PostgresServer

ROWS = 100_000
_CHANGED = 100


class MeteredStore(DirectoryStore):
    """Counts the bytes that it gives away, by the first level of the key."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.given: Counter[str] = Counter()

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        """As the store does."""
        found = await super().get(key, start, length)
        self.given[key.partition("/")[0] + "/"] += len(found or b"")
        return found


def before(rows: int) -> list[str]:
    """What the baseline has."""
    insert = "INSERT INTO {} SELECT g, g, md5(g::text) || repeat('x', 40), now(), '{{\"k\": 1}}' FROM generate_series(1, {}) g"
    return ["CREATE TABLE other (LIKE t INCLUDING ALL)", insert.format("t", rows), insert.format("other", 10 * rows)]


def after() -> list[str]:
    """What comes behind it."""
    return [f"UPDATE {table} SET a = a + 1 WHERE id <= {_CHANGED}" for table in ("t", "other")]


async def restore(store: DirectoryStore, dsn: str, excerpt: Excerpt) -> tuple[float, ExcerptReport]:
    """Seconds from the plan to the end."""
    options, began = Options(excerpt=excerpt, into_source=True), time.perf_counter()
    with KeptSegments() as kept:
        plans = await make_plans(Reader(store, kept=kept), "latest", [dsn], [], options, SystemClock())
        [done] = await carry_out(plans, options, lambda _: nullcontext(lambda *_: None))
        await close_plans(plans)
    assert isinstance(done.report, ExcerptReport)
    return time.perf_counter() - began, done.report


async def measure(folder: Path, dsn: str, rows: int) -> None:
    """Print it."""
    store = MeteredStore(folder)
    whole = (await plan_restore(Reader(store), SOURCE, parse_point("latest"))).checkpoint.size
    store.given.clear()
    seconds, report = await restore(store, dsn, Excerpt([("public", "t")], [], {}, "restored"))
    assert report.tables[0].rows == rows
    given = dict(store.given)
    compared, script = await restore(store, dsn, Excerpt([("public", "t")], [], {}, "", folder / "merge.sql"))
    assert script.difference is not None
    assert script.difference.total == 0
    await store.close()
    emit(
        "restore.one_table",
        sum(given.values()),
        "bytes",
        peer="the table's own",
        peer_value=report.read.rows,
        less_is_better=True,
        journal_bytes=given.get(SEGMENTS, 0),
        rows_bytes=given.get(PARTS, 0),
        rows_of_all_bytes=whole,
        rows=rows,
        seconds=round(seconds, 2),
        compared_rows_per_second=round(rows / compared),
    )


def main(rows: int) -> None:
    quiet()
    with PostgresServer.start(VERSION, {"max_wal_size": "4GB"}) as server, scratch() as folder:
        server.execute("CREATE DATABASE source")
        asyncio.run(journal(server, "source", folder, "bench", before=before(rows), after=after()))
        fold(folder)
        asyncio.run(measure(folder, server.socket_dsn("source"), rows))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
