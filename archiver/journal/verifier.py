"""Reading a whole archive to say whether it is what was written, and what is known to be missing from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

import msgspec

from archiver.errors import Corrupt
from archiver.journal.boundary import Kept
from archiver.journal.chain import End
from archiver.journal.changed_marks import ChangedMarks
from archiver.journal.checkpoints import named_checkpoint
from archiver.journal.entry import Kind, Placed, SourceMark, advance
from archiver.journal.folded_checkpoints import BadCheckpoint, Naming, check_folded
from archiver.journal.found_gaps import FoundGap, FoundGaps
from archiver.journal.keys import number_of, segment_key
from archiver.journal.known_head import HeadComparison, KnownHead
from archiver.journal.last_segment import look_behind, strays_of
from archiver.journal.pack_checking import BadPack, check_packs
from archiver.journal.parts import Offload, part_faults
from archiver.journal.reader import Reader
from archiver.journal.record_reader import read_record
from archiver.journal.records import Gap, Session
from archiver.journal.remedies import CHECKPOINT_ANEW, HISTORY_ANEW, PACK_ANEW
from archiver.journal.restorable import Restorable, Stretches
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
"""Compared with what the runs say, in marks of whatever program."""
_NEWEST_FIELDS = ("newest_segment", "gap")
"""In marks that have them."""
_CHANGED_FIELDS = ("changed_segment",)
"""In marks that have it."""
_BAD_LIMIT = 1000
"""Bad segments behind which it goes on."""


class GapFinder(Protocol):
    """Finds gaps that no entry says by itself: those that follow from several. Each is a source, the number of an entry, and the gap."""

    def feed(self, placed: Placed) -> Iterable[tuple[str, int, Gap]]:
        """Take the next run; the gaps that are known by it. Raises ``Corrupt``."""

    def rest(self) -> Iterable[tuple[str, int, Gap]]:
        """Those that are open at the journal's end."""


class Share(msgspec.Struct, frozen=True):
    """Every ``of``-th segment. With another ``turn`` (0, 1, 2, …) each time, all of them have had theirs after ``of`` times."""

    turn: int
    of: int = 30

    def __contains__(self, number: int) -> bool:
        return number % self.of == self.turn % self.of


class BadPart(msgspec.Struct, frozen=True):
    """An object that an entry names and that is not what the entry says."""

    key: str
    seq: int
    """Number of the entry."""
    reason: str


class BadSegment(msgspec.Struct, frozen=True):
    """A segment, or several missing ones, that nothing can be restored across."""

    segment: int = msgspec.field(name="slot")
    to_segment: int = msgspec.field(name="to_slot")
    reason: str
    after_entry: int
    """The last entry before it."""
    after_time: int
    """Journal time there."""
    next_entry: int = 0
    """The first entry behind it that can be read; 0: none can."""
    next_time: int = 0


class BadHistory(msgspec.Struct, frozen=True):
    """A history file, or what names them, that is not what was written."""

    key: str
    reason: str


class CheckedHistory(msgspec.Struct):
    """What ``verify`` found of the history files of one source. The journal has all of it."""

    source: str
    covered: int = 0
    """The last entry that they cover."""
    files: int = 0
    """That passed."""
    groups: int = 0
    """Row groups whose bytes were read."""
    groups_left: int = 0
    """And those whose bytes were not."""
    compared: str = ""
    """Which entries' records were compared with the journal; no others were. Empty: none."""
    bad: list[BadHistory] = []


class VerifyReport(msgspec.Struct):
    """What ``verify`` found. Everything before ``bad_segment`` is proved. What stands behind it is looked at too, and is not proved to
    continue what was before: the counts and the head end before it.
    """

    archive: str = ""
    level: str = "all"
    """What was looked at: see ``verify_levels``."""
    since: str = ""
    """The chain head that it went on from: what is counted, and the points that can be restored, are those behind it. Empty: from the
    beginning."""
    boundary: str = ""
    """The chain head before which segments were retired: what is counted, and the points that can be restored, are those behind it, and
    what was kept. Empty: nothing was retired."""
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
    checkpoints: int = 0
    """Folded checkpoints that passed, with the parts that they name."""
    bad_checkpoints: list[BadCheckpoint] = []
    packs: int = 0
    """Packs of segments that passed: their bytes, with ``since`` their names; with level ``names`` none is looked at."""
    bad_packs: list[BadPack] = []
    """And those that no reader believes. The segments themselves serve."""
    history: list[CheckedHistory] = []
    """History files, by source."""
    bad_segment: int | None = msgspec.field(default=None, name="bad_slot")
    """The first bad segment; -1 for ``archive.json``; ``None`` for none."""
    reason: str = ""
    """Why it is bad; what is wrong with ``strays`` when no segment is bad."""
    bad_segments: list[BadSegment] = msgspec.field(default_factory=list, name="bad_slots")
    """All of them, ``bad_segment`` first."""
    behind: int = msgspec.field(default=0, name="slots_behind")
    """Segments behind ``bad_segment`` that are whole and continue one another."""
    restorable: list[Restorable] = []
    """Which points can be restored, by source, as far as the journal and its parts decide it."""
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
    def bad_history(self) -> list[BadHistory]:
        """Of all sources."""
        return [bad for each in self.history for bad in each.bad]

    @property
    def verdict(self) -> str:
        """What is wrong, in one sentence; empty for nothing. Damage first."""
        if self.bad_segment is not None:
            return f"segment {self.bad_segment}: {self.reason}"
        if self.bad_parts:
            return f"object {self.bad_parts[0].key}: {self.bad_parts[0].reason}"
        if not self.head_fault and not self.strays and self.bad_checkpoints:
            bad = self.bad_checkpoints[0]
            return f"checkpoint {bad.key}: {bad.reason}; {CHECKPOINT_ANEW}"
        if not self.head_fault and not self.strays and self.bad_packs:
            return f"pack {self.bad_packs[0].key}: {self.bad_packs[0].reason}; {PACK_ANEW}"
        if not self.head_fault and not self.strays and self.bad_history:
            found = self.bad_history[0]
            return f"history files {found.key}: {found.reason}; {HISTORY_ANEW}"
        return self.head_fault or self.reason


async def verify(
    store: Store,
    progress: Callable[[int, int], None] | None = None,
    *,
    deep: bool = False,
    share: Share | None = None,
    start: End | None = None,
    known_head: KnownHead | None = None,
    offload: Offload = asyncio.to_thread,
    finder: GapFinder | None = None,
) -> VerifyReport:
    """Check every segment (hashes, chain, contiguity, numbers, marks) and the parts that entries name (size; with ``deep`` their bytes).
    Compare with ``known_head``. ``share``: the bytes only of parts that segments in it name. ``start``: an earlier verify has proved what
    is up to there; only what is behind it is looked at. ``finder`` finds more gaps.

    Goes on behind a bad segment with the next one that can be read. Never raises ``Corrupt``: that is the report. ``Invalid`` when there
    is no archive; ``Unavailable`` when the store does not answer. ``progress`` gets (segments checked, segments there are). Safe beside a
    living writer.
    """
    reader = Reader(store, packs=False, offload=offload)
    report = VerifyReport()
    try:
        report.archive = (await reader.identity()).id
        boundary = await reader.boundary()
    except Corrupt as error:
        report.bad_segment, report.reason = -1, error.message
        return report
    end = start or (boundary.end if boundary is not None else End(report.archive))
    comparison = HeadComparison(known_head) if known_head else None
    stretches = Stretches()
    passage = _Passage(store, report, stretches, lambda number: deep and (share is None or number in share), offload, finder)
    last = await _last(Reader(store, packs=False, offload=offload))
    at, proved = end.segment + 1, end
    if boundary is not None and start is None:
        report.boundary = f"{boundary.chain}@{boundary.first - 1}"
        if comparison:
            # What the first segment continues is proved with it.
            comparison.retire(boundary.first - 1, boundary.chain)
        for kept in boundary.kept:
            await passage.take_kept(reader, kept, boundary.sources)
        stretches.retired(boundary.sources, boundary.floors)
    if start is not None:
        report.since = f"{start.chain.hex()}@{start.segment}"
        await passage.begin(reader, start)
    while True:
        try:
            async with aclosing(reader.walk(at, start=end, expected=last)) as steps:
                async for segment, valid in steps:
                    if valid:
                        after = End.after(segment.header, segment.footer, end.base_sources)
                        _check_marks(end, segment, after)
                        await passage.take(segment)
                        end = after
                        if comparison and report.bad_segment is None:
                            comparison.pass_segment(end.segment, end.chain.hex())
                    elif report.bad_segment is None:
                        report.void.append(segment.header.number)
                    passage.count(segment)
                    if report.bad_segment is None:
                        proved = end
                    if progress:
                        progress(segment.header.number + 1, max(last, segment.header.number) + 1)
            break
        except CorruptSegment as error:
            bad, reason = error.number, error.reason
        except Corrupt as error:
            bad, reason = end.segment + 1, error.message
        if report.bad_segment is None:
            report.bad_segment, report.reason = bad, reason
        stretches.broken(end)
        going_on = await _behind(reader, bad) if len(report.bad_segments) < _BAD_LIMIT else None
        if going_on is None:
            report.bad_segments.append(BadSegment(bad, bad, reason, end.next - 1, end.time))
            end = End(end.archive, next=end.next)
            break
        at, following = going_on
        known = (following.next, following.time + 1) if following.epoch else (0, 0)
        report.bad_segments.append(BadSegment(bad, at - 1, reason, end.next - 1, end.time, *known))
        if following.epoch:
            end = following
            stretches.resumed(end.next)
    if report.bad_segment is None and passage.last < 0 and start is None:
        # Right for the moment between a new archive's identity and its first segment only.
        report.bad_segment, report.reason = at, "it is missing although the archive has an identity: there is no journal"
        report.bad_segments.append(BadSegment(at, at, report.reason, 0, 0))
    report.checkpoints, report.bad_checkpoints = await check_folded(
        reader, report.archive, deep=deep and share is None and start is None, offload=offload
    )
    # Where the journal is damaged nobody knows where it ends.
    most = max(passage.last, start.segment if start else -1) if report.bad_segment is None else 1 << 64
    report.packs, report.bad_packs = await check_packs(reader, most, deep=start is None, offload=offload)
    passage.end()
    report.restorable = stretches.result(end)
    report.chain, report.head, report.time = proved.chain.hex(), f"{proved.chain.hex()}@{proved.segment}", proved.time
    report.head_fault = comparison.fault(proved.segment) if comparison else ""
    if report.bad_segment is None:
        report.strays = await strays_of(store, max(passage.last, start.segment if start else -1))
        if report.strays:
            report.reason = f"{report.strays[0]} stands among the segments and is none: move it away, and find out who put it there"
    return report


async def _behind(reader: Reader, bad: int) -> tuple[int, End] | None:
    """The next segment behind ``bad``, and the state that it continues; an ``End`` of epoch 0 when it is bad too. ``None``: there is none.

    Void ones are passed over.
    """
    number = bad + 1
    while True:
        if await reader.store.size(segment_key(number)) is None:
            try:
                found = number_of((await look_behind(reader.store, number - 1)).key)
            except Corrupt:
                return None
            if found is None:
                return None
            number = found
        try:
            return number, await reader.before(number)
        except Corrupt:
            try:
                void = await reader.header(number) is not None
            except Corrupt:
                void = False
            if not void:
                return number, End("")
        number += 1


async def _last(reader: Reader) -> int:
    """Only for ``progress``: a hole that shows here already is reported when its turn comes, behind whatever is bad before it."""
    try:
        return await reader.last()
    except Corrupt:
        return -1


def _compared(mark: SourceMark) -> tuple[str, ...]:
    newest = _NEWEST_FIELDS if mark.newest_segment >= 0 else ()
    return (*_MARK_FIELDS, *newest, *(_CHANGED_FIELDS if mark.changed_segment >= 0 else ()))


def _check_marks(before: End, segment: Segment, after: End) -> None:
    if isinstance(before.sources, ChangedMarks) or isinstance(after.sources, ChangedMarks):
        # The segment with all of them is bad, and told of. What was not, before it, cannot be compared.
        return
    marks = dict(before.sources)
    for placed in segment.placed():
        source = placed.run.source
        if source:
            marks[source] = advance(marks.get(source, SourceMark()), placed.run, placed.first, placed.segment)
    stored = after.sources
    for source in marks.keys() | stored.keys():
        expected, found = marks.get(source), stored.get(source)
        if expected is None or found is None or any(getattr(expected, name) != getattr(found, name) for name in _compared(found)):
            raise CorruptSegment(segment.header.number, f"the mark of source {source!r} in its header is not what its entries say")


class _Passage:
    """Counts what passes, and looks at the parts that it names."""

    def __init__(
        self,
        store: Store,
        report: VerifyReport,
        stretches: Stretches,
        deep: Callable[[int], bool],
        offload: Offload,
        finder: GapFinder | None = None,
    ) -> None:
        """``deep``: of which segments the bytes of parts are looked at."""
        self._store, self._report, self._stretches, self._deep, self._offload = store, report, stretches, deep, offload
        self._finder = finder
        self._gaps = FoundGaps()
        report.gaps = self._gaps.found
        self.last = -1
        """The last segment that passed of those that the walk goes over."""

    async def take_kept(self, reader: Reader, kept: Kept, marks: Mapping[str, SourceMark]) -> None:
        """Segments that were kept from before the boundary, and the parts that they name. ``marks``: of all sources at the boundary."""
        report, end = self._report, None
        try:
            async with aclosing(reader.walk(kept.first, last=kept.last)) as steps:
                async for segment, valid in steps:
                    self.count(segment)
                    if not valid:
                        continue
                    end = End.after(segment.header, segment.footer)
                    self._take_open(segment, marks)
                    for placed in segment.placed():
                        if placed.run.kind in (Kind.CHECKPOINT, Kind.PG_TABLES):
                            await self._check_parts(placed, list(placed.run.bodies()), deep=self._deep(placed.segment))
            if end is None or end.segment != kept.last or end.chain.hex() != kept.chain:
                raise CorruptSegment(kept.last, "it is not what was kept when others were retired")
        except Corrupt as error:
            bad, reason = (error.number, error.reason) if isinstance(error, CorruptSegment) else (kept.first, error.message)
            report.bad_segments.append(BadSegment(bad, bad, reason, 0, 0))
            if report.bad_segment is None:
                report.bad_segment, report.reason = bad, reason
        self.last = -1

    def _take_open(self, segment: Segment, marks: Mapping[str, SourceMark]) -> None:
        """The gaps with which the journal of a source ended before the boundary. What ended others may be gone."""
        newest = {placed.run.source: placed for placed in segment.placed()}
        for source, placed in newest.items():
            mark = marks.get(source)
            if mark is not None and mark.newest_segment == placed.segment and placed.run.kind is Kind.GAP:
                gaps = [read_record(body, Gap, placed) for body in placed.run.bodies()]
                for n, gap in enumerate(gaps):
                    if not gap.to_position:
                        self._gaps.gap(source, placed.first + n, gap)

    async def begin(self, reader: Reader, start: End) -> None:
        """Take the newest complete states before ``start``: points behind it can begin with them. ``Corrupt``."""
        found = [
            (await named_checkpoint(reader, source, mark), source) for source, mark in start.sources.items() if mark.checkpoint_segment >= 0
        ]
        for placed, source in sorted(found, key=lambda each: each[0].first):
            header = await reader.header(placed.segment)
            assert header is not None
            bodies = list(placed.run.bodies())
            for n, body in enumerate(bodies):
                self._stretches.checkpoint(placed, header.sources[source], placed.first + n, body)
            await self._check_parts(placed, bodies, deep=False)

    def count(self, segment: Segment) -> None:
        """A whole segment, void or not."""
        report = self._report
        self.last = segment.header.number
        if report.bad_segment is not None:
            report.behind += 1
            return
        report.segments += 1
        report.bytes += segment.size

    async def take(self, segment: Segment) -> None:
        """A valid segment. ``Corrupt`` when an entry of it cannot be read."""
        report = self._report
        sessions = 0
        for placed in segment.placed():
            run = placed.run
            for found in self._finder.feed(placed) if self._finder is not None else ():
                self._gaps.gap(*found)
            if run.kind is Kind.GAP:
                for n, body in enumerate(run.bodies()):
                    self._gaps.gap(run.source, placed.first + n, read_record(body, Gap, placed))
            elif run.kind is Kind.SESSION:
                sessions += sum(1 for body in run.bodies() if read_record(body, Session, placed).epoch == placed.epoch)
            elif run.kind in (Kind.CHECKPOINT, Kind.PG_TABLES):
                bodies = list(run.bodies())
                if run.kind is Kind.CHECKPOINT:
                    for n, body in enumerate(bodies):
                        taken = self._stretches.checkpoint(placed, segment.header.sources[run.source], placed.first + n, body)
                        self._gaps.complete(run.source, placed.first + n, taken)
                await self._check_parts(placed, bodies, deep=self._deep(placed.segment))
        if report.bad_segment is None:
            report.sessions += sessions
            report.entries += segment.header.count
            report.raw_bytes += segment.footer.raw

    def end(self) -> None:
        """The walk is over."""
        for found in self._finder.rest() if self._finder is not None else ():
            self._gaps.gap(*found)

    async def _check_parts(self, placed: Placed, bodies: list[bytes], *, deep: bool) -> None:
        named = [(placed.first + n, read_record(body, Naming, placed)) for n, body in enumerate(bodies)]
        if placed.run.kind is Kind.PG_TABLES:
            for seq, naming in named:
                self._gaps.copied(placed.run.source, seq, naming)
        parts = [(seq, naming, part) for seq, naming in named for table in naming.tables for part in table.parts]
        faults = await part_faults(self._store, [part for _, _, part in parts], deep=deep, offload=self._offload)
        report = self._report
        for (seq, naming, part), fault in zip(parts, faults, strict=True):
            if fault:
                report.bad_parts.append(BadPart(part.key, seq, fault))
                self._stretches.bad_part(placed.run.source, seq, needed_from=naming.replay_from or seq, time=naming.taken)
            else:
                report.parts += 1
                report.part_bytes += part.size
