"""Which segments count, and what each must be after the one before. Pure; reader, writer and verifier all go by it.

Walk the segments upward and keep the highest epoch seen. A segment of a lower epoch is **void**: its writer was fenced before it
came to be, never acknowledged it, and its numbers were given again. Every other segment is valid and must continue the
last valid one: chain hash, sequence numbers, time. A higher epoch begins with its SESSION entry.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from archiver.errors import Corrupt
from archiver.journal.changed_marks import ChangedMarks
from archiver.journal.entry import Kind, SourceMark
from archiver.journal.segment import NO_PREVIOUS, CorruptSegment, Segment, SegmentFooter, SegmentHeader

VOID_REACH = 4
"""Void segments stand less than this many numbers behind the fence that voids them.

A writer has one PUT in flight and meets the fence with the next, so a fenced writer leaves one at most; four allows for
as many takeovers at once. It bounds how far back a single header must be compared to know whether it is void.
"""


class End(msgspec.Struct, frozen=True):
    """The journal's state after a valid segment: what the next one must continue."""

    archive: str
    segment: int = -1
    """Number of that segment; -1: there is none yet."""
    epoch: int = 0
    session: int = 0
    next: int = 1
    """Sequence number that the next entry gets."""
    chain: bytes = NO_PREVIOUS
    time: int = 0
    sources: Mapping[str, SourceMark] = {}
    """``ChangedMarks``: the segment that has the others cannot be read."""
    base: int = -1
    """The last segment that carries all marks; -1: there is none yet."""
    base_sources: Mapping[str, SourceMark] = {}
    """Those that it carries."""

    @classmethod
    def after(cls, header: SegmentHeader, footer: SegmentFooter, base_sources: Mapping[str, SourceMark] | None = None) -> End:
        """The state that a valid segment leaves. ``base_sources``: of the segment on which its marks are based, where it has not all."""
        sources, base = header.sources, header.number
        if isinstance(sources, ChangedMarks):
            base, base_sources = sources.base, {} if base_sources is None else base_sources
            sources = sources.within(base_sources)
        else:
            base_sources = sources
        return cls(
            archive=header.archive,
            segment=header.number,
            epoch=header.epoch,
            session=header.session,
            next=header.first + header.count,
            chain=footer.chain,
            time=header.time,
            sources=sources,
            base=base,
            base_sources=base_sources,
        )


def follow(end: End, segment: Segment) -> End | None:
    """The state after ``segment``, the next one that exists; ``None`` when it is void. ``Corrupt`` when it cannot follow ``end``."""
    header = segment.header
    if header.archive != end.archive:
        raise CorruptSegment(header.number, f"it belongs to archive {header.archive}, this one is {end.archive}")
    if header.epoch < end.epoch:
        return None
    if header.prev != end.chain:
        raise CorruptSegment(
            header.number,
            f"it does not continue segment {end.segment}: one of them was replaced" if end.segment >= 0 else "it is not the first",
        )
    if header.first != end.next:
        raise CorruptSegment(header.number, f"its first entry is number {header.first}; {end.next} follows segment {end.segment}")
    if header.time <= end.time:
        raise CorruptSegment(header.number, f"its time is not after that of segment {end.segment}")
    if header.epoch > end.epoch and (not segment.runs or segment.runs[0].kind is not Kind.SESSION):
        raise CorruptSegment(header.number, f"epoch {header.epoch} begins without a session entry")
    if isinstance(header.sources, ChangedMarks) and header.sources.base != end.base:
        raise CorruptSegment(header.number, f"its marks are based on segment {header.sources.base}; all of them stand in {end.base}")
    return End.after(header, segment.footer, end.base_sources)


def valid_among(headers: list[SegmentHeader]) -> list[SegmentHeader]:
    """Those of ``headers`` (consecutive numbers, in order) that are not void as far as they themselves show."""
    epoch, valid = 0, []
    for header in headers:
        if header.epoch >= epoch:
            epoch = header.epoch
            valid.append(header)
    return valid


def missing(number: int, later: str) -> Corrupt:
    """The error for a hole: there is no segment ``number`` although ``later`` exists."""
    return CorruptSegment(number, f"it is missing although {later} exists")
