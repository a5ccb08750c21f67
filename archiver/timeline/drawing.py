"""What is drawn of a span: lanes with bars, and for each source what can be restored, what is missing and when it was drilled."""

from __future__ import annotations

import asyncio

import msgspec

from archiver.lake.counts import Cells, Counts, Lane, bars, step_for
from archiver.timeline.counting import Counted, Uncounted
from archiver.timeline.questions import SpanQuestion
from archiver.timeline.sight import Sight
from archiver.timeline.windows import FoundWindows

MOST_LANES = 24
"""Those with the most changes in the span; what others have is summed by source."""
MOST_GAPS = 500
"""Of a source, the newest ones."""
_AT_ONCE = 500
"""Lanes whose rights are looked up."""
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
    left_out: bool = False
    """There is more, and whoever asks may not see it."""


async def seen(counted: Counted, found: FoundWindows, sight: Sight) -> tuple[Counted, FoundWindows]:
    """What whoever asks may see of it."""
    counts = Counts()
    counts.coarsen(counted.counts.resolution)
    lanes = list(counted.counts.lanes)
    for at in range(0, len(lanes), _AT_ONCE):
        some = lanes[at : at + _AT_ONCE]
        may = await asyncio.gather(*(_may(sight, lane, counted.clusters) for lane in some))
        counts.lanes |= {lane: counted.counts.lanes[lane] for lane, yes in zip(some, may, strict=True) if yes}
    # Whether something is left out does not depend on what was counted or found by now.
    streams = {name for name in {*counted.streams, *(each.source for each in found.sources)} if await sight.part_of(name)}
    sources = [each for each in found.sources if each.source in streams]
    visible = {name.partition("/")[0] for name in streams}
    clusters = [each for each in counted.clusters if each in visible]
    if not sight.limited:
        return counted, found
    uncounted = [each for each in counted.uncounted if each.source in visible]
    problems = [each for each in counted.problems if await sight.whole(each.partition(": ")[0])]
    damage = "see what archiver verify says" if found.damage else ""
    problem = "something could not be read" if found.problem else ""
    return (
        msgspec.structs.replace(counted, counts=counts, uncounted=uncounted, problems=problems, clusters=clusters),
        msgspec.structs.replace(found, sources=sources, damage=damage, problem=problem),
    )


async def _may(sight: Sight, lane: Lane, clusters: list[str]) -> bool:
    return await sight.one(lane.source, lane.name if lane.source in clusters else "", lane.namespace)


def drawing(asked: SpanQuestion, counted: Counted, found: FoundWindows, archive: str, *, left_out: bool = False) -> Drawing:
    """Of the span that is asked for, widened to whole steps."""
    counts = counted.counts
    first, last = _extent(counted)
    since = asked.since // 1_000_000 if asked.since else first
    until = -(-asked.until // 1_000_000) if asked.until else last
    until = max(until, since + SHORTEST)
    step = step_for(until - since, asked.bars, counts.resolution)
    since = since // step * step
    until = since + -(-(until - since) // step) * step
    parts: dict[tuple[str, str], list[Cells]] = {}
    for lane, cells in counts.lanes.items():
        # A kind in all its namespaces is one line.
        parts.setdefault((lane.source, lane.name), []).append(cells.part(since, until))
    totals = {line: sum(int(each.changes.sum()) for each in several) for line, several in parts.items()}
    ordered = sorted(totals, key=lambda line: (-totals[line], line))
    lanes = [_drawn(*line, 0, parts[line], since, until, step) for line in sorted(ordered[:MOST_LANES])]
    rest: dict[str, list[list[Cells]]] = {}
    for line in ordered[MOST_LANES:]:
        if totals[line]:
            rest.setdefault(line[0], []).append(parts[line])
    for source, each in rest.items():
        lanes.append(_drawn(source, "", len(each), [cells for several in each for cells in several], since, until, step))
    shown = [msgspec.structs.replace(each, gaps=each.gaps[-MOST_GAPS:]) for each in found.sources]
    older = {each.source: len(each.gaps) - MOST_GAPS for each in found.sources if len(each.gaps) > MOST_GAPS}
    return Drawing(
        archive, counted.begin, counted.end, since * 1_000_000, until * 1_000_000, step * 1_000_000, counts.resolution,
        sum(totals.values()), sorted(lanes, key=lambda lane: lane.source), counted.uncounted,
        counted.problems, counted.busy, msgspec.structs.replace(found, sources=shown), counted.clusters,
        older, left_out,
    )  # fmt: skip


def _drawn(source: str, name: str, others: int, several: list[Cells], since: int, until: int, step: int) -> DrawnLane:
    found = bars(several, since, until, step)
    return DrawnLane(source, name, others, sum(bar[1] for bar in found), sum(bar[2] for bar in found), found)


def _extent(counted: Counted) -> tuple[int, int]:
    """Seconds from the first to behind the last that is known."""
    lanes = [each.seconds for each in counted.counts.lanes.values() if len(each.seconds)]
    first = min([counted.begin // 1_000_000, *(int(each[0]) for each in lanes)])
    last = max([counted.end // 1_000_000 + 1, *(int(each[-1]) + 1 for each in lanes)])
    return first, last
