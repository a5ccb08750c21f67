"""What is not known of one source, from where to where. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from archiver.history.span.bounds import Bounds, Mark
from archiver.journal.records import Gap


@dataclass(slots=True)
class UnknownStretch:
    """A gap, where it begins and what ended it."""

    gap: Gap
    begin: Mark
    end: Mark | None = None
    concerns: bool | None = None
    """Whether it may be of what is asked for, by all that was known of its table so far; ``None``: nothing was known."""
    is_told: bool = False
    """Whether a line of the answer says so."""

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.gap.what}: {self.gap.reason} {self.gap.detail}".strip()


class UnknownStretches:
    """The gaps of one source, in the order in which they are met."""

    def __init__(self) -> None:
        self._found: list[UnknownStretch] = []
        self._open: list[UnknownStretch] = []

    def begin(self, gap: Gap, known: Mark, here: Mark, *, concerns: bool | None = None) -> UnknownStretch:
        """One more. ``known``: up to where all is known; ``here``: where the gap stands.

        To an entry before it nothing is missing: it was not received yet.
        """
        stretch = UnknownStretch(gap, here._replace(time=gap.from_time or known.time, lsn=known.lsn), concerns=concerns)
        if gap.to_position:
            stretch.end = here._replace(time=gap.to_time or here.time)
        self._found.append(stretch)
        if stretch.end is None:
            self._open.append(stretch)
        return stretch

    def end(self, here: Mark, which: Callable[[Gap], bool] = lambda _: True) -> None:
        """What was open of these is known from ``here`` on."""
        for stretch in self._open:
            if which(stretch.gap):
                stretch.end = here
        self._open = [stretch for stretch in self._open if stretch.end is None]

    @property
    def opened(self) -> bool:
        """Whether one is open."""
        return bool(self._open)

    def __iter__(self) -> Iterator[UnknownStretch]:
        return iter(self._found)

    def reaching(self, bounds: Bounds) -> list[UnknownStretch]:
        """Those that reach into a span."""
        return [stretch for stretch in self._found if bounds.meet(stretch.begin, stretch.end)]

    def prune(self, bounds: Bounds) -> None:
        """Forget those that ended before the span."""
        self._found = [stretch for stretch in self._found if stretch.end is None or bounds.meet(stretch.begin, stretch.end)]
