"""Where a bisection over segments looks next, and where one begins that has a hint. What it finds is the reader's to judge."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from archiver.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from archiver.journal.extent import Extent


async def around(extent: Extent, holds: Callable[[int], Awaitable[bool]], hint: int, last: int) -> tuple[int, int]:
    """The place from which on it ``holds`` lies between these two segments, found by steps from ``hint`` that grow.

    ``last``: of the journal. All of that where a segment that is met cannot be read.
    """
    end = extent.place(last)
    at, low, high, step = min(max(extent.place(hint), 0), end), -1, last + 1, 1
    try:
        while 0 <= at <= end:
            number = extent.number(at)
            if await holds(number):
                high = number
                if low >= 0:
                    break
                at -= step
            else:
                low = number
                if high <= last:
                    break
                at += step
            step *= 2
    except Corrupt:
        return -1, last + 1
    return low, high


def middle_of(extent: Extent, low: int, high: int, void: set[int]) -> int | None:
    """A number between the two that is not ``void``, as near to the middle as can be; ``None``: there is none."""
    least, most = (extent.place(low) if low >= 0 else -1), extent.place(high)
    middle = (least + most) // 2
    places = chain(range(middle, least, -1), range(middle + 1, most))
    return next((number for place in places if (number := extent.number(place)) not in void), None)
