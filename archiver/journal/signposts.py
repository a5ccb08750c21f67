"""Objects whose keys say how far the journal had grown, so that its end is found with as many calls in a long archive as in a short one.

A signpost is a hint and never trusted: the segment that it names is looked for, and one that leads nowhere is passed over. None is needed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from archiver.errors import ArchiverError
from archiver.journal.keys import SIGNPOSTS, signpost_key, signpost_number

if TYPE_CHECKING:
    from archiver.store.protocol import Store

EVERY = 256
"""Segments from one signpost to the next: what is behind the newest is one page of a listing, also when some could not be put."""
_LOOKED_AT = 8
"""Newest names that are looked at: what leads nowhere hides no more than so many."""

_log = structlog.get_logger()


async def signposts(store: Store) -> list[int]:
    """Numbers of segments that signposts name, the newest first; a few at most. One listing."""
    keys = await store.list(SIGNPOSTS, limit=_LOOKED_AT)
    return [number for key in keys if (number := signpost_number(key)) is not None]


class Signposting:
    """Puts signposts beside a writer, one at a time, and never in its way: one that cannot be put is left out."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._task: asyncio.Task[None] | None = None

    def pass_segment(self, number: int) -> None:
        """Segment ``number`` is durable."""
        if number and number % EVERY == 0 and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._put(number))

    async def stop(self) -> None:
        """Give up what is not done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _put(self, number: int) -> None:
        try:
            await self._store.put_if_absent(signpost_key(number), str(number).encode())
        except ArchiverError as error:
            _log.info("signpost_left_out", segment=number, reason=error.message)
