"""Journals made by the product's own writer from what servers send, without servers: they are there in seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from archiver.clock import Clock, SystemClock
from archiver.journal.entry import Kind, Run
from archiver.journal.writer import Writer, WriterLimits
from archiver.kubernetes.records import Listing, Resource, Watch
from archiver.maintenance.part_writer import PartWriter
from archiver.postgres.announcements import END_TRIGGER
from archiver.postgres.lsn import format_lsn
from archiver.postgres.records import Catalog, Column, Schema, Snapshot, Table, TableRows
from archiver.store.directory import DirectoryStore
from tests.unit.replay.postgres import wire

COLUMNS = ("id", "name", "amount", "note")
PER_TRANSACTION = 20
PER_RUN = 4_000
SOURCE, CLUSTER = "db", "k"


def row(number: int, change: int) -> list[wire.Cell]:
    """Cells of one row after a change."""
    amount = b"%d.%02d" % (number * 7 + change, number % 100)
    return [b"%d" % number, b"name of number %d" % number, amount, b"a note that says %d" % change]


class ForgedClock(SystemClock):
    """A wall clock that says what it is told; without that, the machine's."""

    time = 0

    def now(self) -> int:
        return self.time or super().now()


@asynccontextmanager
async def writing(folder: Path, source: str, clock: Clock | None = None) -> AsyncIterator[tuple[Writer, DirectoryStore]]:
    """An open journal; what was appended is durable on return."""
    clock, store = clock or SystemClock(), DirectoryStore(folder)
    limits = WriterLimits(puts_per_second=10_000)
    writer = await Writer.open(store, clock, instance="bench", version="0", sources={source: "bench"}, limits=limits)
    written = asyncio.create_task(writer.run())
    await asyncio.sleep(0)
    yield writer, store
    await writer.close()
    await written
    await store.close()


async def changes_of_rows(
    folder: Path,
    changes: int,
    *,
    per_transaction: int = PER_TRANSACTION,
    copied: int = 0,
    many: int = 0,
    apart: int = 0,
    per_run: int = PER_RUN,
) -> None:
    """A journal of one table with so many updates, and ``copied`` rows in its baseline.

    ``many``: how many rows are updated in turn; default: a hundredth as many as there are changes. ``apart``: microseconds from one change
    to the next, up to now, and a segment for each run; without it all happens at once, in segments as large as they get.
    ``per_run``: messages of a run.
    """
    clock, many = ForgedClock(), many or max(10, changes // 100)
    clock.time = clock.now() - changes * apart if apart else 0
    async with writing(folder, SOURCE, clock) as (writer, store):
        parts, rows = PartWriter(store, clock, SOURCE, level=3), []
        for begin in range(0, copied, 10_000):
            cells = (row(number, 0) for number in range(begin, min(copied, begin + 10_000)))
            text = b"".join(b"\t".join(each or b"" for each in line) + b"\n" for line in cells)  # type: ignore[misc]
            rows += [made] if (made := await parts.add(text)) else []
        rows += [made] if (made := await parts.end()) else []
        columns = [Column(number, name, "text", 25) for number, name in enumerate(COLUMNS, 1)]
        table = Table(1, "public", "t", "r", "p", "d", 1, "key", columns, [1])
        schema = Schema("0/1", "1:1:", clock.now(), "baseline", 180000, "", Catalog([table]))
        copy = Snapshot("0/1", "1:1:", clock.now(), 2, [TableRows(1, "public", "t", "key", list(COLUMNS), [1, 2, 3, 4], rows)])
        await writer.append(Run.of(SOURCE, Kind.PG_SCHEMA, [msgspec.json.encode(schema), END_TRIGGER.encode()], observed=clock.now()))
        await writer.append(Run.of(SOURCE, Kind.CHECKPOINT, [msgspec.json.encode(copy)], observed=clock.now(), position="0/1"))
        started = clock.now()
        relation = wire.relation(1, "t", "d", [(name, 25, name == "id") for name in COLUMNS])
        bodies = [wire.frame(each) for each in (wire.begin(1, 16, started), relation, wire.commit(16, 17, started))]
        lsn = 16
        for number in range(0, changes, per_transaction):
            lsn += 16
            moment = started + number * (apart or 1)
            bodies.append(wire.frame(wire.begin(number + 2, lsn, moment)))
            for each in range(number, min(changes, number + per_transaction)):
                bodies.append(wire.frame(wire.update(1, row(each * 7919 % many, each // many))))
                if len(bodies) >= per_run:
                    clock.time = moment if apart else 0
                    seq = await _append(writer, bodies, moment, lsn)
                    if apart:
                        await writer.durable(seq)
                    bodies = []
            bodies.append(wire.frame(wire.commit(lsn, lsn + 1, moment)))
        await _append(writer, bodies, clock.now(), lsn + 1)


async def _append(writer: Writer, bodies: list[bytes], moment: int, lsn: int) -> int:
    return await writer.append(Run.of(SOURCE, Kind.PG_FRAMES, bodies, observed=moment, changed=moment, position=format_lsn(lsn)))


async def changes_of_objects(folder: Path, changes: int, *, size: int = 4096, many: int = 0, at_once: int = 0) -> None:
    """A journal of a cluster with one list of no objects, and so many states of some, each about ``size`` bytes.

    ``many``: objects, default a hundredth of ``changes``. ``at_once``: changes of each segment; without it all go into as few as
    they can.
    """
    clock, stream = SystemClock(), f"{CLUSTER}/batch/jobs"
    resource = Resource("batch", "v1", "jobs", "Job", namespaced=True)
    async with writing(folder, stream) as (writer, _):
        begun = Watch("c", "s", resource, "", 0, "", "start")
        listing = Listing(resource, "", 0, "1", 0, 2, "start")
        await writer.append(Run.of(stream, Kind.K8S_WATCH, [msgspec.json.encode(begun)], observed=clock.now()))
        await writer.append(Run.of(stream, Kind.CHECKPOINT, [msgspec.json.encode(listing)], observed=clock.now(), position="1"))
        many, step = many or max(10, changes // 100), at_once or 100
        for begin in range(0, changes, step):
            lines = [_line(number, many, size) for number in range(begin, min(changes, begin + step))]
            seq = await writer.append(Run.of(stream, Kind.K8S_EVENT, lines, observed=clock.now(), position=str(begin + step + 1)))
            if at_once:
                await writer.durable(seq)


def _line(number: int, many: int, size: int) -> bytes:
    place = number * 7919 % many
    words = " ".join(f"{place * 31 + each:x}" for each in range(size // 6))
    metadata = {"name": f"job-{place}", "namespace": "default", "uid": f"u{place}", "resourceVersion": str(number + 2)}
    thing = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"words": words}, "status": {"round": number // many}}
    return msgspec.json.encode({"type": "MODIFIED" if number >= many else "ADDED", "object": thing})
