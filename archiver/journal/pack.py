"""Bytes of a pack: many small segments, byte for byte, in one object. Pure: bytes in, values out. ``docs/design/0019-packs.md``.

    8   magic      "ARCHPAK" and version byte 0x01
    4   length of the index, u32 LE
    n   index, msgpack (PackIndex, an array that only grows)
    …   the segments, end to end
    32  SHA-256 of every byte before it

A pack holds all segments from its first to its last, or none of them: then it says that nothing there is worth a pack. What it holds
follows from the journal alone, so that whoever makes it makes the same bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from itertools import accumulate

import msgspec
import numpy as np

from archiver.errors import Bug, Corrupt
from archiver.journal import segment as form
from archiver.journal.keys import pack_key
from archiver.journal.remedies import PACK_ANEW

VERSION = 1
MAGIC = b"ARCHPAK" + bytes([VERSION])
MOST_SEGMENTS = 4096
"""Numbers that a pack may stand for."""
PACK_LIMIT = 1 << 24
"""Bytes that a pack may have: no more are read."""
_INDEX_LIMIT = 4 * MOST_SEGMENTS + 1024
_U32 = struct.Struct("<I")
_DIGEST = 32


class PackIndex(msgspec.Struct, frozen=True, array_like=True):
    """What a pack holds. Evolves like a segment's header."""

    archive: str
    first: int
    last: int
    lengths: bytes
    """Of each segment, u32 LE; empty: it holds none."""


_encode = msgspec.msgpack.Encoder(order="sorted").encode
_decode = msgspec.msgpack.Decoder(PackIndex).decode


class Pack:
    """A pack that is as it was written. ``prove`` says whether it is of the journal."""

    def __init__(self, index: PackIndex, data: bytes, start: int) -> None:
        """``data``: all of its bytes; the first segment begins at ``start``."""
        self.index = index
        self._data = data
        lengths = np.frombuffer(index.lengths, "<u4").tolist()
        self._ends = list(accumulate(lengths, initial=start))

    def __len__(self) -> int:
        """How many segments it holds."""
        return len(self._ends) - 1

    def __contains__(self, number: int) -> bool:
        return bool(len(self)) and self.index.first <= number <= self.index.last

    def segment(self, number: int) -> bytes:
        """The stored bytes of a segment that it holds."""
        place = number - self.index.first
        return self._data[self._ends[place] : self._ends[place + 1]]

    def prove(self) -> bytes:
        """The chain hash after its last segment, proved to stand for all valid segments that it holds: whoever finds the same one in the
        journal knows that these are the journal's, before any of them is opened.

        ``Corrupt`` when they do not continue one another, or when there is none.
        """
        chain, epoch = b"", 0
        valid = -1
        for number in range(self.index.first, self.index.first + len(self)):
            data = self.segment(number)
            header, head = form.decode_header(data, number)
            footer = form.footer_of(data, number)
            if header.archive != self.index.archive:
                raise form.CorruptSegment(number, f"it belongs to archive {header.archive}, the pack to {self.index.archive}")
            if header.epoch < epoch:
                continue
            form.check_chain(header, head, footer)
            if chain and header.prev != chain:
                raise form.CorruptSegment(number, "in the pack it does not continue the one before")
            chain, epoch, valid = footer.chain, header.epoch, number
        if valid != self.index.last:
            raise Corrupt("the pack does not end with a valid segment", hint=PACK_ANEW)
        return chain


def encode_pack(archive: str, first: int, last: int, segments: Sequence[bytes]) -> bytes:
    """The pack of all segments from ``first`` to ``last``, or of none. ``Bug``: others, or more than a pack may have."""
    if not first <= last < first + MOST_SEGMENTS or len(segments) not in (0, last - first + 1):
        raise Bug(f"{len(segments)} segments cannot be a pack of {first} to {last}")
    index = _encode(PackIndex(archive, first, last, b"".join(_U32.pack(len(data)) for data in segments)))
    data = b"".join((MAGIC, _U32.pack(len(index)), index, *segments))
    if len(data) + _DIGEST > PACK_LIMIT:
        raise Bug(f"a pack of {len(data)} bytes; {PACK_LIMIT} are allowed")
    return data + hashlib.sha256(data).digest()


def decode_pack(data: bytes, first: int, last: int) -> Pack:
    """The pack of segments ``first`` to ``last`` from exactly its bytes. ``Corrupt`` unless every byte is as it was written."""
    if len(data) > PACK_LIMIT:
        raise _corrupt(first, last, f"it has more than {PACK_LIMIT} bytes")
    if len(data) < len(MAGIC) + 4 + _DIGEST or data[:7] != MAGIC[:7]:
        raise _corrupt(first, last, "it does not begin like a pack")
    if data[7] != VERSION:
        raise Corrupt(f"{pack_key(first, last)} has format {data[7]}; this program knows {VERSION}", hint="use a newer archiver")
    if hashlib.sha256(memoryview(data)[:-_DIGEST]).digest() != data[-_DIGEST:]:
        raise _corrupt(first, last, "the SHA-256 of its bytes does not match: it was altered")
    length = int(_U32.unpack_from(data, len(MAGIC))[0])
    start = len(MAGIC) + 4 + length
    if length > _INDEX_LIMIT or start > len(data) - _DIGEST:
        raise _corrupt(first, last, f"it says that its index has {length} bytes")
    try:
        index = _decode(data[len(MAGIC) + 4 : start])
    except form.UNREADABLE as error:
        raise _corrupt(first, last, f"its index cannot be read: {error}") from None
    count = len(index.lengths) // 4
    if (index.first, index.last) != (first, last) or not first <= last < first + MOST_SEGMENTS:
        raise _corrupt(first, last, "it is not the pack that its key says")
    if len(index.lengths) % 4 or count not in (0, last - first + 1):
        raise _corrupt(first, last, f"it says that it holds {count} segments")
    if sum(np.frombuffer(index.lengths, "<u4").tolist()) != len(data) - _DIGEST - start:
        raise _corrupt(first, last, "the lengths in its index are not those of what it holds")
    return Pack(index, data, start)


def _corrupt(first: int, last: int, reason: str) -> Corrupt:
    return Corrupt(f"{pack_key(first, last)}: {reason}", hint=PACK_ANEW)
