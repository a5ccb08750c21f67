"""The marks of a header that carries those alone which changed since another segment, whose header has all of them. Pure.

    all        at the start of a session, at its end, and whenever it pays
    changed    since the last of those, its **base**: whoever wants the others reads one header more, never a chain of them

A base is of the same session, so that it is valid wherever the segment is. What changed is there without the base; of everything else
nothing is said, rather than something old: when the base cannot be read, asking for that is ``Corrupt``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from archiver.errors import Bug, Corrupt
from archiver.journal.entry import Kind, Run, SourceMark

FEW = 4
"""So many marks are always carried: they take little more room than saying where they are."""
REACH = 256
"""Segments after which all marks are carried again, so that a bad base costs no more than a signpost's distance."""


class MarksElsewhere(Bug):
    """Somebody who can read the base must be asked: ``Reader`` does."""

    def __init__(self, base: int) -> None:
        super().__init__(f"marks were asked for that only segment {base} has")
        self.base = base


class ChangedMarks(Mapping[str, SourceMark]):
    """What changed since segment ``base``. Asking for another mark, or for all, raises ``MarksElsewhere``, or ``fault``: why it cannot be
    read.
    """

    __slots__ = ("base", "changed", "fault")

    def __init__(self, base: int, changed: Mapping[str, SourceMark], fault: Corrupt | None = None) -> None:
        self.base, self.changed, self.fault = base, changed, fault

    def within(self, marks: Mapping[str, SourceMark]) -> Mapping[str, SourceMark]:
        """All marks, when ``marks`` are those of the base."""
        if isinstance(marks, ChangedMarks):
            return ChangedMarks(self.base, self.changed, marks.fault)
        return {**marks, **self.changed}

    def __getitem__(self, source: str) -> SourceMark:
        mark = self.changed.get(source)
        if mark is None:
            raise self._elsewhere()
        return mark

    def __iter__(self) -> Iterator[str]:
        raise self._elsewhere()

    def __len__(self) -> int:
        raise self._elsewhere()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChangedMarks) and (self.base, self.changed) == (other.base, other.changed)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ChangedMarks({self.base}, {self.changed})"

    def _elsewhere(self) -> Bug | Corrupt:
        return self.fault or MarksElsewhere(self.base)


class Carrying:
    """Decides for one writer which marks a segment carries. All of them where what changed would cost as much, here or since they were
    carried last.
    """

    def __init__(self) -> None:
        self._spent = 0
        """Marks that were carried since all of them were."""

    def carried(
        self, marks: Mapping[str, SourceMark], runs: list[Run], number: int, base: int, before: Mapping[str, SourceMark]
    ) -> Mapping[str, SourceMark]:
        """For segment ``number`` with ``runs``, behind which ``marks`` stand. ``before``: all of them, as segment ``base`` has them."""
        if base >= 0 and len(marks) > FEW and number - base < REACH and not _closes(runs):
            changed = {source: mark for source, mark in marks.items() if before.get(source) != mark}
            if 2 * len(changed) < len(marks) and self._spent + len(changed) <= len(marks):
                self._spent += len(changed)
                return ChangedMarks(base, changed)
        self._spent = 0
        return marks


def _closes(runs: list[Run]) -> bool:
    return bool(runs) and runs[-1].kind is Kind.CLOSE
