"""All streams of one Kubernetes source, folded up to one point."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import msgspec

from archiver.clock import to_text
from archiver.errors import Corrupt, HistoryLost, Invalid
from archiver.journal.checkpoints import newest_checkpoint
from archiver.journal.entry import Kind, Placed, Run
from archiver.journal.reader import Reader
from archiver.journal.records import Gap
from archiver.journal.segment import SegmentHeader
from archiver.journal.spans import Span, first_segment_of, last_segment_of, read_spans
from archiver.kubernetes.records import Listing, Watch
from archiver.kubernetes.stream_name import StreamName
from archiver.kubernetes.stream_state import UNWATCHED, StreamState


class Cut(msgspec.Struct, frozen=True):
    """Where to stop: after entry ``seq``, or before the first entry of a stream that was received after ``time``; neither: at the end."""

    seq: int = 0
    time: int = 0


class Folded(msgspec.Struct):
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


class _Begin(msgspec.Struct, frozen=True):
    """Where the reading of one stream begins and ends."""

    seq: int
    """First entry that counts."""
    segment: int
    """Its segment."""
    last: int
    """The segment with the newest entry before the cut."""


async def read_streams(reader: Reader, source: str, cut: Cut) -> list[Folded]:
    """Every stream of ``source`` at ``cut``, by name; streams that began later are left out.

    Reads each stream from its newest complete list before the cut to its newest entry, so that one that ended long ago costs little.
    Raises ``Invalid`` when the archive has no such source, ``HistoryLost`` when none of its streams had a complete list by then.
    """
    tail = await reader.tail()
    names = [name for name in tail.sources if name.startswith(f"{source}/")] if tail else []
    if tail is None or not names:
        raise Invalid(f"the archive has no Kubernetes source {source!r}", hint="`archiver status` lists its sources")
    begins = dict(zip(names, await asyncio.gather(*(_begin(reader, tail, name, cut) for name in names)), strict=True))
    reading = _Reading({name: begin.seq for name, begin in begins.items()}, cut)
    spans = [Span(each.segment, each.last) for each in begins.values()]
    if cut.seq:
        # The point's own time, whoever's entry stands there.
        place = min(await reader.find_seq(cut.seq), tail.number)
        spans.append(Span(place, place))
    async with aclosing(read_spans(reader, spans)) as runs:
        async for placed in runs:
            reading.take(placed)
    point = cut.time or reading.time
    folds = sorted((fold for fold in reading.folds.values() if fold.entry), key=lambda fold: fold.name)
    if not any(fold.state.listing for fold in folds):
        raise HistoryLost(
            f"source {source} had no complete list by then", hint="choose a later point; `archiver status` shows when its baseline stood"
        )
    await asyncio.gather(*(_judge(reader, tail, fold, reading.listing.get(fold.name), cut, point) for fold in folds))
    return folds


class _Reading:
    """Folds runs in the journal's order, each stream from its beginning to the cut."""

    def __init__(self, begins: dict[str, int], cut: Cut) -> None:
        self.folds = {name: Folded(name, StreamState()) for name in begins}
        self.listing: dict[str, Placed] = {}
        """Where lists began that are not complete."""
        self.time = 0
        """When the entry at the cut was received, whatever it is of."""
        self._begins = begins
        self._cut = cut
        self._closed: set[str] = set()

    def take(self, placed: Placed) -> None:
        if self._cut.seq and placed.first <= self._cut.seq:
            self.time = max(self.time, placed.run.observed)
        fold = self.folds.get(placed.run.source)
        if fold is None or fold.name in self._closed or placed.first < self._begins[fold.name]:
            return
        kept = _until(placed, self._cut)
        if kept is not placed:
            self._closed.add(fold.name)
        if kept is None:
            return
        fold.state.apply(kept)
        fold.entry = kept.first + kept.run.count - 1
        fold.observed = max(fold.observed, kept.run.observed)
        if kept.run.kind is Kind.K8S_WATCH:
            for body in kept.run.bodies():
                watch = msgspec.json.decode(body, type=Watch)
                if not watch.resource_version:
                    self.listing[fold.name] = kept
        elif kept.run.kind is Kind.CHECKPOINT:
            self.listing.pop(fold.name, None)


async def _begin(reader: Reader, tail: SegmentHeader, name: str, cut: Cut) -> _Begin:
    """From its newest complete list before the cut; without one from its first entry."""

    def beyond(header: SegmentHeader) -> bool:
        mark = header.sources.get(name)
        if cut.seq:
            return header.first + header.count > cut.seq
        return bool(cut.time) and mark is not None and mark.observed > cut.time

    last = min(await reader.bisect(beyond), await last_segment_of(reader, name, tail.sources[name]), tail.number)
    there = await reader.header(last)
    mark = there.sources.get(name) if there else None
    if mark is None or (cut.seq and mark.checkpoint > cut.seq) or (cut.time and mark.observed > cut.time):
        before = await reader.valid_before(last)
        mark = before.sources.get(name) if before else None
    if mark is None or mark.checkpoint_segment < 0:
        number = min(last, await first_segment_of(reader, name))
        return _Begin(0, number, last)
    placed = await newest_checkpoint(reader, name, mark.checkpoint)
    if placed is None:
        raise Corrupt(f"the journal does not hold the checkpoint of {name} that its marks name", hint="run `archiver verify`")
    first = min(msgspec.json.decode(body, type=Listing).first for body in placed.run.bodies())
    return _Begin(first, await reader.find_seq(first), last)


def _until(placed: Placed, cut: Cut) -> Placed | None:
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


async def _judge(reader: Reader, tail: SegmentHeader, fold: Folded, listing: Placed | None, cut: Cut, point: int) -> None:
    """Say what is not known at ``point`` (microseconds; 0: the journal's end). ``listing``: where a list began that the cut interrupts."""
    name = StreamName.parse(fold.name)
    if fold.state.resource is None:
        fold.state.resource, fold.state.namespace = name.resource, name.namespace
    if fold.state.listing is None:
        if not fold.state.ended and fold.state.selected:
            why = f": {fold.state.unwatched.detail}" if fold.state.unwatched is not None else ""
            fold.gaps.append(f"no complete list by then{why}")
        return
    if not fold.state.selected:
        fold.notes.append(f"the settings select it no longer since {to_text(fold.observed)}: it is restored as it was then")
        return
    began = listing if listing is not None and _cause(listing) != "verify" else None
    if fold.state.ended and began is None:
        return
    verifying = listing if began is None else None
    following = began or (await _next(reader, tail, fold, verifying=False) if cut.seq or cut.time else None)
    silence = fold.state.unwatched
    if following is not None and _unwatched(following) is not None and began is None:
        silence = silence or _unwatched(following)
        following = await _next(reader, tail, fold, verifying=False, unwatched=True)
    if following is None and silence is not None:
        since = to_text(silence.from_time) if silence.from_time else "its beginning"
        fold.gaps.append(f"nothing was heard of it since {since} ({silence.detail}): what it is by then is not known")
        return
    if following is None or (began is None and silence is None and point <= fold.observed):
        return
    if verifying is None and _verifies(following):
        verifying = following
    if verifying is not None:
        # What it found as it was known is certain. Whether the watch tells the rest is seen by what comes after it.
        following = await _next(reader, tail, fold, verifying=True) if await _changes(reader, tail, fold, verifying) else None
        if following is None:
            return
    since, until = to_text(fold.observed if began is None else began.run.observed), to_text(following.run.observed)
    match following.run.kind:
        case Kind.K8S_WATCH if not _cause(following):
            fold.notes.append(f"nobody watched from {since} to {until}: what happened meanwhile counts as of when it was received")
        case Kind.K8S_WATCH:
            changes = await _changes(reader, tail, fold, following, verifying)
            if changes:
                fold.gaps.append(f"what happened between {since} and {until} is not known, and the point lies between: {changes}")
        case Kind.GAP | Kind.K8S_ABSENT:
            fold.gaps.append(f"what happened between {since} and {until} is not known, and the point lies between")
        case _:
            pass


def _cause(placed: Placed) -> str:
    """Of a list that began here; empty for a watch that went on from its position."""
    watch = msgspec.json.decode(next(placed.run.bodies()), type=Watch)
    return "" if watch.resource_version else watch.cause


def _unwatched(placed: Placed) -> Gap | None:
    """What says that nothing is heard of a stream, if that is what ``placed`` is."""
    if placed.run.kind is not Kind.GAP:
        return None
    gaps = [msgspec.json.decode(body, type=Gap) for body in placed.run.bodies()]
    return next((gap for gap in gaps if gap.reason == UNWATCHED), None)


def _verifies(placed: Placed) -> bool:
    return placed.run.kind is Kind.K8S_WATCH and _cause(placed) == "verify"


async def _next(reader: Reader, tail: SegmentHeader, fold: Folded, *, verifying: bool, unwatched: bool = False) -> Placed | None:
    """The stream's first run that was received after what was folded; ``None`` at the journal's end. ``verifying``: and is not of a
    verifying list. ``unwatched``: and does not only say that nothing is heard.
    """
    if tail.sources[fold.name].observed <= fold.observed:
        return None

    def later(header: SegmentHeader) -> bool:
        mark = header.sources.get(fold.name)
        return mark is not None and mark.observed > fold.observed

    async with aclosing(reader.read(await reader.bisect(later))) as runs:
        async for placed in runs:
            run = placed.run
            if run.source != fold.name or run.observed <= fold.observed:
                continue
            if unwatched and _unwatched(placed) is not None:
                continue
            if not verifying or not (run.kind in (Kind.K8S_ITEM, Kind.CHECKPOINT) or _verifies(placed)):
                return placed
    return None


async def _changes(reader: Reader, tail: SegmentHeader, fold: Folded, began: Placed, verifying: Placed | None = None) -> str:
    """What the list that ``began``, or the next one, found otherwise than it was known; empty when nothing: then nothing happened.
    ``verifying``: where verifying lists before it began.
    """
    mark = tail.sources[fold.name]
    if mark.checkpoint < began.first:
        return "no list was complete since"

    def complete(header: SegmentHeader) -> bool:
        there = header.sources.get(fold.name)
        return there is not None and there.checkpoint >= began.first

    state = StreamState(bodies=False)
    existed = set(fold.state.known())
    first = verifying or began
    async with aclosing(reader.read(first.segment, last=await reader.bisect(complete))) as runs:
        async for placed in runs:
            done = state.listing is not None and state.listing.first >= began.first
            if placed.run.source == fold.name and placed.first >= first.first and not done:
                if placed.run.kind is Kind.K8S_WATCH:
                    # A list before it may have seen what was gone again.
                    existed |= state.known().keys()
                state.apply(placed)
    listed = {key: (seen.uid, seen.resource_version) for key, seen in state.objects.items()}
    known = {key: (seen.uid, seen.resource_version) for key, seen in fold.state.objects.items()}
    gone = len(existed - listed.keys())
    changed = sum(known.get(key) != version for key, version in listed.items())
    return f"{changed} objects changed and {gone} gone" if changed or gone else ""
