"""Segments made by hand, whatever a writer would say to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from archiver.journal.chain import End
from archiver.journal.changed_marks import Carrying
from archiver.journal.entry import Kind, Run, SourceMark, advance
from archiver.journal.identity import Identity
from archiver.journal.keys import IDENTITY, segment_key
from archiver.journal.records import Session
from archiver.journal.segment import SegmentHeader, encode
from archiver.store.memory import MemoryStore

ARCHIVE = "0123456789abcdef" * 2
NEW = End(ARCHIVE)


def frames(source: str, *bodies: bytes, kind: Kind = Kind.PG_FRAMES, observed: int = 5, changed: int = 0, position: str = "") -> Run:
    return Run.of(source, kind, bodies, observed=observed, changed=changed, position=position)


def fence(epoch: int, instance: str = "a") -> Run:
    return Run.of("", Kind.SESSION, [msgspec.json.encode(Session(epoch, instance, "1", 5))], observed=5)


def forge(end: End, runs: Sequence[Run], carrying: Carrying | None = None, **changes: Any) -> tuple[bytes, End]:
    """A segment that continues ``end``, but for ``changes`` in its header; and the state after it. ``carrying``: its header has the marks
    that a writer would let it have, else all.
    """
    count = sum(run.count for run in runs)
    number = changes.get("number", end.segment + 1)
    sources, following = dict(end.sources), end.next
    for run in runs:
        if run.source:
            sources[run.source] = advance(sources.get(run.source, SourceMark()), run, following, number)
        following += run.count
    seen = [run.observed for run in runs]
    values: dict[str, Any] = {
        "archive": end.archive,
        "number": number,
        "epoch": end.epoch,
        "first": end.next,
        "count": count,
        "time": end.time + 10,
        "observed_min": min(seen, default=0),
        "observed_max": max(seen, default=0),
        "prev": end.chain,
        "sources": carrying.carried(sources, list(runs), number, end.base, end.base_sources) if carrying else sources,
        "session": end.session,
    }
    header = SegmentHeader(**(values | changes))
    data, footer = encode(header, runs, 1)
    return data, End.after(header, footer, end.base_sources)


class Forgery:
    """A store with an archive in it that grows segment by segment."""

    def __init__(self) -> None:
        self.store = MemoryStore("forgery")
        self.store.create(IDENTITY, msgspec.json.encode(Identity(1, ARCHIVE, 1)))
        self.end = NEW
        self.number = 0
        self.carrying: Carrying | None = None

    def add(self, *runs: Run, **changes: Any) -> int:
        """The next valid segment; its number."""
        data, self.end = forge(self.end, runs, self.carrying, number=self.number, **changes)
        return self._put(data)

    def open(self, instance: str = "a") -> int:
        """The next fence."""
        return self.add(fence(self.end.epoch + 1, instance), epoch=self.end.epoch + 1, session=self.number, sources=dict(self.end.sources))

    def void(self, after: End, *runs: Run, **changes: Any) -> End:
        """What a fenced writer that stood at ``after`` left under the next number."""
        data, end = forge(after, runs, number=self.number, **changes)
        self._put(data)
        return end

    def _put(self, data: bytes) -> int:
        assert self.store.create(segment_key(self.number), data)
        self.number += 1
        return self.number - 1
