"""An archive and what is promised of it -> what may go now. Reads, and writes nothing."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from archiver import __version__
from archiver.clock import duration_text, to_text
from archiver.errors import Corrupt, Refused
from archiver.journal.boundary import Boundary, Floor
from archiver.journal.clock_doubts import first_near
from archiver.journal.entry import Kind
from archiver.journal.extent import Extent, Span
from archiver.journal.last_segment import strays_of
from archiver.journal.record_reader import read_record
from archiver.journal.records import Mark
from archiver.journal.spans import first_segment_of
from archiver.lake.history_table import read_table
from archiver.maintenance.chosen_sources import chosen_sources
from archiver.retention.boundary_choice import Choice, choose
from archiver.retention.cluster_needs import cluster_needs
from archiver.retention.database_needs import database_needs
from archiver.retention.departing import Departing, departing
from archiver.retention.needs import Need, OldestPoint
from archiver.retention.rehearsal import rehearse

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.reader import Reader
    from archiver.journal.segment import SegmentHeader
    from archiver.retention.limits import RetentionLimits

CLOCK_DOUBT = 300_000_000
"""Microseconds by which the journal's newest time may lie ahead of this machine's clock."""
LEAST_SEGMENTS = 2000
"""So many at the journal's end stay in any case: capture looks for open gaps in the last thousand."""


class Judged(msgspec.Struct, frozen=True):
    """What may go, what would be left, and why no more goes."""

    tail: SegmentHeader
    choice: Choice
    departing: Departing
    floors: dict[str, Floor]
    begins: dict[str, int]
    """By source that there was before the boundary: the segment with its oldest entry."""
    share: float
    points: dict[str, list[OldestPoint]]

    def boundary(self, number: int, plan: str, marks: dict[str, int], now: int) -> Boundary:
        """As what it would become durable."""
        end = self.choice.end
        return Boundary(
            archive=self.tail.archive,
            number=number,
            first=self.choice.first,
            chain=end.chain.hex(),
            epoch=end.epoch,
            session=end.session,
            next=end.next,
            time=end.time,
            sources=dict(end.sources),
            begins=self.begins,
            kept=self.choice.kept,
            floors=self.floors,
            marks=marks | self.departing.marks,
            plan=plan,
            made=now,
            by=__version__,
        )


async def judge(
    reader: Reader,
    clock: Clock,
    limits: RetentionLimits,
    *,
    most: int | None = None,
    kept: tuple[Span, ...] = (),
    least_segments: int = LEAST_SEGMENTS,
) -> Judged | None:
    """``None``: there is no journal. ``most`` and ``kept``: of a plan that is judged anew, up to where it goes and what it leaves.

    ``Refused``, ``Corrupt``: something is not understood, so nothing may go.
    """
    tail = await _sound_tail(reader, clock)
    if tail is None:
        return None
    chosen = chosen_sources(tail, ())
    points = {name: [await _oldest(reader, clock, tail, _window(limits, name))] for name, _ in chosen}
    shared = [Need(span, "an earlier plan leaves it") for span in kept]
    shared += await _history(reader, clock, tail, limits, [name for name, _ in chosen])
    for [oldest] in points.values():
        near = max(await first_near(reader, oldest.time), (await reader.extent()).first)
        shared.append(Need(Span(min(near, tail.number), tail.number), "steps of the clock near the oldest promised time"))
    if (mark := await _oldest_mark(reader, limits, max([oldest.entry for [oldest] in points.values()], default=0))) is not None:
        name, entry = mark
        shared.append(Need(Span(await reader.find_seq(entry), tail.number), f"mark {name!r} stays restorable"))
        for each in points.values():
            each.append(OldestPoint(0, entry))
    bound = max(0, tail.number - least_segments) if most is None else most
    needs = [await (cluster_needs if is_cluster else database_needs)(reader, tail, name, points[name]) for name, is_cluster in chosen]
    choice = await choose(reader, [*shared, *(need for each in needs for need in each.needs)], bound)
    going = await departing(reader, Extent(choice.first, [Span(each.first, each.last) for each in choice.kept]), needs)
    floors = {each.source: each.floor for each in needs if each.floor is not None}
    share = going.segments / max(1, (await reader.extent()).place(tail.number) + 1)
    return Judged(tail, choice, going, floors, await _begins(reader, choice), share, points)


async def _oldest_mark(reader: Reader, limits: RetentionLimits, last: int) -> tuple[str, int] | None:
    """The oldest mark that stays, of those up to entry ``last``: in segments that would go, that would be kept, and behind them, where what
    a restore to it begins from would go. Those before the newest boundary were not to stay when it was made.
    """
    first = (await reader.extent()).first
    if not last or not (limits.keep_marks or limits.pins):
        return None
    async with aclosing(reader.read(first, last=await reader.find_seq(last))) as runs:
        async for placed in runs:
            if placed.run.kind is Kind.MARK:
                for entry, body in enumerate(placed.run.bodies(), placed.first):
                    name = read_record(body, Mark, placed).name
                    if entry <= last and (limits.keep_marks or name in limits.pins):
                        return name, entry
    return None


async def _begins(reader: Reader, choice: Choice) -> dict[str, int]:
    before = await reader.boundary()
    known = before.begins if before is not None else {}
    return {name: known[name] if name in known else await first_segment_of(reader, name) for name in choice.end.sources}


def _window(limits: RetentionLimits, source: str) -> float:
    own = limits.sources.get(source)
    return own.restore_seconds if own is not None else limits.restore_seconds


async def rehearse_judged(reader: Reader, judged: Judged, number: int, now: int) -> None:
    """``Refused`` when any restore that is promised, or the start of capture, would not be as it is."""
    gone = frozenset({*judged.departing.checkpoints, *judged.departing.parts})
    await rehearse(reader.store, judged.tail, judged.boundary(number, "", {}, now), gone, judged.points, offload=reader.offload)


async def _sound_tail(reader: Reader, clock: Clock) -> SegmentHeader | None:
    tail = await reader.tail()
    if tail is None:
        return None
    await reader.require_end()
    if reader.hole is not None:
        raise Corrupt(f"nothing is retired from a damaged journal: {reader.hole.message}", hint="run `archiver verify`")
    if strays := await strays_of(reader.store, await reader.last()):
        raise Refused(f"{strays[0]} stands among the segments and is none", hint="find out what it is, and move it away")
    if tail.time > clock.now() + CLOCK_DOUBT:
        ahead = duration_text((tail.time - clock.now()) / 1e6)
        raise Refused(
            f"the journal's newest time, {to_text(tail.time)}, lies {ahead} ahead of this machine's clock",
            hint="set the clock right; where the archiver's own clock was ahead, wait until time has caught up",
        )
    return tail


async def _oldest(reader: Reader, clock: Clock, tail: SegmentHeader, seconds: float) -> OldestPoint:
    """What a window of that many seconds promises. It ends where the journal does: of an archive that is no longer written all stays."""
    time = min(clock.now(), tail.time) - int(seconds * 1e6)
    number = await reader.bisect(lambda header: header.time > time)
    if (await reader.extent()).starts_run(number):
        # It reaches back to what was retired, or to the very beginning.
        return OldestPoint(time, 0)
    header = await reader.valid_before(number)
    return OldestPoint(time, header.first + header.count - 1 if header is not None else 0)


async def _history(reader: Reader, clock: Clock, tail: SegmentHeader, limits: RetentionLimits, sources: list[str]) -> list[Need]:
    found = []
    for source in sources:
        state = await read_table(reader.store, source)
        if state.version >= 0:
            if state.progress is None:
                raise Refused(f"nobody knows how far the history files of {source} reach", hint=f"look at history/{source}/")
            span = Span(min(state.progress.resume_segment, tail.number), tail.number)
            found.append(Need(span, f"the history files of {source} go on from there"))
        elif limits.audit_seconds:
            oldest = min(clock.now(), tail.time) - int(limits.audit_seconds * 1e6)
            first = await reader.bisect(lambda header, oldest=oldest: header.time > oldest)  # type: ignore[misc]
            found.append(Need(Span(min(first, tail.number), tail.number), f"{source} has no history files for the audit window"))
    return found
