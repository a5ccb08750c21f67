"""Finding the journal's end with a few calls, however long it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.errors import Corrupt
from archiver.journal.chain import missing
from archiver.journal.keys import SEGMENTS, segment_key, slot_of

if TYPE_CHECKING:
    from archiver.store.protocol import Store


async def last_slot(store: Store, known: int = -1) -> int:
    """The last slot that has a segment; -1 for none. ``known``: a slot that is known to have one, to start from.

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


async def grown(store: Store, slot: int) -> bool:
    """Whether a segment stands behind ``slot`` by now. ``Corrupt`` when one does but not in the next slot."""
    later = await store.list(SEGMENTS, after=segment_key(slot) if slot >= 0 else "", limit=1)
    if not later:
        return False
    if slot_of(later[0]) is None:
        raise Corrupt(f"{later[0]} of {store.url} is not a segment", hint=f"move it away: nothing but segments may stand under {SEGMENTS}")
    if slot_of(later[0]) != slot + 1 and await store.size(segment_key(slot + 1)) is None:
        raise missing(slot + 1, later[0])
    return True
