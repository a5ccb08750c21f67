"""Finding the journal's end with a few calls, however long it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.errors import Corrupt
from archiver.journal.chain import missing
from archiver.journal.keys import SEGMENTS, number_of, segment_key

if TYPE_CHECKING:
    from archiver.store.protocol import Store


async def last_segment(store: Store, known: int = -1) -> int:
    """Number of the last segment; -1 for none. ``known``: the number of one that is known to be there, to start from.

    Gallops and bisects with ``size``, then asks one listing whether anything stands behind: a hole is ``Corrupt``.
    """
    while True:
        low, step = known, 1
        while await store.size(segment_key(low + step)) is not None:
            low, step = low + step, step * 2
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            if await store.size(segment_key(middle)) is None:
                high = middle
            else:
                low = middle
        if not await grown(store, low):
            return low
        known = low + 1


async def grown(store: Store, number: int) -> bool:
    """Whether a segment stands behind ``number`` by now. ``Corrupt`` when one does but not with the next number."""
    later = await store.list(SEGMENTS, after=segment_key(number) if number >= 0 else "", limit=1)
    if not later:
        return False
    if number_of(later[0]) is None:
        raise Corrupt(f"{later[0]} of {store.url} is not a segment", hint=f"move it away: nothing but segments may stand under {SEGMENTS}")
    if number_of(later[0]) != number + 1 and await store.size(segment_key(number + 1)) is None:
        raise missing(number + 1, later[0])
    return True
