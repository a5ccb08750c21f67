"""All streams of one Kubernetes source, folded up to one point."""

from __future__ import annotations

from contextlib import aclosing

import msgspec

from archiver.errors import HistoryLost, Invalid
from archiver.journal.entry import Kind, Placed, Run
from archiver.journal.kubernetes_records import Listing
from archiver.journal.kubernetes_state import StreamState
from archiver.journal.reader import Reader
from archiver.journal.records import Gap
from archiver.journal.segment import SegmentHeader


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
    gap: Gap | None = None
    """History that is missing since the newest complete list."""


async def read_streams(reader: Reader, source: str, cut: Cut) -> list[Folded]:
    """Every stream of ``source`` at ``cut``, by name; streams that began later are left out.

    Reads each stream from its newest complete list before the cut. Raises ``Invalid`` when the archive has no such source, ``HistoryLost``
    when none of its streams had a complete list by then.
    """
    tail = await reader.tail()
    names = [name for name in tail.sources if name.startswith(f"{source}/")] if tail else []
    if tail is None or not names:
        raise Invalid(f"the archive has no Kubernetes source {source!r}", hint="`archiver status` lists its sources")
    folds = {name: Folded(name, StreamState()) for name in names}
    first, last = tail.slot, 0
    for name in names:
        begin, end = await _range(reader, tail, name, cut)
        first, last = min(first, begin), max(last, end)
    closed: set[str] = set()
    async with aclosing(reader.read(first, to_slot=last)) as runs:
        async for placed in runs:
            fold = folds.get(placed.run.source)
            if fold is None or fold.name in closed:
                continue
            kept = _until(placed, cut)
            if kept is not None:
                _apply(fold, kept)
            if kept is not placed:
                closed.add(fold.name)
    found = [fold for fold in folds.values() if fold.state.listing is not None]
    if not found:
        raise HistoryLost(
            f"source {source} had no complete list by then", hint="choose a later point; `archiver status` shows when its baseline stood"
        )
    return sorted(found, key=lambda fold: fold.name)


async def _range(reader: Reader, tail: SegmentHeader, name: str, cut: Cut) -> tuple[int, int]:
    """First and last slot that matter for one stream."""

    def beyond(header: SegmentHeader) -> bool:
        mark = header.sources.get(name)
        if cut.seq:
            return header.first + header.count > cut.seq
        return bool(cut.time) and mark is not None and mark.observed > cut.time

    end = min(await reader.bisect(beyond), tail.slot)
    before = await reader.valid_before(end)
    mark = before.sources.get(name) if before else None
    if mark is None or mark.checkpoint_slot < 0:
        return min(end, await reader.bisect(lambda header: name in header.sources)), end
    segment = await reader.segment(mark.checkpoint_slot)
    begin = mark.checkpoint_slot
    for placed in segment.placed() if segment else ():
        if placed.run.source == name and placed.run.kind is Kind.CHECKPOINT:
            listing = msgspec.json.decode(placed.run.data, type=Listing)
            begin = min(begin, await reader.find_seq(listing.first))
    return begin, end


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
    return Placed(placed.first, placed.slot, placed.epoch, placed.time, part)


def _apply(fold: Folded, placed: Placed) -> None:
    if fold.state.listing is None and fold.state.pending is None and placed.run.kind in (Kind.K8S_ITEM, Kind.CHECKPOINT):
        # The reading began in the middle of a list that an older one precedes: not this stream's first complete list.
        return
    fold.state.apply(placed)
    fold.entry = placed.first + placed.run.count - 1
    fold.observed = max(fold.observed, placed.run.observed)
    if placed.run.kind is Kind.GAP:
        fold.gap = msgspec.json.decode(placed.run.data, type=Gap)
    elif placed.run.kind is Kind.CHECKPOINT:
        fold.gap = None
