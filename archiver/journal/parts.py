"""A part: one object beside the journal that an entry names, with its size and hash.

What the entry says bounds what is read and opened: no object can take more memory than that, whatever stands in the store.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from archiver.errors import Corrupt
from archiver.journal.keys import PARTS
from archiver.journal.segment import CONTENT_LIMIT, compressed_limit

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from archiver.store.protocol import Store

Offload = Callable[..., Awaitable[Any]]
"""``asyncio.to_thread``, or what stands in for it where threads are unwanted."""

ROWS_LIMIT = CONTENT_LIMIT
"""Bytes of rows that a part may have: it is cut behind the row that fills it, and PostgreSQL sends no row of 1 GiB."""
_PIECE_BYTES = 1 << 25
"""What is read, or opened, of a part at once where it is only looked through."""
_PART_READS = 4
_ADVICE = "run `archiver verify`"


class Part(msgspec.Struct, frozen=True):
    """One object with rows of one table as COPY text (manual, COPY: text format), zstd-compressed."""

    key: str
    rows: int
    size: int
    """Bytes stored."""
    raw_size: int
    sha256: str
    """Of the stored bytes, hex. The entry that names it is in the hash chain, so the rows are too."""


async def fetch_part(store: Store, part: Part) -> bytes:
    """The stored bytes of a part. ``Corrupt`` when it is missing, or has, or is said to have, another size than it can have."""
    _check(part)
    stored = await store.get(part.key, 0, part.size + 1)
    if stored is None:
        raise Corrupt(f"part {part.key} is missing", hint=_ADVICE)
    if len(stored) != part.size:
        size = await store.size(part.key)
        raise Corrupt(f"part {part.key} was altered: it has {size} bytes; {part.size} were written", hint=_ADVICE)
    return stored


def opened(part: Part, stored: bytes) -> bytes:
    """COPY text of a part. ``Corrupt`` unless it is what its entry names."""
    _check(part)
    if len(stored) != part.size or hashlib.sha256(stored).hexdigest() != part.sha256:
        raise Corrupt(f"part {part.key} was altered: its SHA-256 does not match", hint=_ADVICE)
    decompressor = zstd.ZstdDecompressor()
    try:
        text = decompressor.decompress(stored, part.raw_size + 1)
    except zstd.ZstdError as error:
        raise Corrupt(f"part {part.key} cannot be decompressed: {error}", hint=_ADVICE) from error
    if len(text) != part.raw_size or not decompressor.eof or decompressor.unused_data:
        raise Corrupt(f"part {part.key} does not hold the {part.raw_size} bytes of rows that its entry says", hint=_ADVICE)
    return text


async def part_fault(store: Store, part: Part, *, deep: bool, offload: Offload) -> str:
    """Why an object is not the part that its entry names; empty when it is. ``deep``: its bytes are read and opened, a piece at a time."""
    try:
        _check(part)
    except Corrupt as error:
        return error.message
    size = await store.size(part.key)
    if size is None:
        return "it is missing"
    if size != part.size:
        return f"it has {size} bytes; {part.size} were written"
    if not deep:
        return ""
    looked = _PartScan(part)
    for at in range(0, part.size, _PIECE_BYTES):
        await offload(looked.feed, await store.get(part.key, at, min(_PIECE_BYTES, part.size - at)) or b"")
    return looked.fault()


async def part_faults(store: Store, parts: list[Part], *, deep: bool, offload: Offload) -> list[str]:
    """``part_fault`` of each, a few at a time."""
    gate = asyncio.Semaphore(_PART_READS)

    async def check(part: Part) -> str:
        async with gate:
            return await part_fault(store, part, deep=deep, offload=offload)

    return await asyncio.gather(*map(check, parts))


class _PartScan:
    """A part that is opened without keeping what it holds."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._hash = hashlib.sha256()
        self._decompressor = zstd.ZstdDecompressor()
        self._raw = 0
        self._broken = ""

    def feed(self, stored: bytes) -> None:
        """The next stored bytes. Takes long: call it in a thread."""
        self._hash.update(stored)
        try:
            while not self._broken:
                self._raw += len(self._decompressor.decompress(stored, _PIECE_BYTES))
                stored = b""
                if self._raw > self._part.raw_size:
                    self._broken = f"it holds more than the {self._part.raw_size} bytes of rows that its entry says"
                if self._decompressor.eof or self._decompressor.needs_input:
                    return
        except (zstd.ZstdError, EOFError) as error:
            self._broken = f"it cannot be decompressed: {error}"

    def fault(self) -> str:
        """What is wrong with the whole of it; empty for nothing."""
        if self._hash.hexdigest() != self._part.sha256:
            return "its SHA-256 does not match: it was altered"
        whole = self._decompressor.eof and not self._decompressor.unused_data and self._raw == self._part.raw_size
        return self._broken or ("" if whole else f"it does not hold the {self._part.raw_size} bytes of rows that its entry says")


def _check(part: Part) -> None:
    """``Corrupt`` when no part can be what the entry says."""
    if not part.key.startswith(PARTS):
        raise Corrupt(f"an entry names {part.key[:80]!r} as a part, which is none", hint=_ADVICE)
    if not 0 <= part.raw_size <= ROWS_LIMIT:
        raise Corrupt(f"part {part.key} is said to hold {part.raw_size} bytes of rows; {ROWS_LIMIT} are allowed", hint=_ADVICE)
    if not 0 <= part.size <= compressed_limit(part.raw_size, 1):
        raise Corrupt(f"part {part.key} is said to have {part.size} bytes, which cannot be {part.raw_size} of rows", hint=_ADVICE)
