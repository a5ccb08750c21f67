"""Reading the entries of some sources without the segments in which none of them stands."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from archiver.journal.entry import Placed, SourceMark
    from archiver.journal.reader import Reader


class Span(NamedTuple):
    """Segments from ``first`` to ``last``, both included."""

    first: int
    last: int


async def last_segment_of(reader: Reader, source: str, mark: SourceMark) -> int:
    """The segment with the newest entry of ``source``, whose newest mark is ``mark``.

    The mark says it, unless an older program wrote it. Then one bisection, which does not see entries that move no mark: those without a
    position that came when the clock stood behind what the mark has.
    """
    if mark.newest_segment >= 0:
        return mark.newest_segment
    return await reader.bisect(lambda header: header.sources.get(source) == mark, near=True)


async def first_segment_of(reader: Reader, source: str) -> int:
    """The segment with the oldest entry of ``source``. One bisection."""
    return await reader.bisect(lambda header: source in header.sources)


async def read_spans(reader: Reader, spans: Iterable[Span]) -> AsyncGenerator[Placed]:
    """The runs of the segments that lie in one of ``spans`` at least, in the journal's order. Errors as of ``Reader.read``."""
    for span in merged(spans):
        async with aclosing(reader.read(span.first, last=span.last)) as runs:
            async for placed in runs:
                yield placed


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same segments in spans that neither overlap nor touch, in order. Pure."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.first <= found[-1].last + 1:
            found[-1] = Span(found[-1].first, max(found[-1].last, span.last))
        else:
            found.append(span)
    return found
