"""``history.one_key``: how long a cold `archiver log` of one row takes among many changes, with history files and without.

    python -m benchmarks.history_one_key [changes]

The journal is made by the product's own writer from frames as a server sends them: a hundredth as many rows as changes, each updated over
and over in an order that no cache likes. Value: milliseconds from the start of the process to its end, median of three, the files covering
the whole journal; the peer is the same command without them, once. Beside them: how long a process takes that only prints its version, and
what it took to write the files.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from archiver.clock import SystemClock
from archiver.journal.entry import Kind, Run
from archiver.journal.keys import HISTORY
from archiver.journal.reader import Reader
from archiver.journal.writer import Writer, WriterLimits
from archiver.maintenance.history_files import write_history
from archiver.postgres.lsn import format_lsn
from archiver.postgres.records import Catalog, Column, Schema, Snapshot, Table, TableRows
from archiver.store.directory import DirectoryStore
from benchmarks.capturing import quiet, scratch
from benchmarks.report import emit
from tests.unit.replay.postgres import wire

CHANGES = 2_000_000
COLUMNS = ("id", "name", "amount", "note")
PER_TRANSACTION = 20
PER_RUN = 4_000
KEY = 5


def row(number: int, change: int) -> list[wire.Cell]:
    amount = b"%d.%02d" % (number * 7 + change, number % 100)
    return [b"%d" % number, b"name of number %d" % number, amount, b"a note that says %d" % change]


async def forge(folder: Path, changes: int) -> None:
    """A journal of one table with so many updates."""
    clock, store = SystemClock(), DirectoryStore(folder)
    limits = WriterLimits(puts_per_second=10_000)
    writer = await Writer.open(store, clock, instance="bench", version="0", sources={"db": "postgres"}, limits=limits)
    written = asyncio.create_task(writer.run())
    await asyncio.sleep(0)
    columns = [Column(number, name, "text", 25) for number, name in enumerate(COLUMNS, 1)]
    table = Table(1, "public", "t", "r", "p", "d", 1, "key", columns, [1])
    schema = Schema("0/1", "1:1:", clock.now(), "baseline", 180000, "", Catalog([table]))
    rows = TableRows(1, "public", "t", "key", list(COLUMNS), [1, 2, 3, 4], [])
    copy = Snapshot("0/1", "1:1:", clock.now(), 2, [rows])
    await writer.append(Run.of("db", Kind.PG_SCHEMA, [msgspec.json.encode(schema), b""], observed=clock.now()))
    await writer.append(Run.of("db", Kind.CHECKPOINT, [msgspec.json.encode(copy)], observed=clock.now(), position="0/1"))
    started = clock.now()
    relation = wire.relation(1, "t", "d", [(name, 25, name == "id") for name in COLUMNS])
    bodies = [wire.frame(each) for each in (wire.begin(1, 16, started), relation, wire.commit(16, 17, started))]
    lsn, many = 16, max(KEY + 1, changes // 100)
    for number in range(0, changes, PER_TRANSACTION):
        lsn += 16
        moment = started + number
        updates = [wire.update(1, row(each * 7919 % many, each // many)) for each in range(number, number + PER_TRANSACTION)]
        bodies += [wire.frame(each) for each in (wire.begin(number + 2, lsn, moment), *updates, wire.commit(lsn, lsn + 1, moment))]
        if len(bodies) >= PER_RUN:
            await writer.append(Run.of("db", Kind.PG_FRAMES, bodies, observed=clock.now(), changed=moment, position=format_lsn(lsn + 1)))
            bodies = []
    await writer.append(Run.of("db", Kind.PG_FRAMES, bodies, observed=clock.now(), changed=clock.now(), position=format_lsn(lsn + 1)))
    await writer.close()
    await written
    await store.close()


async def write_files(folder: Path) -> int:
    """Bytes of the history files."""
    store = DirectoryStore(folder)
    done = sum([step.written async for step in write_history(Reader(store), SystemClock())])
    await store.close()
    return done


def call(folder: Path, *arguments: str) -> tuple[float, bytes]:
    """Milliseconds and answer of one command in a process of its own."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "archiver", "--archive", folder.as_uri(), *arguments]
    done = subprocess.run(command, check=True, capture_output=True)
    return (time.perf_counter() - began) * 1000, done.stdout


def measures(changes: int = CHANGES) -> Iterator[dict[str, Any]]:
    """The measure, as ``report`` wants it."""
    quiet()
    asked = ("log", "--source", "db", "--table", "t", "--key", f"id={KEY}", "--json")
    with scratch() as folder:
        asyncio.run(forge(folder, changes))
        used = time.process_time()
        written = asyncio.run(write_files(folder))
        used = time.process_time() - used
        found = [call(folder, *asked) for _ in range(3)]
        bare = statistics.median(call(folder, "--version")[0] for _ in range(3))
        shutil.rmtree(folder / HISTORY)
        peer, answer = call(folder, *asked)
        assert all(each == answer for _, each in found)
        yield {
            "measure": "history.one_key",
            "value": statistics.median(each for each, _ in found),
            "unit": "ms",
            "peer": "the journal alone",
            "peer_value": peer,
            "less_is_better": True,
            "changes": changes,
            "versions": len(msgspec.json.decode(answer)),
            "bare_process_ms": round(bare, 1),
            "files_mb": round(written / 1e6, 1),
            "written_per_cpu_second": round(changes / used),
        }


def main() -> None:
    for measure in measures(int(sys.argv[1]) if len(sys.argv) > 1 else CHANGES):
        emit(**measure)


if __name__ == "__main__":
    main()
