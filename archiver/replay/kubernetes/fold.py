"""All streams of one Kubernetes source, folded up to one point."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing

import msgspec
import structlog

from archiver.clock import to_text
from archiver.errors import Corrupt, HistoryLost, Invalid
from archiver.journal.boundary import Retired
from archiver.journal.checkpoints import named_checkpoint, newest_checkpoint
from archiver.journal.entry import Kind, Placed
from archiver.journal.reader import Reader
from archiver.journal.record_reader import read_record
from archiver.journal.segment import SegmentHeader
from archiver.journal.spans import Span, first_segment_of, last_segment_of, read_spans
from archiver.kubernetes.checkpoint_records import ClusterCheckpoint, StreamCheckpoint, state_of
from archiver.kubernetes.cluster_checkpoints import load_objects, newest_cluster_checkpoint
from archiver.kubernetes.records import Listing, Watch
from archiver.kubernetes.stream_name import StreamName
from archiver.kubernetes.stream_state import StreamState
from archiver.replay.kubernetes.doubts import judge, judge_time
from archiver.replay.kubernetes.folded_stream import Cut, FoldedStream, part_of

_log = structlog.get_logger()


class Stretch(msgspec.Struct, frozen=True):
    """Where the reading of one stream begins and ends; the segments are none when the last comes before the first."""

    seq: int
    """First entry that counts."""
    segment: int
    """Its segment."""
    last: int
    """The segment with the newest entry before the cut."""
    folded: StreamCheckpoint | None = None
    """What it begins from; None: a list in the journal, or nothing."""


async def read_streams(reader: Reader, source: str, cut: Cut, wanted: Callable[[StreamName], bool] = lambda _: True) -> list[FoldedStream]:
    """Every stream of ``source`` that is ``wanted`` at ``cut``, by name; streams that began later are left out.

    Reads each stream from its newest complete list before the cut, or from a folded checkpoint behind that, to its newest entry, so that
    one that ended long ago costs little. Raises ``Invalid`` when the archive has no such source, ``HistoryLost`` when none of its streams
    had a complete list by then.
    """
    tail = await reader.tail()
    await require_there(reader, cut)
    names = [name for name in tail.sources if name.startswith(f"{source}/")] if tail else []
    if tail is None or not names:
        raise Invalid(f"the archive has no Kubernetes source {source!r}", hint="`archiver status` lists its sources")
    reading = await _fold(reader, tail, source, [name for name in names if wanted(StreamName.parse(name))], cut)
    point = cut.time or reading.time
    folds = reading.found()
    for fold in folds:
        if fold.state.disproved:
            fold.gaps.append(f"it is not what the source had: {fold.state.disproved}")
    if not any(fold.state.listing for fold in folds):
        raise HistoryLost(
            f"source {source} had no complete list by then", hint="choose a later point; `archiver status` shows when its baseline stood"
        )
    await judge_streams(reader, tail, folds, reading.listing, cut, point)
    return folds


async def judge_streams(
    reader: Reader, tail: SegmentHeader, folds: list[FoldedStream], listing: Mapping[str, Placed], cut: Cut, point: int
) -> None:
    """Say in ``folds`` what is not known of them. ``listing``: where lists began that the cut interrupts. Raises as ``judge``."""
    await asyncio.gather(*(judge(reader, tail, fold, listing.get(fold.name), cut, point) for fold in folds))
    if cut.time:
        await judge_time(reader, tail, folds, cut.time)


async def require_there(reader: Reader, cut: Cut) -> None:
    """``Retired`` when the cut lies before the boundary. What was kept from there would answer, and not know what came next."""
    boundary = await reader.boundary()
    if boundary is None or not (cut.seq or cut.time):
        return
    if cut.seq and cut.seq < boundary.next:
        raise Retired(f"entry {cut.seq}", boundary)
    if cut.time and await reader.bisect(lambda header: _heard(header) > cut.time, near=True) <= boundary.first:
        raise Retired(f"what was received by {to_text(cut.time)}", boundary)


def _heard(header: SegmentHeader) -> int:
    return max((mark.observed for mark in header.sources.values()), default=0)


async def fold_streams(reader: Reader, tail: SegmentHeader, source: str, cut: Cut) -> list[FoldedStream]:
    """As ``read_streams`` for every stream, without what is not known at the cut. ``tail``: of the journal."""
    return (await _fold(reader, tail, source, [name for name in tail.sources if name.startswith(f"{source}/")], cut)).found()


async def stretches(reader: Reader, tail: SegmentHeader, source: str, cut: Cut) -> dict[str, Span]:
    """By stream: which segments a fold of ``source`` up to the cut would read; none where the last comes before the first."""
    _, folded = await _checkpoint(reader, tail, source, cut)
    begins = await begin_streams(reader, tail, [name for name in tail.sources if name.startswith(f"{source}/")], cut, folded)
    return {name: Span(begin.segment, begin.last) for name, begin in begins.items()}


async def newest_before(reader: Reader, tail: SegmentHeader, source: str, cut: Cut) -> ClusterCheckpoint | None:
    """The folded checkpoint that a fold up to the cut would begin from."""
    return await newest_cluster_checkpoint(reader, source, await newest_entry(reader, tail, cut))


async def _checkpoint(
    reader: Reader, tail: SegmentHeader, source: str, cut: Cut
) -> tuple[ClusterCheckpoint | None, dict[str, StreamCheckpoint]]:
    """The checkpoint, and the streams that it has for the cut."""
    checkpoint = await newest_before(reader, tail, source, cut)
    streams = checkpoint.streams if checkpoint is not None else []
    return checkpoint, {stream.name: stream for stream in streams if not cut.time or stream.received <= cut.time}


async def _fold(reader: Reader, tail: SegmentHeader, source: str, names: list[str], cut: Cut) -> _Reading:
    """Streams ``names`` of ``source`` up to the cut."""
    checkpoint, folded = await _checkpoint(reader, tail, source, cut)
    begins = await begin_streams(reader, tail, names, cut, folded)
    reading = None
    try:
        folds = await _loaded(reader, begins, checkpoint)
    except Corrupt as error:
        why = error.message
    else:
        reading = await _read(reader, tail, begins, folds, cut)
        why = next((f"{fold.name}: {fold.state.disproved}" for fold in folds.values() if fold.state.disproved), "")
        if not why:
            return reading
    # The journal has all that it had.
    _log.warning("checkpoint_passed_over", source=source, entry=checkpoint.entry if checkpoint else 0, reason=why)
    try:
        begins = await begin_streams(reader, tail, names, cut, {})
        return await _read(reader, tail, begins, {}, cut)
    except Retired:
        if reading is None:
            raise
        # With its doubt.
        return reading


async def _loaded(reader: Reader, begins: Mapping[str, Stretch], checkpoint: ClusterCheckpoint | None) -> dict[str, FoldedStream]:
    """The streams that begin from ``checkpoint``, as it has them. ``Corrupt`` when its parts are not what it says."""
    found = {}
    for name, begin in begins.items():
        if begin.folded is not None and checkpoint is not None:
            state = state_of(begin.folded, await load_objects(reader.store, begin.folded, reader.offload))
            found[name] = FoldedStream(name, state, begin.folded.through, begin.folded.observed, checkpoint=checkpoint.entry)
    return found


async def _read(
    reader: Reader, tail: SegmentHeader, begins: Mapping[str, Stretch], folds: Mapping[str, FoldedStream], cut: Cut
) -> _Reading:
    """Read every stream on from where it begins, as ``folds`` has it there or from nothing."""
    reading = _Reading({name: begin.seq for name, begin in begins.items()}, cut)
    reading.folds.update(folds)
    spans = [Span(each.segment, each.last) for each in begins.values() if each.segment <= each.last]
    if cut.seq:
        # The point's own time, whoever's entry stands there.
        place = await place_of(reader, tail, cut.seq)
        spans.append(Span(place, place))
    async with aclosing(read_spans(reader, spans)) as runs:
        async for placed in runs:
            reading.take(placed)
    return reading


async def place_of(reader: Reader, tail: SegmentHeader, entry: int) -> int:
    """The segment of an entry."""
    return tail.number if entry >= tail.first else min(await reader.find_seq(entry), tail.number)


async def begin_streams(
    reader: Reader, tail: SegmentHeader, names: list[str], cut: Cut, folded: Mapping[str, StreamCheckpoint]
) -> dict[str, Stretch]:
    """Where the reading of each stream begins and ends. ``folded``: what a checkpoint before the cut has of them."""
    found = await asyncio.gather(*(_begin(reader, tail, name, cut, folded.get(name)) for name in names))
    return dict(zip(names, found, strict=True))


async def newest_entry(reader: Reader, tail: SegmentHeader, cut: Cut) -> int:
    """No entry behind this one is before the cut."""
    if cut.seq:
        return cut.seq
    header = tail
    if cut.time:
        header = await reader.header(await reader.bisect(lambda each: each.time > cut.time, near=True)) or tail
    return header.first + header.count - 1


class _Reading:
    """Folds runs in the journal's order, each stream from its beginning to the cut."""

    def __init__(self, begins: dict[str, int], cut: Cut) -> None:
        self.folds = {name: FoldedStream(name, StreamState()) for name in begins}
        self.listing: dict[str, Placed] = {}
        """Where lists began that are not complete."""
        self.time = 0
        """When the entry at the cut was received, whatever it is of."""
        self._begins = begins
        self._cut = cut
        self._closed: set[str] = set()

    def found(self) -> list[FoldedStream]:
        """The streams that had begun by the cut, by name."""
        return sorted((fold for fold in self.folds.values() if fold.entry), key=lambda fold: fold.name)

    def take(self, placed: Placed) -> None:
        if self._cut.seq and placed.first <= self._cut.seq:
            self.time = max(self.time, placed.run.observed)
        fold = self.folds.get(placed.run.source)
        if fold is None or fold.name in self._closed or placed.first < self._begins[fold.name]:
            return
        kept = part_of(placed, self._cut)
        if kept is not placed:
            self._closed.add(fold.name)
        if kept is None:
            return
        fold.state.apply(kept)
        fold.entry = kept.first + kept.run.count - 1
        fold.observed = max(fold.observed, kept.run.observed)
        if kept.run.kind is Kind.K8S_WATCH:
            for body in kept.run.bodies():
                watch = read_record(body, Watch, kept)
                if not watch.resource_version:
                    self.listing[fold.name] = kept
        elif kept.run.kind is Kind.CHECKPOINT:
            self.listing.pop(fold.name, None)


async def last_before(reader: Reader, tail: SegmentHeader, name: str, cut: Cut) -> int:
    """The last segment that may have an entry of a stream before the cut. Nothing is searched where the cut is the journal's end."""

    def beyond(header: SegmentHeader) -> bool:
        mark = header.sources.get(name)
        if cut.seq:
            return header.first + header.count > cut.seq
        return bool(cut.time) and mark is not None and mark.observed > cut.time

    newest = await last_segment_of(reader, name, tail.sources[name])
    at_end = tail.sources[name].observed <= cut.time if cut.time else not cut.seq or cut.seq >= tail.first
    return min(tail.number if at_end else await reader.bisect(beyond, near=True), newest, tail.number)


async def _begin(reader: Reader, tail: SegmentHeader, name: str, cut: Cut, folded: StreamCheckpoint | None) -> Stretch:
    """From its newest complete list before the cut, or from ``folded`` when that goes further; without either from its first entry."""
    last = await last_before(reader, tail, name, cut)
    there = await reader.header(last)
    mark = there.sources.get(name) if there else None
    if mark is not None and cut.seq and mark.checkpoint > cut.seq:
        # An older one may stand before it in the same segment: what comes before that segment is then not needed.
        placed = await newest_checkpoint(reader, name, cut.seq)
    else:
        if mark is None or (cut.time and mark.observed > cut.time):
            before = await reader.valid_before(last)
            mark = before.sources.get(name) if before else None
        if folded is not None and mark is not None and mark.checkpoint <= folded.through:
            return Stretch(folded.through + 1, folded.segment, last, folded)
        placed = await named_checkpoint(reader, name, mark) if mark is not None and mark.checkpoint_segment >= 0 else None
    if placed is None:
        number = min(last, await first_segment_of(reader, name))
        return Stretch(0, number, last)
    if folded is not None and placed.first + placed.run.count - 1 <= folded.through:
        return Stretch(folded.through + 1, folded.segment, last, folded)
    first = min(read_record(body, Listing, placed).first for body in placed.run.bodies())
    return Stretch(first, await reader.find_seq(first), last)
