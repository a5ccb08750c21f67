"""``year.*``: every command on an archive of so many small segments, and on one with a quarter of them.

    python -m benchmarks.forged_year [segments]

The product's own writer makes the archive: a real server's schema and rows as the baseline, and then a transaction of three updates in each
segment, ten seconds apart and up to now, so that 3 000 000 segments are a year. Every command is a process of its own, and is asked when a
quarter is there, when all is, and after `archiver maintain`, with history files too. One line for each: seconds of the long archive beside
those of the short one (a ratio of 0.25 is linear, 1 does not grow), CPU seconds, and what the slope between both says of 3 000 000.
``year.start`` is a source that streams again: requests, and seconds in this process.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from archiver.clock import to_text
from archiver.journal.entry import Kind, Run
from archiver.journal.keys import PARTS
from archiver.journal.reader import Reader
from archiver.journal.writer import Writer
from archiver.postgres.lsn import format_lsn, parse_lsn
from archiver.postgres.records import Snapshot
from archiver.postgres.schema_bodies import read_schema
from archiver.store.directory import DirectoryStore
from benchmarks import forged
from benchmarks.capturing import VERSION, capture, quiet, scratch
from benchmarks.child import Answer, archiver, ask
from benchmarks.report import emit
from benchmarks.restore_database import journal
from benchmarks.start_archive import CountingStore
from tests.servers.postgres import PostgresServer
from tests.unit.replay.postgres import wire

SEGMENTS = 5_000
YEAR = 3_000_000
APART = 10_000_000
"""Microseconds from one segment to the next."""
ROWS = 10_000
PER_SEGMENT = 3
SOURCE = "year"
_TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, name text, amount text, note text)"
_ROWS = f"INSERT INTO t SELECT g, 'name of number ' || g, g * 7 || '.00', 'a note' FROM generate_series(0, {ROWS - 1}) g"


class Forging:
    """An archive that grows. ``began``: its first moment, microseconds."""

    def __init__(self, folder: Path, began: int) -> None:
        self.folder, self._began, self._made = folder, began, 0
        self._oid, self._lsn = 0, 0

    @property
    def now(self) -> int:
        """Where it ends."""
        return self._began + self._made * APART

    async def begin(self, real: Path) -> None:
        """Take the baseline of the archive in ``real``, as if it had been made at the first moment."""
        async with self._writing() as writer:
            runs = Reader(DirectoryStore(real)).read(0)
            async for placed in runs:
                run = placed.run
                if run.kind is Kind.PG_SCHEMA:
                    schema, dump = read_schema(placed)
                    self._oid = schema.catalog.tables[0].oid
                    bodies = [msgspec.json.encode(msgspec.structs.replace(schema, taken=self._began)), dump]
                elif run.kind is Kind.CHECKPOINT:
                    copy = msgspec.json.decode(next(iter(run.bodies())), type=Snapshot)
                    self._lsn = parse_lsn(copy.lsn) + 4096
                    copy = msgspec.structs.replace(copy, taken=self._began, replay_from=2)
                    bodies = [msgspec.json.encode(copy)]
                else:
                    bodies = list(run.bodies()) if run.kind in (Kind.PG_SLOT, Kind.PG_SEQUENCES) else []
                if bodies:
                    made = Run.of(SOURCE, run.kind, bodies, observed=self._began, position=run.position)
                    await writer.durable(await writer.append(made) + len(bodies) - 1)
        shutil.copytree(real / PARTS, self.folder / PARTS)

    async def grow(self, segments: int) -> None:
        """Up to so many."""
        relation = wire.relation(self._oid, "t", "d", [("id", 20, True), *((name, 25, False) for name in forged.COLUMNS[1:])])
        described = False
        async with self._writing() as writer:
            while self._made < segments:
                self._made += 1
                self._lsn += 256
                number = self._made
                rows = [wire.update(self._oid, forged.row(number * 7919 % ROWS + each & 8191, number)) for each in range(PER_SEGMENT)]
                messages = [
                    wire.begin(number + 1000, self._lsn, self.now),
                    *([] if described else [relation]),
                    *rows,
                    wire.commit(self._lsn, self._lsn + 64, self.now),
                ]
                described = True
                frames = [wire.frame(each, self._lsn) for each in messages]
                self._clock.time = self.now
                run = Run.of(SOURCE, Kind.PG_FRAMES, frames, observed=self.now, changed=self.now, position=format_lsn(self._lsn + 64))
                await writer.durable(await writer.append(run) + len(frames) - 1)

    @asynccontextmanager
    async def _writing(self) -> AsyncGenerator[Writer]:
        self._clock = forged.ForgedClock()
        self._clock.time = self.now
        async with forged.writing(self.folder, SOURCE, self._clock) as (writer, _):
            yield writer


class Times:
    """What each command took, by name, in the order of asking."""

    def __init__(self) -> None:
        self.found: dict[str, list[Answer]] = {}

    def ask(self, name: str, folder: Path, *arguments: str) -> None:
        """Ask once more."""
        self.found.setdefault(name, []).append(ask(folder, *arguments))

    def all(self, folder: Path, ended: int, server: PostgresServer, settings: Path) -> None:
        """Every command. ``ended``: microseconds, the end of the archive."""
        middle = [to_text(ended - back * 1_000_000) for back in (3600, 3300)]
        row = ["--source", SOURCE, "--table", "public.t", "--key", "id=5", "--json"]
        self.ask("status", folder, "status", "--offline")
        self.ask("check", folder, "check", "-c", str(settings))
        self.ask("window", folder, "window")
        self.ask("verify names", folder, "verify", "--level", "names")
        self.ask("log five minutes", folder, "log", "--from", middle[0], "--until", middle[1], "--json")
        self.ask("log one row", folder, "log", *row)
        self.ask("show one row", folder, "show", *row)
        with server.database() as target:
            self.ask("restore", folder, "restore", "--at", "latest", "--source", SOURCE, "--to", server.socket_dsn(target))


async def start(dsn: str, slot: str, folder: Path) -> tuple[float, int]:
    """Seconds until a source streams again, and requests until then."""
    async with capture(dsn, slot, folder):
        pass
    store, began = CountingStore(DirectoryStore(folder)), time.perf_counter()
    async with capture(dsn, slot, store):
        return time.perf_counter() - began, store.requests.total()


def main(segments: int) -> None:
    quiet()
    with PostgresServer.start(VERSION) as server, scratch() as folder:
        server.execute("CREATE DATABASE source")
        real, year, settings = folder / "real", folder / "year", folder / "archiver.yaml"
        asyncio.run(journal(server, "source", real, "real", table=_TABLE, before=[_ROWS], after=["SELECT 1"]))
        database = {"dsn": server.dsn("source"), "slot": "start", "allow_unlimited_wal": True}
        settings.write_text(json.dumps({"archive": {"url": year.as_uri()}, "sources": {"db": {"postgres": database}}}))
        forging = Forging(year, forged.ForgedClock().now() - segments * APART)
        asyncio.run(forging.begin(real))
        times, starts, forged_in = Times(), list[tuple[float, int]](), 0.0
        for place, count in enumerate((segments // 4, segments)):
            began = time.perf_counter()
            asyncio.run(forging.grow(count))
            forged_in += time.perf_counter() - began
            times.all(year, forging.now, server, settings)
            copied = folder / f"copy{place}"
            shutil.copytree(year, copied)
            starts.append(asyncio.run(start(server.dsn("source"), f"start{place}", copied)))
            server.execute(f"SELECT pg_drop_replication_slot('start{place}')")
            shutil.rmtree(copied)
        cpu, peak = archiver("--archive", year.as_uri(), "maintain", "--json")
        history_cpu, _ = archiver("--archive", year.as_uri(), "maintain", "--history", "--json")
        times.all(year, forging.now, server, settings)
    report(times, segments)
    (short, few), (long, many) = starts
    emit("year.start", long, "s", peer="a quarter", peer_value=short, less_is_better=True, requests=many, peer_requests=few)
    emit(
        "year.maintain",
        cpu,
        "CPU s",
        segments=segments,
        forged_per_second=round(segments / forged_in),
        peak_mib=peak,
        history_files_cpu_seconds=round(history_cpu, 2),
    )


def report(times: Times, segments: int) -> None:
    """Print a line for each command."""
    for name, (short, long, after) in times.found.items():
        slope = max(0.0, long.cpu - short.cpu) / (segments * 3 / 4)
        emit(
            f"year.{name.replace(' ', '_')}",
            long.seconds,
            "s",
            peer="a quarter",
            peer_value=short.seconds,
            less_is_better=True,
            segments=segments,
            cpu_seconds=round(long.cpu, 2),
            peer_cpu_seconds=round(short.cpu, 2),
            cpu_seconds_maintained=round(after.cpu, 2),
            cpu_seconds_at_3_million=round(long.cpu + slope * (YEAR - segments), 1),
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SEGMENTS)
