"""``storage.idle.bytes`` and ``storage.idle.puts``: what an idle cluster of 20 kinds in one namespace costs, beside heartbeats alone.

    python -m benchmarks.storage_idle [seconds]

Ours captures 20 kinds of a real API server, of which nothing is heard but bookmarks. The peer is a writer without any source: it stores
only the heartbeat that every archive needs. Both run at the same time for the same seconds, with default settings, into local directories.
Value: segments and their bytes of these seconds, as of a whole day.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archiver.clock import SystemClock
from archiver.journal.keys import SEGMENTS
from archiver.journal.writer import Writer, WriterLimits
from archiver.store.directory import DirectoryStore
from benchmarks.capture_kubernetes import NAMESPACE, capture
from benchmarks.capturing import quiet
from benchmarks.report import emit
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import definitions, kinds

SECONDS = 180.0
"""Bookmarks come about once a minute."""
DAY = 86400


def stored(folder: Path) -> tuple[int, int]:
    """Segments in the archive, and their bytes."""
    sizes = [path.stat().st_size for path in (folder / SEGMENTS).iterdir() if path.is_file()]
    return len(sizes), sum(sizes)


async def heartbeats(folder: Path, until: asyncio.Event) -> None:
    """A writer that has nothing to write."""
    writer = await Writer.open(DirectoryStore(folder), SystemClock(), instance="bench", version="0", sources={}, limits=WriterLimits())
    commit = asyncio.create_task(writer.run())
    await until.wait()
    await writer.close()
    await commit


async def idle(plane: ControlPlane, ours: Path, peer: Path, seconds: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """What both stored in the same ``seconds``, the first minute after the lists left out."""
    until = asyncio.Event()
    async with capture(plane, ours) as (source, _):
        while source.status().state != "streaming" or len(source.status().parts) < len(kinds()):
            await asyncio.sleep(0.05)
        alone = asyncio.create_task(heartbeats(peer, until))
        await asyncio.sleep(60)
        before = stored(ours), stored(peer)
        await asyncio.sleep(seconds)
        after = stored(ours), stored(peer)
        until.set()
        await alone
    (ours_before, peer_before), (ours_after, peer_after) = before, after
    return (
        (ours_after[0] - ours_before[0], ours_after[1] - ours_before[1]),
        (peer_after[0] - peer_before[0], peer_after[1] - peer_before[1]),
    )


def measures(seconds: float = SECONDS) -> Iterator[dict[str, Any]]:
    """The two measures, as ``report`` wants them."""
    quiet()
    with ControlPlane.start(definitions=definitions()) as plane, tempfile.TemporaryDirectory() as scratch:
        ours, peer = asyncio.run(idle(plane, Path(scratch) / "ours", Path(scratch) / "peer", seconds))
    day = DAY / seconds
    for number, name, unit in ((1, "bytes", "bytes/day"), (0, "puts", "PUTs/day")):
        yield {
            "measure": f"storage.idle.{name}",
            "value": ours[number] * day,
            "unit": unit,
            "peer": "a writer without a source: heartbeats alone",
            "peer_value": peer[number] * day,
            "less_is_better": True,
            "kinds": len(kinds()),
            "namespace": NAMESPACE,
        }


if __name__ == "__main__":
    for each in measures(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS):
        emit(**each)
