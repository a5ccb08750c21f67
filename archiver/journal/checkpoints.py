"""Finding the newest CHECKPOINT entry of a source through the marks in headers. Folded checkpoints stand beside the journal, not here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.journal.entry import Kind, Placed
from archiver.journal.segment import CorruptSegment

if TYPE_CHECKING:
    from archiver.journal.entry import SourceMark
    from archiver.journal.reader import Reader


async def newest_checkpoint(reader: Reader, source: str, seq: int) -> Placed | None:
    """The newest CHECKPOINT run of ``source`` whose last entry has number ``seq`` or less; ``None`` when there is none.

    One bisection and two segments at most. A ``seq`` behind the journal's end means the end. Errors as of ``Reader``.
    """
    number = await reader.find_seq(seq)
    header = await reader.header(number)
    if header is not None:
        mark = header.sources.get(source)
        if mark is not None and mark.checkpoint_segment == number and mark.checkpoint > seq:
            # The newest one in this very segment is too new: an older one may stand before it, here or in earlier segments.
            found = await _in_segment(reader, number, source, seq)
            if found is not None:
                return found
            header = await reader.valid_before(number)
    else:
        header = await reader.valid_before(number)
    mark = header.sources.get(source) if header else None
    if mark is None or mark.checkpoint_segment < 0:
        return None
    return await named_checkpoint(reader, source, mark)


async def named_checkpoint(reader: Reader, source: str, mark: SourceMark) -> Placed:
    """The CHECKPOINT run that ``mark`` names, which must name one. Reads one segment; ``Corrupt`` when it is not there."""
    found = await _in_segment(reader, mark.checkpoint_segment, source, mark.checkpoint)
    if found is None:
        raise CorruptSegment(
            mark.checkpoint_segment, f"it does not hold the checkpoint of {source!r}, entry {mark.checkpoint}, that later headers name"
        )
    return found


async def _in_segment(reader: Reader, number: int, source: str, seq: int) -> Placed | None:
    segment = await reader.segment(number)
    if segment is None:
        raise CorruptSegment(number, "it is missing")
    newest: Placed | None = None
    for placed in segment.placed():
        run = placed.run
        if run.source == source and run.kind is Kind.CHECKPOINT and placed.first + run.count - 1 <= seq:
            newest = placed
    return newest
