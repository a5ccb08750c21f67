"""Finding the journal's end with a few calls, however long it is, and telling what stands behind it.

Nothing but segments should stand among the segments, yet one object that somebody put there must not hold up everything. What does not even
begin like a segment is a **stray**: it is named and passed over. What does, behind a number that has none, shows that segments are missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Corrupt
from archiver.journal.chain import VOID_REACH, missing
from archiver.journal.keys import SEGMENTS, number_of, segment_key
from archiver.journal.segment import HEAD_MAGIC
from archiver.journal.signposts import signposts

if TYPE_CHECKING:
    from archiver.store.protocol import Store

STRAYS_LIMIT = 100
"""More strays with keys of segments than this behind the last segment are not looked at: the end is not known then."""
_PASSED_LIMIT = 20_000
"""Nor are more strays with other keys: they cost a listing of each thousand."""
_PAGE = 1000
_LONGEST_PAGE = 32_000
"""A local directory reads all its names for each listing, so that many short ones of a long journal would cost its square."""
_HOLES_LIMIT = 16
"""Holes behind which the journal's end is looked for."""


class Behind(msgspec.Struct, frozen=True):
    """What stands behind a segment."""

    key: str = ""
    """The first object that is a segment, or has the next number whatever it is; empty: none."""
    strays: tuple[str, ...] = ()
    """Objects before that one that are no segments."""


class LastSegment(msgspec.Struct, frozen=True):
    """The end of the segments before the first hole that is seen, and whether the journal seems to go on behind it."""

    number: int
    """-1: there is none."""
    hole: Corrupt | None = None
    """Why this cannot be all of the journal: a segment stands further behind."""
    strays: tuple[str, ...] = ()
    beyond: int = -1
    """With a hole: the last segment of a long run without one that stands behind it, up to which the journal may go on; -1: none."""


async def last_segment(store: Store, known: int = -1, *, floor: int = -1) -> LastSegment:
    """The last segment before the first hole. ``known``: the number of one that is known to be there, to start from. ``floor``: the
    same, far back.

    Without ``known``, begins at the newest signpost. One listing has what is behind that, nearly always; where it has not, gallops and
    bisects over what begins like a segment. Then one listing more tells whether anything stands behind. A hole that this leaps over is not
    seen. Behind one that is seen, it looks on.
    """
    found = await _until_hole(store, known if known >= 0 else max(floor, await _signposted(store)))
    if found.hole is None or found.next < 0:
        return LastSegment(found.number, found.hole, found.strays)
    behind = found
    for _ in range(_HOLES_LIMIT):
        start = behind.next
        behind = await _until_hole(store, start)
        if behind.hole is None and behind.number - start >= VOID_REACH:
            return LastSegment(found.number, found.hole, behind.strays, behind.number)
        if behind.next < 0:
            break
    return LastSegment(found.number, found.hole, found.strays)


class _Run(msgspec.Struct, frozen=True):
    """Segments without a hole, as ``LastSegment``."""

    number: int
    hole: Corrupt | None = None
    strays: tuple[str, ...] = ()
    next: int = -1
    """The segment behind the hole; -1: none is known."""


async def _signposted(store: Store) -> int:
    """The newest segment that a signpost names and that is there; -1: there is none."""
    for number in await signposts(store):
        if await _begins(store, segment_key(number)):
            return number
    return -1


async def _until_hole(store: Store, known: int) -> _Run:
    while True:
        page = await store.list(SEGMENTS, after=segment_key(known) if known >= 0 else "", limit=_PAGE)
        low = _in_a_row(page, known)
        if len(page) == _PAGE:
            low = await _gallop(store, low)
        try:
            behind = await look_behind(store, low)
        except Corrupt as error:
            return _Run(low, error)
        if not behind.key:
            return _Run(low, None, behind.strays)
        number = number_of(behind.key)
        if number is not None and number != low + 1 and await store.size(segment_key(low + 1)) is None:
            return _Run(low, missing(low + 1, behind.key), behind.strays, number)
        known = low + 1


def _in_a_row(keys: list[str], known: int) -> int:
    """The last number that follows ``known`` without a hole, as ``keys``, in order, have them."""
    for key in keys:
        number = number_of(key)
        if number is not None and number > known + 1:
            break
        known = known if number is None else number
    return known


async def _gallop(store: Store, low: int) -> int:
    step = 1
    while await _begins(store, segment_key(low + step)):
        low, step = low + step, step * 2
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        if await _begins(store, segment_key(middle)):
            low = middle
        else:
            high = middle
    return low


async def grown(store: Store, number: int) -> bool:
    """Whether a segment stands behind ``number`` by now. ``Corrupt`` when one does but not with the next number."""
    behind = await look_behind(store, number)
    if behind.key and number_of(behind.key) != number + 1 and await store.size(segment_key(number + 1)) is None:
        raise missing(number + 1, behind.key)
    return bool(behind.key)


async def look_behind(store: Store, number: int) -> Behind:
    """What stands behind segment ``number`` (-1: in the whole journal). ``Corrupt`` when there are too many strays to tell."""
    strays: list[str] = []
    looked_at = passed = 0
    async for key in _keys(store, segment_key(number) if number >= 0 else "", first=1):
        passed += 1
        found = number_of(key)
        if found is not None:
            if found == number + 1 or await _begins(store, key):
                return Behind(key, tuple(strays))
            looked_at += 1
        if looked_at > STRAYS_LIMIT or passed > _PASSED_LIMIT:
            raise Corrupt(
                f"{passed} objects of {store.url} behind segment {number} are none of the archive's, {looked_at} with keys of segments",
                hint=f"move them away: nothing but segments may stand under {SEGMENTS}",
            )
        if len(strays) < STRAYS_LIMIT:
            strays.append(key)
    return Behind("", tuple(strays))


async def _begins(store: Store, key: str) -> bool:
    """Whether an object is there that begins like a segment."""
    return await store.get(key, 0, 7) == HEAD_MAGIC[:7]


async def strays_of(store: Store, last: int) -> list[str]:
    """Objects among and behind the segments, of which ``last`` is the last, that are none; the first ``STRAYS_LIMIT``.

    What stands under the number of a retired segment is none of them: it waits to be deleted. Nor is what was written behind ``last``
    meanwhile, one segment after the other.
    """
    strays: list[str] = []
    async for key in _keys(store, "", first=_PAGE):
        number = number_of(key)
        if number == last + 1 and await _begins(store, key):
            last = number
        elif number is None or number > last:
            strays.append(key)
            if len(strays) == STRAYS_LIMIT:
                break
    return strays


def segment_keys(store: Store) -> AsyncIterator[str]:
    """All keys where segments are, in order, in pages that get longer."""
    return _keys(store, "", first=_PAGE)


async def _keys(store: Store, after: str, *, first: int) -> AsyncIterator[str]:
    """All keys under ``SEGMENTS`` behind ``after``; ``first``: how many are asked for at first."""
    limit = first
    while keys := await store.list(SEGMENTS, after=after, limit=limit):
        for key in keys:
            yield key
        after, limit = keys[-1], _PAGE if limit < _PAGE else min(4 * limit, _LONGEST_PAGE)
