"""Reading the entries of some sources without the segments in which none of them stands."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING

from archiver.journal.boundary import Retired
from archiver.journal.extent import Span, merged

__all__ = ["Span", "first_segment_of", "last_segment_of", "merged", "read_spans"]

if TYPE_CHECKING:
    from archiver.journal.entry import Placed, SourceMark
    from archiver.journal.reader import Reader


async def last_segment_of(reader: Reader, source: str, mark: SourceMark) -> int:
    """The segment with the newest entry of ``source``, whose newest mark is ``mark``.

    The mark says it, unless an older program wrote it. Then one bisection, which does not see entries that move no mark: those without a
    position that came when the clock stood behind what the mark has.
    """
    if mark.newest_segment >= 0:
        return mark.newest_segment
    return await reader.bisect(lambda header: header.sources.get(source) == mark, near=True)


async def first_segment_of(reader: Reader, source: str) -> int:
    """The segment with the oldest entry of ``source``. One bisection. ``Retired`` when it was."""
    boundary = await reader.boundary()
    if boundary is not None and source in boundary.begins:
        number = boundary.begins[source]
        if number not in boundary.extent:
            raise Retired(f"the beginning of {source}", boundary)
        return number
    return await reader.bisect(lambda header: source in header.sources)


async def read_spans(reader: Reader, spans: Iterable[Span]) -> AsyncGenerator[Placed]:
    """The runs of the segments that lie in one of ``spans`` at least, in the journal's order. Errors as of ``Reader.read``."""
    for span in merged(spans):
        async with aclosing(reader.read(span.first, last=span.last)) as runs:
            async for placed in runs:
                yield placed
