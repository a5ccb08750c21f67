"""Reading a whole archive to say whether it is what was written, and what is known to be missing from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Corrupt
from archiver.journal.chain import End
from archiver.journal.entry import Kind, Placed, SourceMark, advance
from archiver.journal.known_head import HeadComparison, KnownHead
from archiver.journal.last_segment import strays_of
from archiver.journal.parts import Offload, Part, part_fault
from archiver.journal.reader import Reader
from archiver.journal.record_reader import read_record
from archiver.journal.records import Gap, Session
from archiver.journal.segment import CorruptSegment, Segment

if TYPE_CHECKING:
    from archiver.store.protocol import Store

_MARK_FIELDS = (
    "position",
    "changed",
    "observed",
    "checkpoint",
    "checkpoint_segment",
    "control",
    "control_segment",
    "stream_segment",
    "schema_segment",
)
"""Compared with what the runs say. A field that is added to ``SourceMark`` later is not known to older segments: it stays out."""
_PART_READS = 4


class FoundGap(msgspec.Struct, frozen=True):
    """A gap, where it stands."""

    source: str
    seq: int
    gap: Gap


class BadPart(msgspec.Struct, frozen=True):
    """An object that an entry names and that is not what the entry says."""

    key: str
    seq: int
    """Number of the entry."""
    reason: str


class VerifyReport(msgspec.Struct):
    """What ``verify`` found. Everything before ``bad_segment`` is proved; nothing is said about what comes after."""

    archive: str = ""
    segments: int = msgspec.field(default=0, name="slots")
    """Segments that passed every check, void ones included."""
    entries: int = 0
    """In valid segments."""
    bytes: int = 0
    """Stored bytes of the segments."""
    raw_bytes: int = 0
    """The same before compression, of valid segments."""
    void: list[int] = []
    """Numbers of void segments: written by a fenced writer, never acknowledged, skipped by every reader."""
    sessions: int = 0
    gaps: list[FoundGap] = []
    parts: int = 0
    """Objects that entries name and that passed."""
    part_bytes: int = 0
    bad_parts: list[BadPart] = []
    bad_segment: int | None = msgspec.field(default=None, name="bad_slot")
    """The first bad segment; -1 for ``archive.json``; ``None`` for none."""
    reason: str = ""
    """Why it is bad; what is wrong with ``strays`` when no segment is bad."""
    strays: list[str] = []
    """Objects among the segments that are none, the first hundred. They change nothing, and somebody put them there."""
    chain: str = ""
    """Chain hash of the last good valid segment, hex."""
    head: str = ""
    """The same with its number, ``HASH@NUMBER``: noted elsewhere, it proves later that nothing up to it was rewritten or cut off."""
    head_fault: str = ""
    """Why the journal is not the one whose head was noted; empty when it is, or none was given."""
    time: int = 0
    """Journal time of that segment."""

    @property
    def ok(self) -> bool:
        """Nothing is damaged or rewritten. Gaps and strays are no damage."""
        return self.bad_segment is None and not self.bad_parts and not self.head_fault

    @property
    def verdict(self) -> str:
        """What is wrong, in one sentence; empty for nothing."""
        if self.bad_segment is not None:
            return f"segment {self.bad_segment}: {self.reason}"
        if self.bad_parts:
            return f"object {self.bad_parts[0].key}: {self.bad_parts[0].reason}"
        return self.head_fault or self.reason


async def verify(
    store: Store,
    progress: Callable[[int, int], None] | None = None,
    *,
    deep: bool = False,
    known_head: KnownHead | None = None,
    offload: Offload = asyncio.to_thread,
) -> VerifyReport:
    """Check every segment (hashes, chain, contiguity, numbers, marks) and the parts that entries name (size; with ``deep`` their bytes).
    Compare with ``known_head``.

    Stops at the first bad segment. Never raises ``Corrupt``: that is the report. ``Invalid`` when there is no archive; ``Unavailable`` when
    the store does not answer. ``progress`` gets (segments checked, segments there are). Safe beside a living writer.
    """
    reader = Reader(store, offload=offload)
    report = VerifyReport()
    try:
        report.archive = (await reader.identity()).id
    except Corrupt as error:
        report.bad_segment, report.reason = -1, error.message
        return report
    end = End(report.archive)
    comparison = HeadComparison(known_head) if known_head else None
    try:
        last = await _last(reader)
        async with aclosing(reader.walk(start=end)) as steps:
            async for segment, valid in steps:
                if valid:
                    _check_marks(end, segment)
                    end = End.after(segment.header, segment.footer)
                    if comparison:
                        comparison.pass_segment(end.segment, end.chain.hex())
                    await _count(store, segment, report, deep=deep, offload=offload)
                else:
                    report.void.append(segment.header.number)
                report.segments += 1
                report.bytes += segment.size
                if progress:
                    progress(report.segments, max(last + 1, report.segments))
    except CorruptSegment as error:
        report.bad_segment, report.reason = error.number, error.reason
    except Corrupt as error:
        report.bad_segment, report.reason = report.segments, error.message
    if report.bad_segment is None and not report.segments:
        # Right for the moment between a new archive's identity and its first segment only.
        report.bad_segment, report.reason = 0, "it is missing although the archive has an identity: there is no journal"
    report.chain, report.head, report.time = end.chain.hex(), f"{end.chain.hex()}@{end.segment}", end.time
    report.head_fault = comparison.fault(end.segment) if comparison else ""
    if report.bad_segment is None:
        report.strays = await strays_of(store, report.segments - 1)
        if report.strays:
            report.reason = f"{report.strays[0]} stands among the segments and is none: move it away, and find out who put it there"
    return report


async def _last(reader: Reader) -> int:
    """Only for ``progress``: a hole that shows here already is reported when its turn comes, behind whatever is bad before it."""
    try:
        return await reader.last()
    except Corrupt:
        return -1


def _check_marks(before: End, segment: Segment) -> None:
    marks = dict(before.sources)
    for placed in segment.placed():
        source = placed.run.source
        if source:
            marks[source] = advance(marks.get(source, SourceMark()), placed.run, placed.first, placed.segment)
    stored = segment.header.sources
    for source in marks.keys() | stored.keys():
        expected, found = marks.get(source), stored.get(source)
        if expected is None or found is None or any(getattr(expected, name) != getattr(found, name) for name in _MARK_FIELDS):
            raise CorruptSegment(segment.header.number, f"the mark of source {source!r} in its header is not what its entries say")


async def _count(store: Store, segment: Segment, report: VerifyReport, *, deep: bool, offload: Offload) -> None:
    report.entries += segment.header.count
    report.raw_bytes += segment.footer.raw
    for placed in segment.placed():
        run = placed.run
        if run.kind is Kind.GAP:
            report.gaps += [FoundGap(run.source, placed.first + n, read_record(body, Gap, placed)) for n, body in enumerate(run.bodies())]
        elif run.kind is Kind.SESSION:
            report.sessions += sum(1 for body in run.bodies() if read_record(body, Session, placed).epoch == placed.epoch)
        elif run.kind in (Kind.CHECKPOINT, Kind.PG_TABLES):
            await _check_parts(store, placed, report, deep=deep, offload=offload)


class _Table(msgspec.Struct):
    parts: list[Part] = []


class _Naming(msgspec.Struct):
    """What a Snapshot and a Listing have in common here: only the first names parts."""

    tables: list[_Table] = []


async def _check_parts(store: Store, placed: Placed, report: VerifyReport, *, deep: bool, offload: Offload) -> None:
    gate = asyncio.Semaphore(_PART_READS)

    async def check(part: Part) -> str:
        async with gate:
            return await part_fault(store, part, deep=deep, offload=offload)

    parts = [
        (placed.first + n, part)
        for n, body in enumerate(placed.run.bodies())
        for table in read_record(body, _Naming, placed).tables
        for part in table.parts
    ]
    faults = await asyncio.gather(*(check(part) for _, part in parts))
    for (seq, part), fault in zip(parts, faults, strict=True):
        if fault:
            report.bad_parts.append(BadPart(part.key, seq, fault))
        else:
            report.parts += 1
            report.part_bytes += part.size
