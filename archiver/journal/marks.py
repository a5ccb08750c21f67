"""Marks: names for places in the journal."""

from __future__ import annotations

from contextlib import aclosing

import msgspec

from archiver.errors import Invalid
from archiver.journal.boundary import Retired
from archiver.journal.entry import Kind, Run
from archiver.journal.reader import Reader
from archiver.journal.record_reader import read_record
from archiver.journal.records import Mark
from archiver.journal.segment import CorruptSegment

LONGEST = 200
"""Characters of a name."""
_BLOCK = 32
"""Segments that are read at once, going backwards."""


def check_name(name: str) -> str:
    """``name``, when it can be one. ``Invalid``: empty, too long, with control characters, or with white space around it."""
    if not name or len(name) > LONGEST or not name.isprintable() or name != name.strip():
        raise Invalid(
            "this cannot be the name of a mark",
            hint=f"a name has 1 to {LONGEST} printable characters and neither begins nor ends with a space",
        )
    return name


def mark_run(name: str, now: int) -> Run:
    """The run that sets a mark."""
    return Run.of("", Kind.MARK, [msgspec.json.encode(Mark(name, now))], observed=now)


async def find_mark(reader: Reader, last: int, name: str) -> int:
    """Entry number of the newest mark of that name in segments up to ``last``; 0 when there is none.

    Looked for backwards, so an old one costs reading everything behind it, and one that does not exist the whole journal. ``Corrupt`` when
    a segment that cannot be read stands behind the newest one that is found; ``Retired`` when its segment was.
    """
    extent = await reader.extent()
    end = extent.before(last + 1)
    while end >= 0:
        begin = max(extent.start_of_run(end), end - _BLOCK + 1)
        bad: CorruptSegment | None = None
        while begin <= end:
            try:
                found = await _in_block(reader, begin, end, name)
                break
            except CorruptSegment as error:
                if error.number < begin:
                    raise
                bad, begin = error, error.number + 1
        else:
            found = 0
        if found:
            return found
        if bad is not None:
            raise bad
        end = extent.before(begin)
    boundary = await reader.boundary()
    if boundary is not None and name in boundary.marks:
        raise Retired(f"mark {name!r}", boundary)
    return 0


async def _in_block(reader: Reader, begin: int, end: int, name: str) -> int:
    found = 0
    async with aclosing(reader.read(begin, last=end)) as runs:
        async for placed in runs:
            if placed.run.kind is Kind.MARK:
                for entry, body in enumerate(placed.run.bodies(), placed.first):
                    if read_record(body, Mark, placed).name == name:
                        found = entry
    return found
