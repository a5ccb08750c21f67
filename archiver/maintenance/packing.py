"""Packs of small segments, made beside the journal: whoever walks over many asks for a thousand with two requests.

    which numbers have no pack? -> their segments, read and checked -> one object, created if absent -> read back

Nothing depends on a pack: a round that is killed leaves none, or a whole one. What a pack holds follows from the journal and its first
number alone, so that two at a time make the same object. A stretch that is not worth one, or that cannot be packed, gets a pack that holds
nothing, so that it is not read again each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import TYPE_CHECKING

from archiver.errors import Corrupt
from archiver.journal import segment as form
from archiver.journal.keys import PACKS, pack_key, pack_span, segment_key
from archiver.journal.pack import MOST_SEGMENTS, decode_pack, encode_pack
from archiver.journal.put_once import put_once
from archiver.journal.remedies import PACK_ANEW
from archiver.maintenance.packed import SPAN, Packed
from archiver.store.listing import all_keys

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.parts import Offload
    from archiver.journal.reader import Reader
    from archiver.store.protocol import Store

PACK_BYTES = 8 << 20
"""Of segments, behind which a pack ends earlier."""
SMALL_BYTES = 1 << 18
"""A segment that has more is worth a request of its own."""
LEAST = 64
"""Small segments in a row that are worth a pack."""
BEHIND = 1024
"""So many at the journal's end are left alone."""
_AT_ONCE = 16


async def pack_segments(reader: Reader, clock: Clock, *, span: int = SPAN, behind: int = BEHIND) -> AsyncGenerator[Packed]:
    """Pack what has no pack, the oldest first; every one is durable when given.

    ``Corrupt``: the journal's end is not known, or the store does not give back what it was given. ``Unavailable``.
    """
    tail = await reader.tail()
    if tail is None:
        return
    await reader.require_end()
    if reader.hole is not None:
        raise Corrupt(f"nothing is packed of a damaged journal: {reader.hole.message}", hint="run `archiver verify`")
    boundary = await reader.boundary()
    begin, end = boundary.first if boundary is not None else 0, tail.number - behind
    for first, last in uncovered(await _spans(reader.store, tail.number), begin, end):
        at = first
        while at <= last:
            until = min(at + span - 1, last)
            if last == end and until - at + 1 < span:
                # It becomes a whole one later.
                return
            packed = await _pack(reader, clock, at, until, tail.archive)
            yield packed
            at = packed.last + 1


def uncovered(spans: Iterable[tuple[int, int]], first: int, last: int) -> list[tuple[int, int]]:
    """What of ``first`` to ``last`` lies in none of ``spans``."""
    found, at = [], first
    for begin, end in sorted(spans):
        if begin > last:
            break
        if begin > at:
            found.append((at, begin - 1))
        at = max(at, end + 1)
    return [*found, (at, last)] if at <= last else found


async def _spans(store: Store, end: int) -> list[tuple[int, int]]:
    """Of all packs whose segments are there, as their keys say. ``end``: the last segment."""
    spans = [span for key in await all_keys(store, PACKS) if (span := pack_span(key)) is not None]
    return [(first, last) for first, last in spans if first <= last < first + MOST_SEGMENTS and last <= end]


async def _pack(reader: Reader, clock: Clock, first: int, until: int, archive: str) -> Packed:
    last, segments = await _gathered(reader.store, first, until, reader.offload)
    data = await reader.offload(encode_pack, archive, first, last, segments)
    if segments and not await reader.offload(_is_proved, data, first, last):
        segments = []
        data = encode_pack(archive, first, last, segments)
    key = pack_key(first, last)
    other = await put_once(reader.store, clock, key, data)
    if other is not None or await reader.store.get(key, 0, len(data) + 1) != data:
        raise Corrupt(f"{key} has other bytes than it was given", hint=PACK_ANEW)
    return Packed(key, first, last, len(segments), len(data))


async def _gathered(store: Store, first: int, until: int, offload: Offload) -> tuple[int, list[bytes]]:
    """Up to where the pack that begins with ``first`` goes, ``until`` at most, and the segments that it holds: all, or none."""
    found, begin, held = list[bytes](), first, 0
    for at in range(first, until + 1, _AT_ONCE):
        numbers = range(at, min(at + _AT_ONCE, until + 1))
        batch = await asyncio.gather(*(store.get(segment_key(number), 0, SMALL_BYTES + 1) for number in numbers))
        good = await offload(_are_good, batch, at)
        for number, data, is_good in zip(numbers, batch, good, strict=True):
            if data is not None and is_good:
                found.append(data)
                held += len(data)
                if begin > first and len(found) >= LEAST:
                    return begin - 1, []
                if begin == first and held >= PACK_BYTES:
                    return number, found
                continue
            if begin == first and len(found) >= LEAST:
                return number - 1, found
            found, begin, held = [], number + 1, 0
    if begin > first and found:
        # What begins there may go on behind ``until``.
        return begin - 1, []
    return until, found if len(found) >= LEAST else []


def _are_good(batch: list[bytes | None], first: int) -> list[bool]:
    return [data is not None and len(data) <= SMALL_BYTES and _is_whole(data, number) for number, data in enumerate(batch, first)]


def _is_whole(data: bytes, number: int) -> bool:
    try:
        form.decode(data, number)
    except Corrupt:
        return False
    return True


def _is_proved(data: bytes, first: int, last: int) -> bool:
    try:
        decode_pack(data, first, last).prove()
    except Corrupt:
        return False
    return True
