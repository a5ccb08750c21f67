"""``restore.after_a_year``: a restore with many changes behind the baseline and a folded checkpoint, beside one from a fresh baseline.

    python -m benchmarks.restore_after_a_year [changes [rounds]]

A real server's table is copied into an archive's baseline and then updated over and over; `archiver maintain` has folded that archive up to
its end. The peer is an archive whose capture begins afterwards, so that its baseline has the same rows. Value: seconds from the plan to the
end of ANALYZE, median of rounds that take turns. Beside them the CPU seconds, requests and bytes that each took of the store, which other
work on the machine does not change. Full size: 8 000 000 changes.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from archiver.journal.reader import Reader
from archiver.replay.points import parse_point
from archiver.replay.postgres.restore import plan_restore, restore_to_database
from archiver.store.directory import DirectoryStore
from benchmarks.capturing import VERSION, quiet, scratch
from benchmarks.report import emit
from benchmarks.restore_database import fold, insert, journal
from benchmarks.start_archive import CountingStore
from tests.servers.postgres import PostgresServer

CHANGES = 600_000
ROWS = 300_000
_AT_ONCE = 1000


class Taken(NamedTuple):
    """What one restore took."""

    seconds: float
    cpu: float
    requests: int
    size: int
    """Bytes of the store."""


class MeteredStore(CountingStore):
    """Counts the bytes that it gives away, too."""

    given = 0

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        found = await super().get(key, start, length)
        self.given += len(found or b"")
        return found


def updates(changes: int) -> str:
    """A statement that makes so many, a thousand in each transaction, of all rows in turn."""
    place = f"i * {_AT_ONCE} % {ROWS}"
    one = f"UPDATE t SET a = a + 1 WHERE id > {place} AND id <= {place} + {_AT_ONCE}"
    return f"DO $$ BEGIN FOR i IN 0..{changes // _AT_ONCE - 1} LOOP {one}; COMMIT; END LOOP; END $$"


async def restored(folder: Path, dsn: str) -> Taken:
    """One restore of the archive in ``folder`` to its end."""
    store = MeteredStore(DirectoryStore(folder))
    began, used = time.perf_counter(), time.process_time()
    reader = Reader(store)
    plan = await plan_restore(reader, "db", parse_point("latest"))
    report = await restore_to_database(plan, reader, store, dsn)
    taken = Taken(time.perf_counter() - began, time.process_time() - used, Counter(store.requests).total(), store.given)
    await store.close()
    assert report.rows == ROWS
    return taken


def main(changes: int, rounds: int) -> None:
    quiet()
    with PostgresServer.start(VERSION, {"max_wal_size": "4GB"}) as server, scratch() as folder:
        archives = [folder / "old", folder / "fresh"]
        server.execute("CREATE DATABASE source")
        asyncio.run(journal(server, "source", archives[0], "old", before=[insert(0, ROWS)], after=[updates(changes), "VACUUM FULL t"]))
        fold(archives[0])
        asyncio.run(journal(server, "source", archives[1], "fresh", table="", before=[], after=["SELECT 1"]))
        found: list[list[Taken]] = [[], []]
        for _ in range(rounds):
            for place, archive in enumerate(archives):
                with server.database() as target:
                    found[place].append(asyncio.run(restored(archive, server.socket_dsn(target))))
    old, fresh = (Taken(*(statistics.median(each) for each in zip(*one, strict=True))) for one in found)
    emit(
        "restore.after_a_year",
        old.seconds,
        "s",
        peer="from a fresh baseline",
        peer_value=fresh.seconds,
        less_is_better=True,
        changes=changes,
        rows=ROWS,
        cpu_seconds=round(old.cpu, 2),
        peer_cpu_seconds=round(fresh.cpu, 2),
        requests=old.requests,
        peer_requests=fresh.requests,
        bytes=old.size,
        peer_bytes=fresh.size,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else CHANGES, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
