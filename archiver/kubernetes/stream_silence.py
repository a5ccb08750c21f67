"""Whether the journal ends, for one stream, with saying that it ended, or that nothing is heard of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.journal.entry import Kind
from archiver.journal.record_reader import read_record
from archiver.journal.records import Gap
from archiver.journal.spans import last_segment_of
from archiver.kubernetes.stream_state import RESOURCE_GONE, UNWATCHED

if TYPE_CHECKING:
    from archiver.journal.entry import SourceMark
    from archiver.journal.reader import Reader


def has_ended(mark: SourceMark) -> bool:
    """Whether the newest entry of the stream whose newest mark is ``mark`` says that its resource is no longer served. False as well where
    an older program wrote the mark, which does not tell.
    """
    return mark.gap == RESOURCE_GONE


async def open_silence(reader: Reader, stream: str, mark: SourceMark) -> Gap | None:
    """The gap that is the last entry of ``stream``, whose newest mark is ``mark``, if it says that nothing is heard. Reads one segment, and
    that only where the mark does not tell that there is none; a bisection more where an older program wrote it. Errors as of ``Reader``.
    """
    if mark.newest_segment >= 0 and mark.gap != UNWATCHED:
        return None
    segment = await reader.segment(await last_segment_of(reader, stream, mark))
    found = None
    for placed in segment.placed() if segment is not None else ():
        if placed.run.source == stream:
            found = placed.run
    if found is None or found.kind is not Kind.GAP:
        return None
    gaps = [read_record(body, Gap) for body in found.bodies()]
    return gaps[-1] if gaps[-1].reason == UNWATCHED else None
