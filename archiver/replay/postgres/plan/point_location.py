"""Where a point lies in the journal of one database: its end segment, and the checkpoint that serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver import clock
from archiver.errors import Invalid, Refused
from archiver.journal.checkpoints import newest_checkpoint
from archiver.journal.entry import Placed, SourceMark
from archiver.journal.record_reader import read_record
from archiver.journal.segment import CorruptSegment
from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import Snapshot
from archiver.replay.points import HINT_LATEST, NotReached, Point
from archiver.replay.postgres.decode.commits import Limit
from archiver.replay.postgres.plan.journal_survey import FoundRecord
from archiver.replay.postgres.plan.plan import Ref
from archiver.suggestions import meant

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.journal.segment import SegmentHeader


def require_mark(header: SegmentHeader, source: str, point: Point) -> SourceMark:
    """Where ``source`` stands after the journal's newest segment. ``Invalid``: there is no such source.

    ``NotReached``: it has not reached the point.
    """
    mark = header.sources.get(source)
    if mark is None:
        known = sorted(name for name in header.sources if name and "/" not in name)
        hint = f"{meant(source, known)}its databases: {', '.join(known) or 'none yet'}"
        raise Invalid(f"the archive has no database {source!r}", hint=hint)
    if point.kind == "lsn" and mark.position and point.number > parse_lsn(mark.position):
        raise NotReached(f"source {source} is journaled up to {mark.position}, {point.text} is not reached yet", hint=HINT_LATEST)
    if point.kind == "time" and point.number > max(mark.observed, mark.changed):
        raise not_known_yet(source, max(mark.observed, mark.changed), point)
    return mark


def not_known_yet(source: str, known: int, point: Point) -> NotReached:
    """Nothing tells whether ``source`` committed something between ``known`` and the asked time."""
    behind = clock.duration_text((point.number - known) / 1e6)
    return NotReached(f"what {source} committed is known up to {clock.to_text(known)}, {behind} before {point.text}", hint=HINT_LATEST)


def limit_of(point: Point) -> Limit:
    """What a resolved point means for transactions."""
    if point.kind == "entry":
        return Limit(seq=point.number)
    return Limit(lsn=point.number) if point.kind == "lsn" else Limit(time=point.number)


async def end_segment(reader: Reader, source: str, point: Point) -> int:
    """The segment that holds the last transaction of the state, or a later one close by."""
    if point.kind == "entry":
        return await reader.find_seq(point.number)

    def beyond(header: SegmentHeader) -> bool:
        mark = header.sources.get(source, SourceMark())
        if point.kind == "time":
            return mark.changed > point.number
        return bool(mark.position) and parse_lsn(mark.position) > point.number

    return await reader.bisect(beyond, near=True)


async def checkpoint_at(reader: Reader, source: str, point: Point, end: int) -> FoundRecord[Snapshot]:
    """The newest checkpoint that has nothing from behind the point, which lies in or before segment ``end``.

    Its entry may stand behind the point: a baseline takes its time. One there that cannot be read is passed over when an older one serves.
    ``Refused`` when there is none, with the earliest point there is.
    """
    header = await reader.header(end)
    assert header is not None
    known = mark_of(header, source).checkpoint
    candidate = None
    try:
        ahead = await reader.bisect(lambda header: mark_of(header, source).checkpoint > known, near=True)
        if (after := await reader.header(ahead)) is not None and mark_of(after, source).checkpoint > known:
            candidate = await newest_checkpoint(reader, source, mark_of(after, source).checkpoint)
        if candidate is not None and not _serves(candidate, point) and candidate.segment > end:
            # Others in its segment, which is the first one behind with any, may serve; none behind it does.
            candidate = await newest_checkpoint(reader, source, candidate.first - 1)
    except CorruptSegment:
        if not known:
            raise
        candidate = None
    while candidate is None or not _serves(candidate, point):
        bound = known if candidate is None else candidate.first - 1
        candidate = await newest_checkpoint(reader, source, bound) if bound else None
        if candidate is None:
            raise await _too_early(reader, source, point)
    return FoundRecord(Ref(candidate.first, candidate.segment), _snapshot(candidate))


def mark_of(header: SegmentHeader, source: str) -> SourceMark:
    """Where ``source`` stands after a segment; an empty mark when it is not there yet."""
    return header.sources.get(source, SourceMark())


def _snapshot(placed: Placed) -> Snapshot:
    return read_record(next(placed.run.bodies()), Snapshot, placed)


def _serves(candidate: Placed, point: Point) -> bool:
    snapshot = _snapshot(candidate)
    if point.kind == "lsn":
        return parse_lsn(snapshot.lsn) <= point.number
    if point.kind == "time":
        return snapshot.taken <= point.number
    # A baseline's slot delivers from the snapshot on: nothing that it has stands behind its own stream's beginning.
    return (snapshot.replay_from if snapshot.cause == "baseline" else candidate.first) <= point.number


async def first_checkpoint(reader: Reader, source: str) -> FoundRecord[Snapshot] | None:
    """The oldest checkpoint; ``None`` when there is none yet."""
    header = await reader.header(await reader.bisect(lambda header: mark_of(header, source).checkpoint > 0))
    found = await newest_checkpoint(reader, source, mark_of(header, source).checkpoint) if header else None
    return FoundRecord(Ref(found.first, found.segment), _snapshot(found)) if found else None


async def _too_early(reader: Reader, source: str, point: Point) -> Refused:
    first = await first_checkpoint(reader, source)
    if first is None:
        return no_baseline(source)
    snapshot = first.record
    return Refused(
        f"{point.text} lies before the first complete baseline of {source}",
        hint=f"the earliest point is {clock.to_text(snapshot.taken)}, LSN {snapshot.lsn}, entry {snapshot.replay_from}",
    )


def no_baseline(source: str) -> Refused:
    """Nothing can be said about this source yet."""
    return Refused(f"source {source} has no complete baseline yet", hint="wait until `archiver status` shows one")
