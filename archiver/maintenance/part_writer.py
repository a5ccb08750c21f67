"""Rows as COPY text -> parts in the store, each read back before it counts."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from typing import TYPE_CHECKING

from archiver.errors import Bug, Corrupt
from archiver.journal.keys import part_key
from archiver.journal.parts import Part, fetch_part
from archiver.journal.put_once import put_once

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.store.protocol import Store

PART_BYTES = 64 << 20
"""Rows of a part, before compression. It is cut behind the piece of rows that fills it."""


class PartWriter:
    """Writes the parts of one checkpoint. Memory: the rows of one part compressed, and one piece of rows."""

    def __init__(self, store: Store, clock: Clock, source: str, *, level: int) -> None:
        self._store, self._clock, self._source, self._level = store, clock, source, level
        self._identity = clock.unique()
        self._number = 0
        self._begin()

    def _begin(self) -> None:
        self._compressor = zstd.ZstdCompressor(level=self._level)
        self._chunks: list[bytes] = []
        self._rows = self._raw = 0

    async def add(self, rows: memoryview) -> Part | None:
        """Take whole rows; the part that they complete, durable and read back."""
        self._chunks.append(await asyncio.to_thread(self._compressor.compress, rows))
        self._rows += await asyncio.to_thread(bytes(rows).count, b"\n")
        self._raw += len(rows)
        return await self.end() if self._raw >= PART_BYTES else None

    async def end(self) -> Part | None:
        """The part of the rows that were gathered; ``None`` when there are none. ``Corrupt`` when it cannot be read back as written."""
        if not self._raw:
            return None
        self._chunks.append(await asyncio.to_thread(self._compressor.flush))
        data = b"".join(self._chunks)
        key = part_key(self._source, self._identity, self._number)
        part = Part(key, self._rows, len(data), self._raw, hashlib.sha256(data).hexdigest())
        self._number += 1
        self._begin()
        if await put_once(self._store, self._clock, key, data) is not None:
            raise Bug(f"part {key} exists already with other content")
        if await fetch_part(self._store, part) != data:
            raise Corrupt(f"part {key} does not come back as it was written", hint="the store loses data: do not trust it")
        return part
