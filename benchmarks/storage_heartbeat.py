"""``storage.heartbeat``: bytes of a heartbeat of an archive with 200 streams, beside one with a single stream.

    python -m benchmarks.storage_heartbeat

Two writers in turn, each of which has heard of its streams once and then of nothing more, into local directories, without waiting between
heartbeats. Value: bytes of all segments of heartbeats, the few that carry the marks of all streams among them, over their number.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archiver.clock import SystemClock
from archiver.journal.entry import Kind, Run
from archiver.journal.keys import segment_key
from archiver.journal.writer import Writer, WriterLimits
from archiver.store.directory import DirectoryStore
from benchmarks.capturing import quiet
from benchmarks.report import emit

STREAMS = 200
HEARTBEATS = 1024


async def heartbeat_bytes(folder: Path, streams: int) -> float:
    """Mean bytes of ``HEARTBEATS`` segments of a writer that has so many streams."""
    limits = WriterLimits(heartbeat_seconds=0.001, puts_per_second=100_000, put_burst=1000)
    clock = SystemClock()
    writer = await Writer.open(DirectoryStore(folder), clock, instance="bench", version="0", sources={}, limits=limits)
    commit = asyncio.create_task(writer.run())
    last = 0
    for number in range(streams):
        position = str(1_000_000_000 + number)
        run = Run.of(f"cluster/agents.example.org/kind{number}@agents", Kind.PROGRESS, [b""], observed=clock.now(), position=position)
        last = await writer.append(run)
    await writer.durable(last)
    first = writer.durable_segment + 1
    while writer.durable_segment < first + HEARTBEATS:
        await asyncio.sleep(0.05)
    await writer.close()
    await commit
    return sum((folder / segment_key(number)).stat().st_size for number in range(first, first + HEARTBEATS)) / HEARTBEATS


def measures() -> Iterator[dict[str, Any]]:
    """The measure, as ``report`` wants it."""
    quiet()
    found = []
    for streams in (STREAMS, 1):
        with tempfile.TemporaryDirectory() as folder:
            found.append(asyncio.run(heartbeat_bytes(Path(folder), streams)))
    yield {
        "measure": "storage.heartbeat",
        "value": found[0],
        "unit": "bytes",
        "peer": "the same with one stream",
        "peer_value": found[1],
        "less_is_better": True,
        "streams": STREAMS,
        "heartbeats": HEARTBEATS,
    }


if __name__ == "__main__":
    for each in measures():
        emit(**each)
