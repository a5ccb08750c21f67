"""What must hold, judged from the stored bytes alone, at every acknowledgement and at the end.

Reads the segments with ``decode`` and its own few rules, not with the journal's reader, which is on trial too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.journal.changed_marks import ChangedMarks
from archiver.journal.keys import segment_key
from archiver.journal.segment import NO_PREVIOUS, decode

if TYPE_CHECKING:
    from archiver.store.memory import MemoryStore


def body_of(source: str, number: int) -> bytes:
    """What entry ``number`` (1, 2, …) of ``source`` says, whenever it is sent."""
    return f"{source}:{number}:".encode() + b"*" * (number * 7919 % 97)


class Content:
    """What is in the journal so far. ``faults`` collects what must never be."""

    def __init__(self, truth: MemoryStore) -> None:
        self.faults: list[str] = []
        self.last: dict[str, int] = {}
        """Newest entry of each source."""
        self.bodies: dict[int, tuple[str, bytes]] = {}
        """Sequence number to source and body."""
        self.segments: dict[int, int] = {}
        """Sequence number of an entry to number of its segment."""
        self.void: list[int] = []
        self.based = 0
        """Valid segments whose header has changed marks alone."""
        self.epochs: set[int] = set()
        self._truth = truth
        self._number = self._epoch = 0
        self._next = 1
        self._time = 0
        self._chain = NO_PREVIOUS

    def catch_up(self) -> None:
        """Read what has been stored since the last time."""
        while (data := self._truth.peek(segment_key(self._number))) is not None:
            self._segment(data)
            self._number += 1

    def _segment(self, data: bytes) -> None:
        segment = decode(data, self._number)
        header = segment.header
        if header.epoch < self._epoch:
            self.void.append(self._number)
            return
        if (header.prev, header.first) != (self._chain, self._next) or header.time <= self._time:
            self.faults.append(f"segment {self._number} does not continue the one before")
        self._epoch, self._chain, self._time = header.epoch, segment.footer.chain, header.time
        self.epochs.add(header.epoch)
        for run in segment.runs:
            for body in run.bodies():
                self.bodies[self._next] = run.source, body
                self.segments[self._next] = self._number
                if run.source:
                    self._entry(run.source, body)
                self._next += 1
        marks = header.sources
        if isinstance(marks, ChangedMarks):
            based = decode(self._truth.peek(segment_key(marks.base)) or b"", marks.base).header.sources
            if isinstance(based, ChangedMarks):
                self.faults.append(f"segment {self._number} is based on {marks.base}, which has not all marks")
                return
            self.based += 1
            marks = {**based, **marks.changed}
        if self.last.keys() - marks.keys():
            self.faults.append(f"segment {self._number} has no marks of {self.last.keys() - marks.keys()}")
        for source, mark in marks.items():
            if int(mark.position or 0) != self.last.get(source, 0):
                self.faults.append(
                    f"segment {self._number}: the mark of {source} is {mark.position}, its newest entry {self.last.get(source, 0)}"
                )

    def _entry(self, source: str, body: bytes) -> None:
        number = int(body.split(b":")[1])
        if body != body_of(source, number):
            self.faults.append(f"segment {self._number} holds an entry of {source} that was never sent")
        last = self.last.get(source, 0)
        if number > last + 1:
            self.faults.append(f"segment {self._number}: entry {number} of {source} follows {last}: history is lost")
        self.last[source] = max(last, number)
