"""What is not known of a stream at a point. Every answer about a cluster's past has its doubts from here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from archiver.clock import to_text
from archiver.journal.clock_doubts import clock_doubts
from archiver.journal.entry import Kind, Placed
from archiver.journal.reader import Reader
from archiver.journal.record_reader import read_record
from archiver.journal.records import Gap
from archiver.journal.segment import CorruptSegment, SegmentHeader
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.change_time import change_time
from archiver.kubernetes.records import Watch
from archiver.kubernetes.stream_name import StreamName
from archiver.kubernetes.stream_state import UNWATCHED, Key, StreamState
from archiver.replay.kubernetes.folded_stream import Cut, FoldedStream, part_of
from archiver.replay.kubernetes.late_events import Late, divide
from archiver.untrusted import Unreadable

_BACKLOG = 10_000_000
"""Microseconds. What waited for somebody to watch comes at once: a longer pause ends it."""
_HUNG = 5_000_000
"""Microseconds between what an object says of its change and when that was received, in which no answer was only slow."""


class OthersNeeded(Exception):
    """What is not known of some objects of a stream cannot be told without others, which were not folded."""

    def __init__(self, keys: Collection[Key] = ()) -> None:
        """``keys``: of these; none: of all."""
        super().__init__()
        self.keys = frozenset(keys)


async def judge_time(reader: Reader, tail: SegmentHeader, folds: Sequence[FoldedStream], point: int) -> None:
    """Say of every stream in ``folds`` what steps of the archiver's clock make doubtful at ``point``, which a user gave as a time.

    What was received is found by that clock, whichever stream it is of.
    """
    try:
        doubts = await clock_doubts(reader, tail, point)
    except CorruptSegment as error:
        why = f"segment {error.number} cannot be read ({error.reason})"
        for fold in folds:
            fold.notes.append(f"{why}: it would tell whether the archiver's clock was set near the asked time")
        return
    for fold in folds:
        fold.gaps += [doubt.text for doubt in doubts if not doubt.over]
        fold.notes += [doubt.text for doubt in doubts if doubt.over]


async def judge(reader: Reader, tail: SegmentHeader, fold: FoldedStream, listing: Placed | None, cut: Cut, point: int) -> None:
    """Say what is not known at ``point`` (microseconds; 0: the journal's end). ``listing``: where a list began that the cut interrupts.

    The entries behind the cut tell it. Where a segment with them cannot be read, that is a gap of this stream, and of no other. Raises
    ``OthersNeeded`` for a stream of which only some objects were folded.
    """
    try:
        await _judge(reader, tail, fold, listing, cut, point)
    except CorruptSegment as error:
        fold.gaps.append(
            f"segment {error.number} behind the point cannot be read ({error.reason}): it would tell whether something happened since"
            f" {to_text(fold.observed)}"
        )


async def _judge(reader: Reader, tail: SegmentHeader, fold: FoldedStream, listing: Placed | None, cut: Cut, point: int) -> None:
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
    heard = silence.from_time if silence is not None else fold.observed
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
    since, until = to_text(heard if began is None else began.run.observed), to_text(following.run.observed)
    resumed = following.run.kind is Kind.K8S_WATCH and not _cause(following)
    match following.run.kind:
        case Kind.K8S_WATCH | Kind.K8S_EVENT | Kind.PROGRESS if resumed or silence is not None:
            late = f"nobody watched from {since} to {until}"
            if not cut.time:
                fold.notes.append(f"{late}: what happened meanwhile counts as of when it was received")
                return
            events = await _backlog(reader, tail, fold, following)
            _count_late(fold, events, heard, point, late)
        case Kind.K8S_EVENT if cut.time:
            # The connection may have hung for long, and nobody noticed.
            events = [each for each in await _backlog(reader, tail, fold, following) if each.late.own.until]
            hung = [each for each in events if each.late.observed - each.late.own.until > _HUNG and each.late.own.until <= point]
            if hung:
                _count_late(fold, hung, heard, point, f"nothing arrived from {since} to {until}")
        case Kind.K8S_WATCH:
            changes = await _changes(reader, tail, fold, following, verifying)
            if changes:
                fold.gaps.append(f"what happened between {since} and {until} is not known, and the point lies between: {changes}")
        case Kind.GAP | Kind.K8S_ABSENT:
            fold.gaps.append(f"what happened between {since} and {until} is not known, and the point lies between")
        case _:
            pass


class _LateEvent(msgspec.Struct, frozen=True):
    """One event that came after the point, and the run that brought it."""

    entry: int
    late: Late
    placed: Placed


def _count_late(fold: FoldedStream, events: list[_LateEvent], heard: int, point: int, why: str) -> None:
    """Take into ``fold`` what happened before the point by what it says of itself, and say of what that cannot be told."""
    if not events:
        fold.notes.append(f"{why}; nothing came late")
        return
    division = divide([each.late for each in events], heard, point)
    fold.notes.append(f"{why}: {len(events)} changes came late; they count as of when they happened, by what the objects say of themselves")
    if division.before:
        last = events[division.before - 1].entry
        for placed in {each.placed.first: each.placed for each in events[: division.before]}.values():
            part = part_of(placed, Cut(seq=last))
            assert part is not None
            fold.state.apply(part)
        fold.entry = last
    doubtful = events[division.before : division.before + division.doubtful]
    if doubtful:
        names = ", ".join(dict.fromkeys(each.late.label for each in doubtful[:3]))
        more = f" and {len(doubtful) - 3} more" if len(doubtful) > 3 else ""
        fold.gaps.append(
            f"{why}, and it cannot be told whether {len(doubtful)} changes ({names}{more}) came before the point: they came between "
            f"{to_text(division.since)} and {to_text(division.until)}"
        )


async def _backlog(reader: Reader, tail: SegmentHeader, fold: FoldedStream, following: Placed) -> list[_LateEvent]:
    """The events that came at once after ``following``, with it or from it on: what had waited for somebody to watch."""
    found: list[_LateEvent] = []
    before: dict[str, dict[str, Any]] = {}
    known = {seen.uid: seen.body for seen in fold.state.objects.values()}
    newest = following.run.observed
    needed = set[Key]()
    async with aclosing(reader.read(following.segment, last=tail.number)) as runs:
        async for placed in runs:
            run = placed.run
            if run.source != fold.name or placed.first < following.first:
                continue
            if run.observed - newest > _BACKLOG or (run.kind is not Kind.K8S_EVENT and placed.first != following.first):
                break
            newest = run.observed
            for entry, body in enumerate(run.bodies() if run.kind is Kind.K8S_EVENT else (), placed.first):
                event = kj.event.decode(body)
                metadata = _metadata(kj.object_of(body))
                uid = event.object.metadata.uid
                key = (event.object.metadata.namespace, event.object.metadata.name)
                if fold.only is not None and key not in fold.only and uid not in before:
                    needed.add(key)
                earlier = before.get(uid) or (_metadata(known[uid]) if uid in known else None)
                before[uid] = metadata
                meta = event.object.metadata
                label = f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
                found.append(_LateEvent(entry, Late(label, change_time(event.type, metadata, earlier), run.observed), placed))
    if needed:
        raise OthersNeeded(needed)
    return found


def _metadata(body: bytes) -> dict[str, Any]:
    try:
        found = kj.plain(body).get("metadata")
    except Unreadable:
        return {}
    return found if isinstance(found, dict) else {}


def _cause(placed: Placed) -> str:
    """Of a list that began here; empty for a watch that went on from its position."""
    watch = read_record(next(placed.run.bodies()), Watch, placed)
    return "" if watch.resource_version else watch.cause


def _unwatched(placed: Placed) -> Gap | None:
    """What says that nothing is heard of a stream, if that is what ``placed`` is."""
    if placed.run.kind is not Kind.GAP:
        return None
    gaps = [read_record(body, Gap, placed) for body in placed.run.bodies()]
    return next((gap for gap in gaps if gap.reason == UNWATCHED), None)


def _verifies(placed: Placed) -> bool:
    return placed.run.kind is Kind.K8S_WATCH and _cause(placed) == "verify"


async def _next(reader: Reader, tail: SegmentHeader, fold: FoldedStream, *, verifying: bool, unwatched: bool = False) -> Placed | None:
    """The stream's first run that was received after what was folded; ``None`` at the journal's end. ``verifying``: and is not of a
    verifying list. ``unwatched``: and does not only say that nothing is heard.
    """
    if tail.sources[fold.name].observed <= fold.observed:
        return None

    def later(header: SegmentHeader) -> bool:
        mark = header.sources.get(fold.name)
        return mark is not None and mark.observed > fold.observed

    async with aclosing(reader.read(await reader.bisect(later), last=tail.number)) as runs:
        async for placed in runs:
            run = placed.run
            if run.source != fold.name or run.observed <= fold.observed:
                continue
            if unwatched and _unwatched(placed) is not None:
                continue
            if not verifying or not (run.kind in (Kind.K8S_ITEM, Kind.CHECKPOINT) or _verifies(placed)):
                return placed
    return None


async def _changes(reader: Reader, tail: SegmentHeader, fold: FoldedStream, began: Placed, verifying: Placed | None = None) -> str:
    """What the list that ``began``, or the next one, found otherwise than it was known; empty when nothing: then nothing happened.
    ``verifying``: where verifying lists before it began.
    """
    if fold.only is not None:
        raise OthersNeeded
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
