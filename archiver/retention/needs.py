"""What has to stay so that every promised point can be restored, and capture can go on. What is not told of here is what may go."""

from __future__ import annotations

import msgspec

from archiver.journal.boundary import Floor
from archiver.journal.extent import Span
from archiver.journal.parts import Part


class Need(msgspec.Struct, frozen=True):
    """Segments, and who needs them."""

    span: Span
    why: str


class SourceNeeds(msgspec.Struct):
    """Of one source."""

    source: str
    needs: list[Need] = []
    floor: Floor | None = None
    """The oldest promised point; ``None``: it has none that is so old."""
    checkpoints: int = 0
    """Folded checkpoints of this entry and behind it stay; older ones may go."""
    parts: set[str] = set()
    """Keys of the parts that they name."""
    segment: int = -1
    """Where the oldest of them was folded up to."""


class OldestPoint(msgspec.Struct, frozen=True):
    """What a source promises."""

    time: int
    entry: int
    """The last entry that was durable then; 0: the journal began later."""


def behind(oldest: list[OldestPoint]) -> int:
    """The first entry behind the oldest of the points: what is made there or later always stays."""
    return min(each.entry for each in oldest) + 1


def lowered(first: int, needs: list[Need]) -> tuple[int, str]:
    """The first segment that must stay with all behind it, at most ``first``: nothing that is needed lies across it, or touches it. And why
    it is not ``first``.
    """
    why = ""
    while True:
        across = [need for need in needs if need.span.first < first <= need.span.last + 1]
        if not across:
            return first, why
        lowest = min(across, key=lambda need: need.span.first)
        first, why = lowest.span.first, lowest.why


def part_keys(parts: list[Part]) -> set[str]:
    """Their keys."""
    return {part.key for part in parts}
