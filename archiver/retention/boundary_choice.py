"""What is needed -> the first segment of a new boundary, and which ones before it stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from archiver.errors import Refused
from archiver.journal.boundary import Kept
from archiver.journal.chain import VOID_REACH, End
from archiver.journal.extent import Span, merged
from archiver.retention.needs import Need, lowered

if TYPE_CHECKING:
    from archiver.journal.entry import SourceMark
    from archiver.journal.reader import Reader


class Choice(NamedTuple):
    """Where the archive would begin."""

    first: int
    why: str
    """What holds it; empty: the window alone."""
    end: End
    """The state before it."""
    kept: list[Kept]


async def choose(reader: Reader, needs: list[Need], most: int) -> Choice:
    """The furthest boundary, at most ``most``, that leaves all of ``needs``, and all that marks in headers name. ``Refused`` when something
    that is needed is not there.
    """
    first, why = most, ""
    extent = await reader.extent()
    while True:
        lower, reason = lowered(first, needs)
        if lower < first:
            # Whoever begins at what is needed can look at the few before it.
            first, why = lower - VOID_REACH - 1, reason
        first = await _valid(reader, max(first, 0))
        if first <= extent.first:
            # Nothing more can go; what was kept so far stays.
            before = await reader.boundary()
            return Choice(extent.first, why, await reader.before(extent.first), before.kept if before is not None else [])
        named = await _named(reader, first)
        lower, reason = lowered(first, [*needs, *named])
        if lower == first:
            break
        first, why = lower, reason
    kept = merged(need.span for need in (*needs, *named) if need.span.last < first)
    # And where their marks stand.
    kept = merged([*kept, *[Span(base, base) for base in [await reader.marks_of(span.first) for span in kept]]])
    return Choice(first, why, await reader.before(first), [await _kept(reader, span) for span in kept])


async def _valid(reader: Reader, number: int) -> int:
    """The last valid segment up to ``number`` that has all marks, so that none behind it needs one before; or the first one there is."""
    header = await reader.valid_before(number + 1)
    first = (await reader.extent()).first
    return max(await reader.marks_of(header.number), first) if header is not None and header.number > first else first


async def _named(reader: Reader, first: int) -> list[Need]:
    """Segments before ``first`` that the marks of the headers from there on name: capture and plans read them by their numbers."""
    header = await reader.valid_before(first)
    if header is None:
        return []
    numbers = {header.session: "the fence of the session"}
    for source, mark in header.sources.items():
        for number in (mark.checkpoint_segment, mark.control_segment, mark.stream_segment, mark.schema_segment):
            numbers[number] = f"the newest checkpoint, slot, stream or schema of {source}"
        if "/" not in source:
            for number in await _slots(reader, source, mark):
                numbers[number] = f"the databases that {source} was captured from"
    return [Need(Span(number, number), why) for number, why in numbers.items() if 0 <= number < first]


async def _slots(reader: Reader, source: str, mark: SourceMark) -> list[int]:
    """All segments with slots of a database: they name what no restore may write to."""
    found: list[int] = []
    while mark.control_segment >= 0:
        found.append(mark.control_segment)
        header = await reader.valid_before(mark.control_segment)
        if header is None or source not in header.sources:
            break
        mark = header.sources[source]
    return found


async def _kept(reader: Reader, span: Span) -> Kept:
    extent = await reader.extent()
    run = extent.end_of_run(span.first) if span.first in extent else -1
    if run is not None and run < span.last:
        raise Refused(
            f"segments {span.first} to {span.last} are needed, and were retired in part",
            hint="nothing is deleted; report it with the output of `archiver retain --dry-run --json`",
        )
    end = await reader.before(span.last + 1) if span.last + 1 in extent else await _end_of(reader, span.last)
    if end.segment < span.first:
        raise Refused(f"segment {span.first} is needed, and is void", hint="nothing is deleted; run `archiver verify`")
    return Kept(span.first, end.segment, end.chain.hex())


async def _end_of(reader: Reader, number: int) -> End:
    segment = await reader.segment(number)
    assert segment is not None
    return End.after(segment.header, segment.footer)
