"""The gaps of a journal that is read from its beginning on, and what ended each. Pure."""

from __future__ import annotations

import msgspec

from archiver.journal.folded_checkpoints import Naming
from archiver.journal.records import Gap


class FoundGap(msgspec.Struct, frozen=True):
    """A gap, where it stands."""

    source: str
    seq: int
    gap: Gap
    ended: int = 0
    """Entry of the complete state, or of the copy of its table, that came next; 0: none came, or the gap says itself where it ends."""
    ended_time: int = 0
    """When that state was taken, microseconds."""


class FoundGaps:
    """Fed with gaps and with complete states in the journal's order."""

    def __init__(self) -> None:
        self.found: list[FoundGap] = []
        self._open: dict[str, list[int]] = {}
        """By source: places in ``found`` of those that nothing has ended."""

    def gap(self, source: str, seq: int, gap: Gap) -> None:
        """One more."""
        if not gap.to_position:
            self._open.setdefault(source, []).append(len(self.found))
        self.found.append(FoundGap(source, seq, gap))

    def complete(self, source: str, seq: int, time: int) -> None:
        """Entry ``seq`` is a complete state of the source: it ends all that was open. ``time``: when it was taken."""
        for place in self._open.pop(source, []):
            self._end(place, seq, time)

    def copied(self, source: str, seq: int, naming: Naming) -> None:
        """Entry ``seq`` names copies of some tables: it ends the gaps of these."""
        left = []
        for place in self._open.get(source, []):
            gap = self.found[place].gap
            if any(gap.names(each.oid, each.schema, each.name) for each in naming.tables):
                self._end(place, seq, naming.taken)
            else:
                left.append(place)
        if source in self._open:
            self._open[source] = left

    def _end(self, place: int, seq: int, time: int) -> None:
        self.found[place] = msgspec.structs.replace(self.found[place], ended=seq, ended_time=time)
