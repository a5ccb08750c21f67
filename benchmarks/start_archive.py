"""``start.long_archive``: requests to the store until a database streams again, in a long archive and in a short one.

    python -m benchmarks.start_archive [segments]

Between the database's last commit and the end of the archive stand so many segments of heartbeats, as after a long quiet time; the peer has
1 000 of them. They are made by the product's own encoder, with the signposts that its writer puts.
Value: requests of every kind (sizes, reads, ranged reads, lists, creations) from
the opening of the archive until the source streams; one run each, since requests do not vary with the machine.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archiver.journal.chain import End
from archiver.journal.keys import segment_key, signpost_key
from archiver.journal.reader import Reader
from archiver.journal.segment import SegmentHeader, encode
from archiver.journal.signposts import EVERY
from archiver.store.directory import DirectoryStore
from archiver.store.protocol import Store
from benchmarks.capturing import TABLE, VERSION, capture, quiet, scratch
from benchmarks.report import emit
from tests.servers.postgres import PostgresServer

SEGMENTS_LONG = 100_000
SEGMENTS_SHORT = 1_000
HEARTBEAT = 10_000_000
"""Microseconds between two forged segments."""


class CountingStore:
    """A store that counts the requests made to ``inner``."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.requests: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return self.inner.url

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        self.requests["creations"] += 1
        return await self.inner.put_if_absent(key, data)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        self.requests["reads"] += 1
        return await self.inner.get(key, start, length)

    async def size(self, key: str) -> int | None:
        self.requests["sizes"] += 1
        return await self.inner.size(key)

    async def list(self, prefix: str, after: str = "", limit: int | None = None) -> list[str]:
        self.requests["lists"] += 1
        return await self.inner.list(prefix, after, limit)

    async def delete(self, key: str) -> None:
        self.requests["deletions"] += 1
        await self.inner.delete(key)

    async def close(self) -> None:
        await self.inner.close()


async def lengthen(folder: Path, count: int) -> None:
    """Put ``count`` segments of heartbeats behind the archive's end, of the session that wrote the last one."""
    store = DirectoryStore(folder)
    reader = Reader(store)
    tail = await reader.segment(await reader.last())
    assert tail is not None
    end = End.after(tail.header, tail.footer)
    for _ in range(count):
        header = SegmentHeader(
            archive=end.archive,
            number=end.segment + 1,
            epoch=end.epoch,
            first=end.next,
            count=0,
            time=end.time + HEARTBEAT,
            observed_min=0,
            observed_max=0,
            prev=end.chain,
            sources=end.sources,
            session=end.session,
        )
        data, footer = encode(header, [], 3)
        (folder / segment_key(header.number)).write_bytes(data)
        if header.number % EVERY == 0:
            await store.put_if_absent(signpost_key(header.number), str(header.number).encode())
        end = End.after(header, footer)
    await store.close()


async def requests(dsn: str, slot: str, folder: Path) -> Counter[str]:
    """What a start asks of the store until the source streams."""
    store = CountingStore(DirectoryStore(folder))
    async with capture(dsn, slot, store):
        return store.requests.copy()


def measures(segments: int = SEGMENTS_LONG) -> Iterator[dict[str, Any]]:
    """The measure, as ``report`` wants it."""
    quiet()
    found: list[Counter[str]] = []
    with PostgresServer.start(VERSION) as server, scratch() as scratched:
        for number, count in enumerate((segments, SEGMENTS_SHORT)):
            folder, slot = scratched / str(number), f"bench{number}"
            folder.mkdir()
            with server.database() as database:
                server.execute(TABLE, dbname=database)
                asyncio.run(requests(server.dsn(database), slot, folder))
                asyncio.run(lengthen(folder, count))
                server.execute("INSERT INTO t SELECT g FROM generate_series(1, 10) g", dbname=database)
                found.append(asyncio.run(requests(server.dsn(database), slot, folder)))
                server.execute(f"SELECT pg_drop_replication_slot('{slot}')", dbname=database)
    long, short = found
    yield {
        "measure": "start.long_archive",
        "value": float(long.total()),
        "unit": "requests",
        "peer": f"the same archive with {SEGMENTS_SHORT} segments of heartbeats",
        "peer_value": float(short.total()),
        "less_is_better": True,
        "segments": segments,
        **long,
    }


if __name__ == "__main__":
    for each in measures(int(sys.argv[1]) if len(sys.argv) > 1 else SEGMENTS_LONG):
        emit(**each)
