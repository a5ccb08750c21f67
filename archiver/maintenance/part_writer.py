"""Rows as COPY text, or objects -> parts in the store, each read back before it counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Bug, Corrupt
from archiver.journal.growing_part import GrowingPart
from archiver.journal.keys import part_key
from archiver.journal.parts import Offload, Part, fetch_part
from archiver.journal.put_once import put_once

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.store.protocol import Store

PART_BYTES = 64 << 20
"""Rows of a part, before compression. It is cut behind the piece of rows that fills it."""


class PartWriter:
    """Writes the parts of one checkpoint. Memory: the rows of one part compressed, and one piece of rows."""

    def __init__(self, store: Store, clock: Clock, source: str, *, level: int, offload: Offload = asyncio.to_thread) -> None:
        self._store, self._clock, self._source, self._level, self._offload = store, clock, source, level, offload
        self._identity = clock.unique()
        self._number = 0
        self._part = GrowingPart(level)

    async def add(self, text: bytes | memoryview) -> Part | None:
        """Take whole rows of COPY text; the part that they complete, durable and read back."""
        await self._offload(lambda: self._part.add_text(text, bytes(text).count(b"\n")))
        return await self.end() if self._part.raw_size >= PART_BYTES else None

    async def add_rows(self, rows: list[bytes]) -> Part | None:
        """As ``add``, for rows or objects that stand apart."""
        await self._offload(self._part.add, rows)
        return await self.end() if self._part.raw_size >= PART_BYTES else None

    async def end(self) -> Part | None:
        """The part of the rows that were gathered; ``None`` when there are none. ``Corrupt`` when it cannot be read back as written."""
        if not self._part.rows:
            return None
        unnamed: Part
        unnamed, data = await self._offload(self._part.end)
        part = msgspec.structs.replace(unnamed, key=part_key(self._source, self._identity, self._number))
        self._number += 1
        self._part = GrowingPart(self._level)
        # Waits for a store that takes nothing: who gives up leaves the parts before it, and another try writes them all again.
        if await put_once(self._store, self._clock, part.key, data, patience_seconds=None) is not None:
            raise Bug(f"part {part.key} exists already with other content")
        if await fetch_part(self._store, part) != data:
            raise Corrupt(f"part {part.key} does not come back as it was written", hint="the store loses data: do not trust it")
        return part
