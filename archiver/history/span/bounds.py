"""Two points, and which changes lie between them. Pure.

A change belongs to a span where a restore of the later point has it, and one of the earlier point has not: by its commit entry, by where
its transaction ends, or by the newest commit time up to it; of an object by its entry, or when it was received or happened.
"""

from __future__ import annotations

from typing import NamedTuple

from archiver.history.span.changes import Change
from archiver.replay.points import Point


class Mark(NamedTuple):
    """A place in the history of one source."""

    at: int
    """Entry: of a transaction, its commit's."""
    entry: int
    time: int
    """As a restore to a time counts it."""
    lsn: int = 0


class Told(NamedTuple):
    """A change and its place."""

    mark: Mark
    change: Change
    unread: str = ""
    """What of it cannot be read, for people."""
    attributed: bool = True
    """False: who made it would be said, if what it was before and is now could be read."""
    created: int = 0
    """When its object was created, as that says by the API server's clock, in whole seconds; 0: not known."""
    deleting: int = 0
    """When the deletion of its object was asked for, likewise; 0: it was not waited for."""
    written: int = 0
    """Of an object that is gone: when it was written last, as that says, likewise."""
    seen: int = 0
    """And when that was received while it was there, by the archiver's clock; 0: not known, or it had waited for somebody to watch."""

    @property
    def order(self) -> tuple[int, int]:
        """The journal's order: when it was complete, and within a transaction the order of its changes."""
        return self.mark.at, self.mark.entry


class Bounds(NamedTuple):
    """Behind ``start``, up to ``end``; both resolved. ``None``: no bound."""

    start: Point | None
    end: Point | None

    def holds(self, mark: Mark) -> bool:
        """Whether ``mark`` lies between them."""
        return not self.is_before(mark) and not self.is_behind(mark)

    def is_before(self, mark: Mark) -> bool:
        """Whether the earlier point has it."""
        return self.start is not None and _has(self.start, mark)

    def is_behind(self, mark: Mark) -> bool:
        """Whether the later point has it not."""
        return self.end is not None and not _has(self.end, mark)

    def meet(self, begin: Mark, end: Mark | None) -> bool:
        """Whether something from ``begin`` to ``end`` (``None``: open) reaches into the span."""
        return not self.is_behind(begin) and (end is None or not self.is_before(end))

    def part(self, since: int, until: int) -> bool:
        """Whether one of them is a time between ``since`` and ``until``."""
        times = [point.number for point in self if point is not None and point.kind == "time"]
        return any(since <= time < until for time in times)


EVERYTHING = Bounds(None, None)


def _has(point: Point, mark: Mark) -> bool:
    if point.kind == "time":
        return mark.time <= point.number
    if point.kind == "lsn":
        return mark.lsn <= point.number
    return mark.at <= point.number
