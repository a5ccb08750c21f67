"""Every byte that an archive keeps, decompressed as far as anything in it is: for tests that look for what must not be there."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator

import pyarrow.parquet as pq
from backports import zstd

from archiver.journal.reader import Reader
from archiver.store.protocol import Store

_FRAME = re.compile(re.escape(b"\x28\xb5\x2f\xfd"))


async def places_of(store: Store, secret: bytes) -> set[str]:
    """The kinds of objects, by the first part of their keys, in which ``secret`` stands, compressed or not."""
    found = set()
    for key in await store.list(""):
        async for piece in _pieces(await store.get(key) or b"", key):
            if secret in piece:
                found.add(key.partition("/")[0])
    async for placed in Reader(store).read():
        if any(secret in body for body in placed.run.bodies()):
            found.add("journal")
    return found


async def _pieces(body: bytes, key: str) -> AsyncIterator[bytes]:
    yield body
    for frame in _FRAME.finditer(body):
        try:
            yield zstd.ZstdDecompressor().decompress(body[frame.start() :])
        except zstd.ZstdError:
            continue
    if key.endswith(".parquet"):
        for batch in pq.ParquetFile(io.BytesIO(body)).iter_batches():
            yield repr(batch.to_pylist()).encode()
