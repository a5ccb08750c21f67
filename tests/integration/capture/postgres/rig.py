"""A PostgreSQL source with a journal of its own, started, stopped and broken at will; and an independent reading of what it recorded."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.source import PostgresSource
from archiver.clock import SystemClock
from archiver.errors import ArchiverError, Unavailable
from archiver.journal.entry import Kind, Placed, SourceMark
from archiver.journal.reader import Reader
from archiver.journal.records import Gap
from archiver.journal.writer import Writer, WriterLimits
from archiver.postgres.lsn import parse_position
from archiver.store.memory import MemoryStore

SOURCE = "db"


class HeldStore(MemoryStore):
    """A store whose answers to PUT can be held back."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        await self.open.wait()
        return await super().put_if_absent(key, data)


@dataclass
class Capture:
    """One archive and one source. ``start`` and ``stop`` may follow each other as often as wanted."""

    dsn: str
    slot: str
    store: MemoryStore
    options: dict[str, Any] = field(default_factory=dict)
    limits: WriterLimits = field(default_factory=lambda: WriterLimits(puts_per_second=1000, heartbeat_seconds=1))
    errors: list[ArchiverError] = field(default_factory=list)
    """What each failed attempt raised."""
    source: PostgresSource = field(init=False)
    writer: Writer = field(init=False)
    stopping: asyncio.Event = field(init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def config(self) -> PostgresConfig:
        return PostgresConfig(**{"dsn": self.dsn, "slot": self.slot, "heartbeat_seconds": 1.0, "allow_unlimited_wal": True, **self.options})

    async def start(self, *, retry: bool = True, wait: bool = True) -> None:
        """A new session of the writer and the source, as after a restart of the program. ``retry`` as the service does; ``wait`` for the stream."""
        self.writer = await Writer.open(
            self.store, SystemClock(), instance="rig", version="0", sources={SOURCE: "postgres"}, limits=self.limits
        )
        self.stopping = asyncio.Event()
        self.source = PostgresSource(SOURCE, self.config, self.writer, SystemClock())
        self._tasks = [asyncio.create_task(self.writer.run()), asyncio.create_task(self._supervise(retry))]
        if wait:
            await self.until(lambda: self.source.status().state == "streaming")

    async def stop(self) -> None:
        """A clean stop of everything."""
        self.stopping.set()
        await self._tasks[1]
        await self.writer.close()
        await self._tasks[0]

    async def crash(self) -> None:
        """Everything ends now, wherever it is."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def run_once(self) -> None:
        """One attempt of the source in a session of its own; raises what it raises."""
        self.errors.clear()
        await self.start(retry=False, wait=False)
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        await self.crash()
        if self.errors:
            raise self.errors[-1]

    async def _supervise(self, retry: bool) -> None:
        while not self.stopping.is_set():
            try:
                await self.source.run(self.stopping)
            except ArchiverError as error:
                self.errors.append(error)
                if not retry or not isinstance(error, Unavailable):
                    return
                await asyncio.sleep(0.05)

    async def until(self, condition: Callable[[], bool | Awaitable[bool]], seconds: float = 30) -> None:
        """Wait for ``condition``; fails with the last error of the source."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            if self._tasks[1].done() and self.errors:
                raise self.errors[-1]
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"waited {seconds} s in vain; last errors: {self.errors[-3:]}")
            await asyncio.sleep(0.01)

    @property
    def durable(self) -> int:
        """Durable position."""
        return parse_position(self.writer.marks.get(SOURCE, SourceMark()).position)

    async def reached(self, lsn: int | str, seconds: float = 30) -> None:
        """Wait until everything before ``lsn`` is durable."""
        target = parse_position(lsn) if isinstance(lsn, str) else lsn
        await self.until(lambda: self.durable >= target, seconds)

    async def placed(self) -> list[Placed]:
        """Everything in the journal."""
        reader = Reader(self.store)
        extent = await reader.extent()
        kept = [placed for span in extent.kept async for placed in reader.read(span.first, last=span.last)]
        return kept + [placed async for placed in reader.read(extent.first)]

    async def kinds(self) -> list[Kind]:
        """Kinds of the source's runs but frames and progress, in order."""
        return [p.run.kind for p in await self.placed() if p.run.source == SOURCE and p.run.kind not in (Kind.PG_FRAMES, Kind.PROGRESS)]

    async def gaps(self) -> list[Gap]:
        """All gap entries."""
        return [msgspec.json.decode(body, type=Gap) for p in await self.placed() if p.run.kind is Kind.GAP for body in p.run.bodies()]

    async def inserted(self) -> list[int]:
        """First column of every row inserted by committed transactions, repetitions left out as readers do."""
        return [value for _, values in transactions(await self.placed()) for value in values]


@contextlib.asynccontextmanager
async def capture(dsn: str, slot: str, store: MemoryStore | None = None, **options: Any) -> AsyncIterator[Capture]:
    """A ``Capture`` that is gone at the end, however the test ends."""
    made = Capture(dsn, slot, store or MemoryStore(), options)
    try:
        yield made
    finally:
        await made.crash()


def transactions(placed: list[Placed]) -> list[tuple[int, list[int]]]:
    """End LSN and inserted keys of each committed transaction, in commit order; an independent, slow reading of pgoutput."""
    found: list[tuple[int, list[int]]] = []
    whole: list[int] = []
    streamed: dict[int, list[tuple[int, int]]] = {}
    block = 0
    for run in (p.run for p in placed if p.run.source == SOURCE):
        if run.kind is Kind.PG_STREAM:
            whole, streamed, block = [], {}, 0
        if run.kind is not Kind.PG_FRAMES:
            continue
        for frame in run.bodies():
            kind, body = chr(frame[25]), frame[26:]
            if kind == "B":
                whole = []
            elif kind == "S":
                (block,) = struct.unpack_from(">I", body)
                streamed.setdefault(block, [])
            elif kind == "E":
                block = 0
            elif kind == "I" and block:
                streamed[block].append((struct.unpack_from(">I", body)[0], _key(body[4:])))
            elif kind == "I":
                whole.append(_key(body))
            elif kind == "A":
                top, sub = struct.unpack_from(">II", body)
                if top == sub:
                    streamed.pop(top, None)
                else:
                    streamed[top] = [row for row in streamed[top] if row[0] != sub]
            elif kind in "Cc":
                (end,) = struct.unpack_from(">Q", body, 9 if kind == "C" else 13)
                rows = whole if kind == "C" else [key for _, key in streamed.pop(struct.unpack_from(">I", body)[0])]
                if not found or end > found[-1][0]:
                    found.append((end, rows))
                whole = []
    return found


def _key(body: bytes) -> int:
    # Int32 oid, 'N', Int16 columns, 't', Int32 length, text
    (length,) = struct.unpack_from(">I", body, 8)
    return int(body[12 : 12 + length])
