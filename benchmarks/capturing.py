"""What the capture benchmarks share: a server, and a source that writes to a journal in a local directory as the service would."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import structlog

from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.source import PostgresSource
from archiver.clock import SystemClock
from archiver.journal.entry import SourceMark
from archiver.journal.writer import Writer, WriterLimits
from archiver.postgres.lsn import parse_position
from archiver.store.directory import DirectoryStore
from archiver.store.protocol import Store

VERSION = 18
SOURCE = "db"
TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, a int, b text, c timestamptz, d jsonb)"


def quiet() -> None:
    """Only measures on the terminal."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


class Capture:
    """A running source and writer."""

    def __init__(self, source: PostgresSource, writer: Writer) -> None:
        self.source = source
        self.writer = writer

    @property
    def durable(self) -> int:
        """Durable position."""
        return parse_position(self.writer.marks.get(SOURCE, SourceMark()).position)

    async def reached(self, lsn: int) -> None:
        """Everything before ``lsn`` is durable."""
        while self.durable < lsn:
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def capture(dsn: str, slot: str, journal: Path | Store) -> AsyncIterator[Capture]:
    """Streaming, with a complete baseline, on entry; stopped in order on exit. Settings are the defaults. Closes the store."""
    store = DirectoryStore(journal) if isinstance(journal, Path) else journal
    clock, stop = SystemClock(), asyncio.Event()
    writer = await Writer.open(store, clock, instance="bench", version="0", sources={SOURCE: "postgres"}, limits=WriterLimits())
    source = PostgresSource(SOURCE, PostgresConfig(dsn=dsn, slot=slot, allow_unlimited_wal=True), writer, clock)
    tasks = [asyncio.create_task(writer.run()), asyncio.create_task(source.run(stop))]
    try:
        while source.status().state != "streaming":
            await asyncio.sleep(0.001)
            if tasks[1].done():
                tasks[1].result()
        yield Capture(source, writer)
        stop.set()
        await tasks[1]
        await writer.close()
        await tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for journals, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="archiver-bench-") as name:
        yield Path(name)
