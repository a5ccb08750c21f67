"""What is drawn of a span: lanes with bars, and for each source what can be restored, what is missing and when it was drilled. Pure."""

from __future__ import annotations

import msgspec

from archiver.timeline.counting import Counted, Uncounted
from archiver.timeline.counts import Counts, Lane, step_for
from archiver.timeline.questions import SpanQuestion
from archiver.timeline.windows import FoundWindows

MOST_LANES = 24
"""Those with the most changes in the span; what others have is summed by source."""
MOST_GAPS = 500
"""Of a source, the newest ones."""
SHORTEST = 60
"""Seconds of a span: a minute."""


class DrawnLane(msgspec.Struct, frozen=True):
    """One line of the drawing."""

    source: str
    name: str
    """Empty: all that have no line of their own."""
    others: int
    """How many these are."""
    changes: int
    deletions: int
    bars: list[tuple[int, int, int]]
    """Number from the left, changes, deletions."""


class Drawing(msgspec.Struct, frozen=True):
    """See the module. Times are microseconds."""

    archive: str
    begin: int
    end: int
    """Of the journal."""
    since: int
    until: int
    step: int
    resolution: int
    """Seconds of the finest step that is known."""
    changes: int
    lanes: list[DrawnLane]
    uncounted: list[Uncounted]
    problems: list[str]
    busy: bool
    windows: FoundWindows
    clusters: list[str]
    gaps_left_out: dict[str, int]
    """By source, where there are more than ``MOST_GAPS``: the older ones."""


def drawing(asked: SpanQuestion, counted: Counted, found: FoundWindows, archive: str) -> Drawing:
    """Of the span that is asked for, widened to whole steps."""
    counts = counted.counts
    first, last = _extent(counted)
    since = asked.since // 1_000_000 if asked.since else first
    until = -(-asked.until // 1_000_000) if asked.until else last
    until = max(until, since + SHORTEST)
    step = step_for(until - since, asked.bars, counts.resolution)
    since = since // step * step
    until = since + -(-(until - since) // step) * step
    totals = {lane: cells.part(since, until) for lane, cells in counts.lanes.items()}
    ordered = sorted(totals, key=lambda lane: (-int(totals[lane].changes.sum()), lane))
    kept = sorted(lane for lane in ordered[:MOST_LANES])
    lanes = [_drawn(counts, lane, since, until, step, 0) for lane in kept]
    rest: dict[str, Counts] = {}
    numbers: dict[str, int] = {}
    for lane in ordered[MOST_LANES:]:
        if len(totals[lane].seconds):
            rest.setdefault(lane.source, Counts()).add(Lane(lane.source, ""), totals[lane])
            numbers[lane.source] = numbers.get(lane.source, 0) + 1
    lanes += [_drawn(each, Lane(source, ""), since, until, step, numbers[source]) for source, each in rest.items()]
    shown = [msgspec.structs.replace(each, gaps=each.gaps[-MOST_GAPS:]) for each in found.sources]
    left_out = {each.source: len(each.gaps) - MOST_GAPS for each in found.sources if len(each.gaps) > MOST_GAPS}
    return Drawing(
        archive, counted.begin, counted.end, since * 1_000_000, until * 1_000_000, step * 1_000_000, counts.resolution,
        sum(int(each.changes.sum()) for each in totals.values()), sorted(lanes, key=lambda lane: lane.source), counted.uncounted,
        counted.problems, counted.busy, msgspec.structs.replace(found, sources=shown), counted.clusters,
        left_out,
    )  # fmt: skip


def _drawn(counts: Counts, lane: Lane, since: int, until: int, step: int, others: int) -> DrawnLane:
    bars = counts.lanes[lane].bars(since, until, step)
    return DrawnLane(lane.source, lane.name, others, sum(bar[1] for bar in bars), sum(bar[2] for bar in bars), bars)


def _extent(counted: Counted) -> tuple[int, int]:
    """Seconds from the first to behind the last that is known."""
    lanes = [each.seconds for each in counted.counts.lanes.values() if len(each.seconds)]
    first = min([counted.begin // 1_000_000, *(int(each[0]) for each in lanes)])
    last = max([counted.end // 1_000_000 + 1, *(int(each[-1]) + 1 for each in lanes)])
    return first, last
