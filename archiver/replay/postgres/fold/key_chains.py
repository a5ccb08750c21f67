"""Changes of rows by key, in order -> what is left of each key, and where unchanged values come from.

An event says one thing about one key: WHOLE, its row is now this, every column known; PARTIAL, its row is now this, but some values are
those it had before; GONE, it has no row any more. A key-changing update is two events: the old key is GONE, then the new key is
WHOLE, or PARTIAL with a *link* to that GONE: its unknown values are those of the row that left.

Events of one key in order are cut into **chains** at every event that does not continue what the key held before: a WHOLE one, or
one with a link. So a chain is the life of one row under one key, a link leads from a chain's first event to the chain the row had
before, and the value of a column is that of the last event, going back, that knows it. All of it is running maxima over sorted arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archiver.replay.postgres.columnar.key_table import KeyTable

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

WHOLE, PARTIAL, GONE = 0, 1, 2
NONE = -1
ELSEWHERE = -2
"""A link out of these events: the row had another key before the first of them."""


@dataclass(frozen=True, slots=True)
class Events:
    """Of one table, in order."""

    keys: pa.LargeBinaryArray
    kinds: U8
    expects: Bools
    """The event says that the key had a row just before."""
    link: I64
    """PARTIAL only: the event whose chain this one continues under another key; NONE: the one before it on its own key; or ELSEWHERE."""


class Chains:
    """What becomes of each key. Arrays named ``…events`` hold indices of events."""

    final: I64
    """The last event of each key."""
    expects: Bools
    """Of the same keys: whether there was a row before the first event."""
    contradictions: int
    """Events that say something else about the row before them than the event before them does."""

    def __init__(self, events: Events) -> None:
        self._events = events
        count = len(events.kinds)
        table = KeyTable(events.keys)
        places = np.arange(count, dtype=np.int64)
        self.contradictions = 0
        if table.distinct:
            self._order = self._rank = places
            first = np.ones(count, np.bool_)
            self.final = places
        else:
            order = np.sort((table.first << 32) | places)
            sorted_ids, order = order >> 32, order & 0xFFFFFFFF
            first = np.empty(count, np.bool_)
            first[0] = True
            np.not_equal(sorted_ids[1:], sorted_ids[:-1], out=first[1:])
            self._order = order
            self._rank = np.empty(count, np.int64)
            self._rank[order] = places
            self.final = order[np.append(np.flatnonzero(first)[1:] - 1, count - 1)]
            alive = events.kinds[order] != GONE
            self.contradictions = int(np.count_nonzero(~first[1:] & (alive[:-1] != events.expects[order][1:])))
        self._first = first
        self.expects = events.expects[self._order[first]]
        self._starts: I64 | None = None

    def resolve(self, events: I64, knows: Bools) -> I64:
        """For each of ``events`` the nearest event, going back from it and itself included, that ``knows``; NONE if there is none."""
        starts = self._chain_starts()
        known = np.where(knows[self._order], np.arange(len(self._order), dtype=np.int64), NONE)
        known = np.maximum.accumulate(known)
        source = np.full(len(events), NONE, np.int64)
        rest, at = np.arange(len(events), dtype=np.int64), self._rank[events]
        while len(rest):
            begin, last = starts[at], known[at]
            found = last >= begin
            source[rest[found]] = self._order[last[found]]
            link = self._events.link[self._order[begin]]
            follow = ~found & (link >= 0)
            rest, at = rest[follow], self._rank[link[follow]]
        return source

    def roots(self, events: I64) -> I64:
        """For each of ``events`` the first event of that row's life. What no event knows, the row at its key before them knows."""
        starts = self._chain_starts()
        root = events.copy()
        rest, at = np.arange(len(events), dtype=np.int64), self._rank[events]
        while len(rest):
            root[rest] = self._order[starts[at]]
            link = self._events.link[root[rest]]
            rest, at = rest[link >= 0], self._rank[link[link >= 0]]
        return root

    def members(self, events: I64) -> Bools:
        """Of all events: those in the chains that ``events`` may take values from."""
        starts = self._chain_starts()
        marked = np.zeros(len(starts), np.bool_)
        begin = starts[self._rank[events]]
        while len(begin):
            marked[begin] = True
            link = self._events.link[self._order[begin]]
            begin = starts[self._rank[link[link >= 0]]]
            begin = begin[~marked[begin]]
        found = np.empty(len(starts), np.bool_)
        found[self._order] = marked[starts]
        return found

    def _chain_starts(self) -> I64:
        """For each place in sorted order, the place where its chain starts."""
        if self._starts is None:
            cut = self._first | (self._events.kinds[self._order] == WHOLE) | (self._events.link[self._order] != NONE)
            self._starts = np.maximum.accumulate(np.where(cut, np.arange(len(cut), dtype=np.int64), 0))
        return self._starts
