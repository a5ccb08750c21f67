"""Whole segments from a store, one or many in a row, each checked alone. What they are to each other is the reader's affair."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archiver.errors import Corrupt
from archiver.journal import segment as form
from archiver.journal.keys import segment_key
from archiver.journal.last_segment import grown
from archiver.journal.packs import Packs
from archiver.journal.reading_ahead import MOST_ASKED, ReadingAhead, fits
from archiver.waiting import cancel

if TYPE_CHECKING:
    from archiver.journal.kept_segments import KeptSegments
    from archiver.journal.parts import Offload
    from archiver.store.protocol import Store

_FOOTER_GUESS = 512
_INLINE_BYTES = 65536
_LONG_WALK = 512
"""Segments ahead of whoever looks for packs: to look for them costs a request or two."""


class _Large:
    """Stands for a segment that is read when its turn has come."""


@dataclass(frozen=True, slots=True)
class _Found:
    segment: form.Segment
    data: bytes
    """As stored."""


@dataclass(frozen=True, slots=True)
class _Request:
    """For a segment whose turn has not come."""

    asked: int
    """Bytes, at most."""
    task: asyncio.Task[_Found | _Large | None]


class WholeSegments:
    """Errors and cancellation as of ``Reader``."""

    def __init__(self, store: Store, *, ahead: int, kept: KeptSegments | None, packs: bool, offload: Offload) -> None:
        """See ``Reader``."""
        self._store, self._ahead, self._kept, self._packed, self._offload = store, ahead, kept, packs, offload

    async def segment(self, number: int) -> form.Segment | None:
        """Segment ``number``; ``None`` when there is no such segment."""
        found = await self._one(number)
        return found.segment if found is not None else None

    async def footer(self, number: int) -> form.SegmentFooter:
        """Of a segment that exists."""
        end = await self._store.get(segment_key(number), -_FOOTER_GUESS)
        if end is None:
            raise form.CorruptSegment(number, "it was there and is gone")
        length = form.footer_bytes(end, number)
        if len(end) == _FOOTER_GUESS < length + form.END_BYTES:
            end = await self._store.get(segment_key(number), -length - form.END_BYTES) or b""
        return form.footer_of(end, number)

    async def run(self, number: int, last: int | None, *, known: int) -> AsyncGenerator[form.Segment]:
        """Segments from ``number`` to ``last``, both included, or to the journal's end.

        ``known``: one that is there; without ``last``, not much is asked for behind it.
        """
        requests: deque[_Request] = deque()
        is_long = (last if last is not None else known) - number >= _LONG_WALK
        packs = Packs(self._store, self.chain_after, self._offload) if self._packed and is_long else None
        ahead = ReadingAhead(self._ahead)
        try:
            while last is None or number <= last:
                reach = last if last is not None else max(known, number + self._ahead)
                while (following := number + len(requests)) <= reach and (
                    asked := ahead.asks(len(requests), sum(request.asked for request in requests))
                ):
                    requests.append(_Request(asked, asyncio.create_task(self._early(following, asked, packs))))
                found = await requests[0].task
                if isinstance(found, _Large):
                    found = await self._one(number, packs)
                requests.popleft()
                if found is None:
                    if not await grown(self._store, number - 1):
                        return
                    await _abandon(requests)
                    continue
                await self._keep(number, found.data)
                ahead.met(found.segment.size, found.segment.footer.raw)
                yield found.segment
                number += 1
        finally:
            await _abandon(requests)

    async def chain_after(self, number: int) -> bytes:
        """The chain hash after segment ``number``, as its own footer says. ``Corrupt`` when it cannot be read."""
        return (await self.footer(number)).chain

    async def _one(self, number: int, packs: Packs | None = None) -> _Found | None:
        again = await self._again(number)
        if again is None and packs is not None and (data := await packs.find(number)) is not None:
            again = await self._of_pack(packs, data, number)
        if again is not None:
            return again
        data = await self._store.get(segment_key(number), 0, MOST_ASKED)
        if data is not None and len(data) == MOST_ASKED:
            data = await self._large(number)
        return None if data is None else await self._decoded(data, number)

    async def _large(self, number: int) -> bytes | None:
        """The bytes of a segment that may be large, read only when its footer says what can be."""
        size = await self._store.size(segment_key(number))
        if size is None:
            return None
        form.check_sizes(size, await self.footer(number), number)
        return await self._store.get(segment_key(number), 0, size)

    async def _early(self, number: int, asked: int, packs: Packs | None) -> _Found | _Large | None:
        """The segment, before its turn: only one that has fewer bytes than are ``asked`` for."""
        if self._kept is not None and (length := self._kept.length(number)):
            # The store is asked only where what was kept turns out to be damaged.
            again = await self._again(number, asked) if length < asked else None
            return again or _Large()
        if packs is not None and (data := await packs.find(number)) is not None:
            if len(data) >= asked or not fits(form.raw_size(data, number), asked):
                return _Large()
            if (found := await self._of_pack(packs, data, number)) is not None:
                return found
        data = await self._store.get(segment_key(number), 0, asked)
        if data is None:
            return None
        if len(data) == asked or not fits(form.raw_size(data, number), asked):
            return _Large()
        return await self._decoded(data, number)

    async def _of_pack(self, packs: Packs, data: bytes, number: int) -> _Found | None:
        """A segment that a pack has; ``None`` when its content is not what its hashes say, and the segment itself is to be asked for."""
        try:
            return await self._decoded(data, number)
        except Corrupt as error:
            packs.pass_over(number, error.message)
            return None

    async def _decoded(self, data: bytes, number: int) -> _Found:
        if max(len(data), form.raw_size(data, number)) <= _INLINE_BYTES:
            return _Found(form.decode(data, number), data)
        return _Found(await self._offload(form.decode, data, number), data)

    async def _again(self, number: int, asked: int | None = None) -> _Found | None:
        """A segment that is kept; ``None`` as well when it is not what was kept, or does not fit into what is ``asked`` for."""
        data = self._kept.find(number) if self._kept is not None else None
        if data is None:
            return None
        try:
            if asked is not None and not fits(form.raw_size(data, number), asked):
                return None
            return await self._decoded(data, number)
        except Corrupt:
            return None

    async def _keep(self, number: int, data: bytes) -> None:
        if self._kept is None:
            return
        if len(data) <= _INLINE_BYTES:
            self._kept.keep(number, data)
        else:
            await self._offload(self._kept.keep, number, data)


async def _abandon(requests: deque[_Request]) -> None:
    await cancel(*(request.task for request in requests))
    requests.clear()
