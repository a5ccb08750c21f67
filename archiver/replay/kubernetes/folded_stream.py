"""One stream of a cluster, folded up to where it is cut. Pure."""

from __future__ import annotations

import msgspec

from archiver.clock import to_text
from archiver.errors import Invalid
from archiver.journal.entry import Placed, Run
from archiver.kubernetes.stream_state import Key, StreamState
from archiver.replay.points import Point


class Cut(msgspec.Struct, frozen=True):
    """Where to stop: after entry ``seq``, or before the first entry of a stream that was received after ``time``; neither: at the end."""

    seq: int = 0
    time: int = 0

    @property
    def text(self) -> str:
        """As a point that means the same later; empty for the end, which moves."""
        return str(self.seq) if self.seq else to_text(self.time) if self.time else ""

    @classmethod
    def at(cls, point: Point) -> Cut:
        """The cut that a time or an entry number means. ``Invalid`` for a place in a database."""
        if point.kind == "time":
            return cls(time=point.number)
        if point.kind == "entry":
            return cls(seq=point.number)
        raise Invalid(f"{point.text!r} is a place in a database, not in a cluster", hint="give a time, an entry number, or `latest`")


class FoldedStream(msgspec.Struct):
    """One stream at the cut."""

    name: str
    state: StreamState
    entry: int = 0
    """Newest entry of the stream that was used; 0 for none."""
    observed: int = 0
    """When it was received."""
    gaps: list[str] = []
    """What is not known at the cut, for people."""
    notes: list[str] = []
    """What should be known about it."""
    checkpoint: int = 0
    """The folded checkpoint that reading began from, by its entry; 0: it began from a list."""
    only: frozenset[Key] | None = None
    """The objects that were folded; ``None``: all."""


def part_of(placed: Placed, cut: Cut) -> Placed | None:
    """The part of a run that lies before the cut: the run itself, its beginning, or nothing."""
    run = placed.run
    if cut.time and run.observed > cut.time:
        return None
    if not cut.seq or placed.first + run.count - 1 <= cut.seq:
        return placed
    keep = cut.seq - placed.first + 1
    if keep <= 0:
        return None
    bodies = list(run.bodies())[:keep]
    part = Run.of(run.source, run.kind, bodies, observed=run.observed, changed=run.changed)
    return Placed(placed.first, placed.segment, placed.epoch, placed.time, part)
