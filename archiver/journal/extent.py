"""Which numbers have a segment once old ones were retired: some that were kept, and all from the boundary on. Pure.

A number that has none counts as if nothing stood there, whatever does: what was not deleted yet, or what a writer that slept through it all
created under a number that had become free.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """Segments from ``first`` to ``last``, both included."""

    first: int
    last: int


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same segments in spans that neither overlap nor touch, in order."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.first <= found[-1].last + 1:
            found[-1] = Span(found[-1].first, max(found[-1].last, span.last))
        else:
            found.append(span)
    return found


class Extent:
    """The numbers of an archive. Their **places** are 0, 1, 2, … without holes, in their order, without end."""

    def __init__(self, first: int = 0, kept: Iterable[Span] = ()) -> None:
        """``kept``: spans before ``first``, in order, that neither overlap nor touch each other."""
        self.first = first
        self.kept = tuple(kept)
        self._count = sum(span.last - span.first + 1 for span in self.kept)

    def __contains__(self, number: int) -> bool:
        return number >= self.first or any(span.first <= number <= span.last for span in self.kept)

    def place(self, number: int) -> int:
        """How many numbers there are before ``number``, which need not be one."""
        if number >= self.first:
            return self._count + number - self.first
        return sum(max(0, min(span.last, number - 1) - span.first + 1) for span in self.kept)

    def number(self, place: int) -> int:
        """The number that has so many before it."""
        if place >= self._count:
            return self.first + place - self._count
        for span in self.kept:
            if place <= span.last - span.first:
                return span.first + place
            place -= span.last - span.first + 1
        return -1

    def before(self, number: int) -> int:
        """The last number before ``number``; -1: there is none."""
        place = self.place(number)
        return self.number(place - 1) if place > 0 else -1

    def end_of_run(self, number: int) -> int | None:
        """The last number that is reached from ``number``, which is one, without a hole; ``None``: they do not end."""
        if number >= self.first:
            return None
        last = next(span.last for span in self.kept if span.first <= number <= span.last)
        return None if last + 1 == self.first else last

    def start_of_run(self, number: int) -> int:
        """The first number from which ``number``, which is one, is reached without a hole."""
        start = self.first if number >= self.first else number + 1
        for span in reversed(self.kept):
            if span.first <= number <= span.last or span.last + 1 == start:
                start = span.first
        return start

    def starts_run(self, number: int) -> bool:
        """Whether the number before ``number``, which is one, has no segment."""
        return number > 0 and number - 1 not in self
