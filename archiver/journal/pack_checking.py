"""Whether packs are what the segments are, for ``verify``: it reads the segments themselves, and packs beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Corrupt
from archiver.journal.keys import PACKS, pack_span
from archiver.journal.pack import PACK_LIMIT, decode_pack
from archiver.journal.segment import decode

if TYPE_CHECKING:
    from archiver.journal.parts import Offload
    from archiver.journal.reader import Reader

_PAGE = 1000


class BadPack(msgspec.Struct, frozen=True):
    """A pack that is not what the journal has. No reader believes it."""

    key: str
    reason: str


async def check_packs(reader: Reader, end: int, *, deep: bool, offload: Offload) -> tuple[int, list[BadPack]]:
    """How many are as they were written, and those that are not. ``end``: the last segment that may be in one.
    ``deep``: their bytes; otherwise that their names are such.
    """
    passed, bad, after = 0, list[BadPack](), ""
    boundary = await reader.boundary()
    begin = boundary.first if boundary is not None else 0
    while keys := await reader.store.list(PACKS, after=after, limit=_PAGE):
        for key in keys:
            span = pack_span(key)
            if span is not None and span[0] <= span[1] < begin:
                # It waits to be deleted.
                continue
            reason = ""
            if span is None:
                reason = "it stands among the packs and is none"
            elif span[1] > end:
                reason = "it goes on behind the journal's end"
            elif deep:
                reason = await _fault(reader, key, *span, offload=offload)
            if reason:
                bad.append(BadPack(key, reason))
            else:
                passed += 1
        after = keys[-1]
    return passed, bad


async def _fault(reader: Reader, key: str, first: int, last: int, *, offload: Offload) -> str:
    """Why nobody should read from it; empty for nothing."""
    data = await reader.store.get(key, 0, PACK_LIMIT + 1)
    if data is None:
        return ""
    try:
        chain = await offload(_proved, data, first, last)
    except Corrupt as error:
        return error.message
    try:
        same = not chain or chain == await reader.chain_after(last)
    except Corrupt:
        # The journal's own damage, which is told there.
        return ""
    return "" if same else "it is of another journal"


def _proved(data: bytes, first: int, last: int) -> bytes:
    pack = decode_pack(data, first, last)
    if not len(pack):
        return b""
    for number in range(first, last + 1):
        decode(pack.segment(number), number)
    return pack.prove()
