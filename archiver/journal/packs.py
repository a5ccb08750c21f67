"""Small segments from packs, for whoever walks over many. A pack is believed only when it proves itself against the journal: it must end in
the chain hash that the journal has there, and that stands for every byte before it. Whatever else it is, the segments themselves serve.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING

import structlog

from archiver.errors import Corrupt
from archiver.journal.keys import PACKS, pack_span, packs_behind
from archiver.journal.pack import MOST_SEGMENTS, PACK_LIMIT, Pack, decode_pack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from archiver.journal.parts import Offload
    from archiver.store.protocol import Store

_PAGE = 1000
_OPEN = 2
"""Packs in memory: the one that is read, and the next."""
_STEP = 256
"""How far ahead nothing is looked for where names that are no packs' fill a page."""

_log = structlog.get_logger()


class Packs:
    """Packs of one archive. Safe for several tasks. Raises ``Unavailable`` and nothing else: a bad pack is passed over, and told in the
    log.

    For numbers that are asked for roughly in order: a listing for a thousand packs, and two requests for each.
    """

    def __init__(self, store: Store, chain_after: Callable[[int], Awaitable[bytes]], offload: Offload) -> None:
        """``chain_after``: the chain hash after a segment, asked of the journal itself. ``Corrupt`` when that one cannot tell."""
        self._store, self._chain_after, self._offload = store, chain_after, offload
        self._lock = asyncio.Lock()
        self._open: deque[Pack] = deque(maxlen=_OPEN)
        self._names: list[tuple[int, int, str]] = []
        self._listed = (0, 0)
        """For which numbers, the second excluded, all packs are in ``_names``."""
        self._passed: set[str] = set()

    async def find(self, number: int) -> bytes | None:
        """The stored bytes of a segment, as the journal has them; ``None`` when no pack that can be believed holds it."""
        async with self._lock:
            if (found := self._opened(number)) is not None:
                return found
            while (named := await self._named(number)) is not None:
                first, last, key = named
                pack = await self._read(first, last, key)
                if pack is not None:
                    self._open.append(pack)
                    return pack.segment(number)
                self._passed.add(key)
            return None

    def pass_over(self, number: int, reason: str) -> None:
        """What it holds under that number is not good."""
        for pack in [each for each in self._open if number in each]:
            self._open.remove(pack)
            key = next((name for first, last, name in self._names if (first, last) == (pack.index.first, pack.index.last)), "")
            self._passed.add(key)
            _log.warning("pack_passed_over", key=key, reason=reason)

    def _opened(self, number: int) -> bytes | None:
        return next((pack.segment(number) for pack in self._open if number in pack), None)

    async def _named(self, number: int) -> tuple[int, int, str] | None:
        """A pack of that number that was not passed over; of several the one that goes furthest."""
        if not self._listed[0] <= number < self._listed[1]:
            await self._list(number)
        at = bisect_right(self._names, number, key=lambda each: each[0])
        near = []
        while at and self._names[at - 1][0] > number - MOST_SEGMENTS:
            at -= 1
            if self._names[at][1] >= number and self._names[at][2] not in self._passed:
                near.append(self._names[at])
        return max(near, key=lambda each: each[1], default=None)

    async def _list(self, number: int) -> None:
        keys = await self._store.list(PACKS, after=packs_behind(max(0, number - MOST_SEGMENTS + 1)), limit=_PAGE)
        spans = [(*span, key) for key in keys if (span := pack_span(key)) is not None]
        self._names = sorted(each for each in spans if each[0] <= each[1] < each[0] + MOST_SEGMENTS)
        whole = len(keys) < _PAGE
        # Of the last one's number there may be more behind the page.
        reach = spans[-1][0] if spans else 0
        self._listed = (number, (1 << 64) if whole else max(reach, number + _STEP))

    async def _read(self, first: int, last: int, key: str) -> Pack | None:
        data = await self._store.get(key, 0, PACK_LIMIT + 1)
        if data is None:
            return None
        try:
            pack: Pack = await self._offload(decode_pack, data, first, last)
            if not len(pack):
                return None
            if await self._offload(pack.prove) == await self._chain_after(last):
                return pack
            reason = "the journal is another one there"
        except Corrupt as error:
            reason = error.message
        _log.warning("pack_passed_over", key=key, reason=reason)
        return None
