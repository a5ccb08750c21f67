"""Writers on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from archiver.errors import ArchiverError
from archiver.journal.entry import Run
from archiver.journal.keys import segment_key
from archiver.journal.segment import Segment, decode
from archiver.journal.writer import Writer, WriterLimits
from archiver.store.memory import MemoryStore
from tests.simulation.loop import VirtualClock, inline
from tests.unit.journal.forge import frames

LIMITS: dict[str, Any] = {
    "segment_bytes": 4096,
    "buffer_bytes": 16384,
    "puts_per_second": 1000.0,
    "put_burst": 1000,
    "heartbeat_seconds": 10.0,
}


async def opened(store: MemoryStore, *, instance: str = "a", clock: VirtualClock | None = None, **limits: Any) -> Writer:
    return await Writer.open(
        store,
        clock or VirtualClock(),
        instance=instance,
        version="1",
        sources={"db": "postgres"},
        limits=WriterLimits(**(LIMITS | limits)),
        offload=inline,
    )


@asynccontextmanager
async def running(writer: Writer) -> AsyncIterator[asyncio.Task[None]]:
    commit = asyncio.create_task(writer.run())
    try:
        yield commit
    finally:
        commit.cancel()
        with suppress(asyncio.CancelledError, ArchiverError):
            await commit


def segment(store: MemoryStore, number: int) -> Segment:
    data = store.peek(segment_key(number))
    assert data is not None
    return decode(data, number)


def run_of(size: int = 100, position: str = "", source: str = "db") -> Run:
    return frames(source, b"x" * size, position=position)
