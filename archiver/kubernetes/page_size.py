"""How many objects to ask for at once, so that a page of a list is good for memory whatever the objects' sizes. Pure.

A limit is a number of objects, and what costs memory is bytes: a hundred objects can be 150 MB. So the first page is small, each next one
is sized by the bytes of the one before, and a page that turns out too large is not read to its end but asked for again, smaller.
"""

from __future__ import annotations

FIRST_OBJECTS = 10
GROWTH = 4
"""A page has at most so many times the objects of the one before: what follows may be larger."""
WANTED_BYTES = 4 << 20
MOST_BYTES = 16 << 20
"""A page of several objects is not read further than this."""
SINGLE_BYTES = 64 << 20
"""A page of one object, a line of a watch, and every other answer are not read further than this. etcd takes objects of 1.5 MB."""


class PageSize:
    """The size of the next page of one list."""

    def __init__(self, most: int) -> None:
        """``most``: objects that a page may have, however small they are."""
        self._most = most
        self.limit = min(FIRST_OBJECTS, most)
        """Objects to ask for."""

    @property
    def most_bytes(self) -> int:
        """So much of the answer is read."""
        return MOST_BYTES if self.limit > 1 else SINGLE_BYTES

    def came(self, size: int) -> None:
        """A page of ``size`` bytes came."""
        self.limit = max(1, min(self._most, self.limit * GROWTH, self.limit * WANTED_BYTES // max(size, 1)))

    def too_large(self) -> bool:
        """A page was larger than what is read of one. Whether a smaller one can be asked for."""
        smaller, self.limit = self.limit > 1, max(1, self.limit // GROWTH)
        return smaller
