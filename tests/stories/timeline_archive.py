"""An archive of six hours, made by the product's own writer from what servers send: a database and a cluster, a gap, a drill, a bad minute.

Both tables and objects hold texts that somebody chose to harm whoever looks at them.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import msgspec

from archiver.clock import SystemClock, from_text
from archiver.journal.drill_reports import DrillReport, record
from archiver.journal.entry import Kind, Run
from archiver.journal.limits import WriterLimits
from archiver.journal.reader import Reader
from archiver.journal.records import Gap
from archiver.journal.writer import Writer
from archiver.kubernetes.records import Listing, Resource, Watch
from archiver.maintenance.history_files import write_history
from archiver.postgres.lsn import format_lsn
from archiver.postgres.records import Catalog, Column, Schema, Snapshot, Table, TableRows
from archiver.store.directory import DirectoryStore
from tests.unit.replay.postgres import wire

BEGIN = from_text("2026-11-24T06:00:00Z")
END = from_text("2026-11-24T12:00:00Z")
BAD = from_text("2026-11-24T10:05:20Z")
"""When somebody deletes ten runs, and cancels a row."""
SECOND, MINUTE = 1_000_000, 60_000_000
GONE = [f"run-{number}" for number in range(7, 17)]
SCRIPT = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
AWKWARD = "evil\u202etxt.exe\x1b[2J'\"; rm -rf $HOME"
STREAM = "kube/agents.proompteng.ai/agentruns"
TABLES = {1: ("runs", ("id", "name", "state", "note")), 2: ("accounts", ("id", "owner", "balance"))}
KIND = Resource("agents.proompteng.ai", "v1alpha1", "agentruns", "AgentRun", namespaced=True)


class StoryClock(SystemClock):
    """Wall time is what the story says; waiting is real."""

    def __init__(self, time: int) -> None:
        self.time = time

    def now(self) -> int:
        self.time += 1
        return self.time


class Forger:
    """Appends what happened to one journal."""

    writer: Writer
    last = 1
    """The newest entry."""

    def __init__(self, clock: StoryClock) -> None:
        self.clock = clock
        self._lsn, self._xid, self._version = 16, 700, 10
        self.objects: dict[str, dict[str, Any]] = {}
        self.rows = set[bytes]()

    async def begin(self) -> None:
        """Both sources' first states: no rows, no objects."""
        await self.baseline("baseline")
        watch = Watch("c", "s", KIND, "", 0, "", "start")
        await self._append(Run.of(STREAM, Kind.K8S_WATCH, [msgspec.json.encode(watch)], observed=self.clock.now()))
        listing = Listing(KIND, "", 0, "1", 0, 2, "start")
        await self._append(Run.of(STREAM, Kind.CHECKPOINT, [msgspec.json.encode(listing)], observed=self.clock.now(), position="1"))

    async def baseline(self, cause: str) -> None:
        """A copy of the database, in which all tables are empty."""
        self.rows.clear()
        tables = [
            Table(oid, "public", name, "r", "p", "d", oid, "key", [Column(at, each, "text", 25) for at, each in enumerate(columns, 1)], [1])
            for oid, (name, columns) in TABLES.items()
        ]
        place = format_lsn(self._lsn)
        rows = [
            TableRows(oid, "public", name, "key", list(columns), list(range(1, len(columns) + 1)), [])
            for oid, (name, columns) in TABLES.items()
        ]
        schema = Schema(place, "1:1:", self.clock.now(), cause, 180000, "", Catalog(tables))
        first = await self._append(Run.of("db", Kind.PG_SCHEMA, [msgspec.json.encode(schema), b""], observed=self.clock.now()))
        copy = Snapshot(place, f"{self._xid + 1}:{self._xid + 1}:", self.clock.now(), first, rows, cause)
        await self._append(Run.of("db", Kind.CHECKPOINT, [msgspec.json.encode(copy)], observed=self.clock.now(), position=place))
        self._relations = [
            wire.frame(wire.relation(oid, name, "d", [(each, 25, each == "id") for each in columns]))
            for oid, (name, columns) in TABLES.items()
        ]

    async def commit(self, *messages: bytes) -> None:
        """One transaction at the clock's time."""
        self._lsn, self._xid = self._lsn + 16, self._xid + 1
        now = self.clock.now()
        frames = [wire.begin(self._xid, self._lsn, now), *messages, wire.commit(self._lsn, self._lsn + 8, now)]
        bodies = [*self._relations, *map(wire.frame, frames)] if self._relations else [*map(wire.frame, frames)]
        if self._relations:
            bodies = [bodies[len(self._relations)], *self._relations, *bodies[len(self._relations) + 1 :]]
            self._relations = []
        await self._append(Run.of("db", Kind.PG_FRAMES, bodies, observed=now, changed=now, position=format_lsn(self._lsn + 8)))

    async def event(self, kind: str, name: str, manager: str, spec: dict[str, Any], phase: str) -> None:
        """What a watch told of one run."""
        self._version += 1
        seconds = f"2026-11-24T{self.clock.time // (3600 * SECOND) % 24:02}:{self.clock.time // MINUTE % 60:02}:{self.clock.time // SECOND % 60:02}Z"
        fields = {"manager": manager, "operation": "Update", "apiVersion": "v1", "time": seconds, "fieldsType": "FieldsV1"}
        known = self.objects.setdefault(name, {"creationTimestamp": seconds})
        metadata = {"name": name, "namespace": "agents", "uid": f"uid-{name[:8]}", "resourceVersion": str(self._version), **known}
        # Who deletes leaves no trace there.
        metadata["managedFields"] = [{**fields, "fieldsV1": {"f:spec": {}, f"f:{phase}": {}}}] if kind != "DELETED" else []
        body = {
            "apiVersion": "agents.proompteng.ai/v1alpha1",
            "kind": "AgentRun",
            "metadata": metadata,
            "spec": spec,
            "status": {"phase": phase},
        }
        line = msgspec.json.encode({"type": kind, "object": body})
        await self._append(Run.of(STREAM, Kind.K8S_EVENT, [line], observed=self.clock.now(), position=str(self._version)))

    async def gap(self, since: int, until: int) -> None:
        """The slot was lost."""
        lost = Gap("all", "slot_lost", "the slot was dropped", format_lsn(self._lsn), "", since, until)
        self.clock.time = until
        await self._append(Run.of("db", Kind.GAP, [msgspec.json.encode(lost)], observed=self.clock.now()))
        await self.baseline("baseline")

    async def _append(self, run: Run) -> int:
        self.last = await self.writer.append(run)
        return self.last


async def forge(folder: Path) -> None:
    """The archive in ``folder``: history files up to nine o'clock, the rest in the journal alone."""
    clock, store = StoryClock(BEGIN), DirectoryStore(folder)
    sources = {"db": "postgres", "kube": "kubernetes"}
    limits = WriterLimits(puts_per_second=10_000)
    forger = Forger(clock)
    for part, (since, until) in enumerate([(BEGIN, from_text("2026-11-24T09:00:00Z")), (from_text("2026-11-24T09:00:00Z"), END)]):
        writer = await Writer.open(store, clock, instance="story", version="0", sources=sources, limits=limits)
        written = asyncio.create_task(writer.run())
        await asyncio.sleep(0)
        forger.writer = writer
        if not part:
            await forger.begin()
        await _work(forger, since, until, random.Random(part))
        await writer.close()
        await written
        if not part:
            async for _ in write_history(Reader(store), clock):
                pass
    finished = from_text("2026-11-24T08:10:00Z")
    await record(store, DrillReport("latest", finished - 90 * SECOND, finished, passed=True, point=5, sources=["db", "kube"]))
    await store.close()


async def _work(forger: Forger, since: int, until: int, chance: random.Random) -> None:
    """Calm and busy minutes, a slot that is lost at 09:20, and the bad minute."""
    clock, number, told = forger.clock, 0, 0
    for minute in range((until - since) // MINUTE):
        now = since + minute * MINUTE
        if from_text("2026-11-24T09:20:00Z") <= now < from_text("2026-11-24T09:41:00Z"):
            continue
        if now == from_text("2026-11-24T09:41:00Z"):
            await forger.gap(from_text("2026-11-24T09:20:00Z"), now)
        if now <= BAD < now + MINUTE:
            await _bad_minute(forger)
        if minute % 10 == 0:
            # A segment of its own, as time would make one.
            await forger.writer.durable(forger.last)
        busy = 3 + 9 * (minute // 17 % 4 == 1) + chance.randrange(4)
        for each in range(busy):
            clock.time = max(clock.time, now + each * (58 * SECOND // busy))
            number += 1
            run, key = f"run-{number % 50}", b"%d" % (number % 40)
            if number % 3:
                state = [b"queued", b"running", b"done"][number // 40 % 3]
                write = wire.update if key in forger.rows else wire.insert
                forger.rows.add(key)
                await forger.commit(write(1, [key, run.encode(), state, b"attempt %d" % (number // 40)]))
            elif number % 2:
                await forger.commit(wire.insert(2, [b"%d-%d" % (since // MINUTE, number), b"ann", b"%d" % (number % 97)]))
            else:
                run, told = f"run-{told % 30}", told + 1
                if run in GONE and clock.time > BAD:
                    continue
                phase = ["Pending", "Running", "Succeeded"][told // 30 % 3]
                kind = "MODIFIED" if run in forger.objects else "ADDED"
                await forger.event(kind, run, "agents-controller", {"agentRef": {"name": "cook"}, "round": told // 30}, phase)


async def _bad_minute(forger: Forger) -> None:
    """``run-7`` is spoilt by somebody and then deleted with nine others; row 5 is cancelled; and two texts mean harm."""
    clock = forger.clock
    clock.time = BAD
    await forger.event("MODIFIED", "run-7", "mallory-cli", {"agentRef": {"name": "nobody"}, "round": 99}, "Running")
    clock.time = BAD + 5 * SECOND
    for name in GONE:
        await forger.event("DELETED", name, "", {"agentRef": {"name": "nobody" if name == "run-7" else "cook"}, "round": 99}, "Running")
    clock.time = BAD + 8 * SECOND
    await forger.commit(wire.update(1, [b"5", b"run-5", b"cancelled", None]))
    clock.time = BAD + 9 * SECOND
    await forger.commit(wire.insert(1, [AWKWARD.encode(), SCRIPT.encode(), b"new", AWKWARD.encode()]))
    await forger.event("ADDED", "run-evil", AWKWARD, {"agentRef": {"name": SCRIPT}}, "Pending")
