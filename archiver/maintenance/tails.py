"""How much a restore would read behind the newest checkpoint of a source: a constant number of requests, however long the archive is."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import msgspec

from archiver.journal.boundary import Retired
from archiver.journal.folded_checkpoints import segment_near
from archiver.journal.keys import checkpoint_entry, checkpoint_prefix, segment_key
from archiver.maintenance.cadence import TailSize, restore_seconds

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.reader import Reader

_SAMPLES = 8
"""Segments whose size is asked for: the mean stands for all."""
_HEARD_SECONDS = 3600
"""A living watch says something about once a minute."""
_NAMES = 16
"""Names below a source's checkpoints that are looked at: what has no such name is not ours."""


class Tail(msgspec.Struct, frozen=True):
    """The newest checkpoint of a source, and what stands behind it."""

    folded_entry: int = 0
    """The newest folded checkpoint; 0: there is none."""
    folded_time: int = 0
    """Journal time of it."""
    changed: int = 0
    """The newest time that the source itself gave for what happened there; a cluster gives none, and it is when that was received."""
    size: TailSize = TailSize()

    @property
    def seconds(self) -> float:
        """Estimated, for a restore of the journal's end."""
        return restore_seconds(self.size)


async def tail_behind(reader: Reader, clock: Clock, source: str) -> Tail | None:
    """The tail of ``source``, of a cluster that of all its streams; ``None`` while nothing of it can be restored.

    Of the folded checkpoint only the first bytes are read. Errors as of ``Reader``.
    """
    end = await reader.tail()
    marks = [mark for name, mark in end.sources.items() if mark.checkpoint and name.partition("/")[0] == source] if end else []
    if end is None or not marks:
        return None
    newest = max(mark.observed for mark in marks)
    # A stream that is heard no more is read where it ended.
    heard = [(mark.checkpoint, mark.checkpoint_segment) for mark in marks if mark.observed >= newest - _HEARD_SECONDS * 1_000_000]
    last = end.first + end.count - 1
    folded, near = await _newest_folded(reader, source, last)
    time = 0
    if folded:
        near = await _segment_of(reader, folded, near)
        header = await reader.header(near)
        time = header.time if header is not None else 0
    begin, near = max((folded, near), min(heard))
    first = await _segment_of(reader, begin + 1, near) if begin < last else end.number + 1
    count = max(0, end.number + 1 - first)
    stored, seconds = await _sampled(reader, clock, first, count)
    return Tail(folded, time, max(mark.changed or mark.observed for mark in marks), TailSize(count, last - begin, stored, seconds))


async def _segment_of(reader: Reader, entry: int, near: int | None) -> int:
    """The segment that holds an entry, close to segment ``near`` as far as is known; the first one there is when that was retired."""
    try:
        return await reader.find_seq(entry, hint=near)
    except Retired:
        return (await reader.extent()).first


async def _newest_folded(reader: Reader, source: str, last: int) -> tuple[int, int | None]:
    """Its entry, and the segment that it says it is near."""
    for key in await reader.store.list(checkpoint_prefix(source), limit=_NAMES):
        entry = checkpoint_entry(source, key)
        if entry is not None and entry <= last:
            return entry, await segment_near(reader.store, key)
    return 0, None


async def _sampled(reader: Reader, clock: Clock, first: int, count: int) -> tuple[int, float]:
    """Bytes of ``count`` segments from ``first`` on, and how long one request takes, as a few of them show."""
    sizes, seconds = [], []
    for number in range(min(count, _SAMPLES)):
        began = clock.monotonic()
        size = await reader.store.size(segment_key(first + number * count // min(count, _SAMPLES)))
        seconds.append(clock.monotonic() - began)
        sizes.append(size or 0)
    return (int(statistics.mean(sizes) * count), statistics.median(seconds)) if sizes else (0, 0.0)
