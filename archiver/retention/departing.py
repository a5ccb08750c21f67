"""What would go: every segment of it is read and checked, so that nothing is deleted that is not understood."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Corrupt, Refused
from archiver.journal.entry import Kind
from archiver.journal.extent import Extent
from archiver.journal.folded_checkpoints import CHECKPOINT_LIMIT, Naming, named_parts
from archiver.journal.keys import checkpoint_entry, checkpoint_prefix
from archiver.journal.record_reader import read_record
from archiver.journal.records import Mark

if TYPE_CHECKING:
    from archiver.journal.entry import Placed
    from archiver.journal.reader import Reader
    from archiver.retention.needs import SourceNeeds

_PAGE = 1000


class Departing(msgspec.Struct):
    """What goes."""

    segments: int = 0
    bytes: int = 0
    marks: dict[str, int] = {}
    parts: set[str] = set()
    """Keys of parts that only what goes names."""
    checkpoints: list[str] = []


async def departing(reader: Reader, left: Extent, needs: list[SourceNeeds]) -> Departing:
    """``left``: the segments that would stay. Reads all that would go. ``Corrupt``, ``Refused``: something of it is not understood."""
    found, staying = Departing(), set[str]().union(*(each.parts for each in needs))
    for run, last in await _runs(reader, max([left.first, *(each.segment for each in needs)])):
        async with aclosing(reader.walk(run, last=last)) as steps:
            async for segment, valid in steps:
                goes = segment.header.number not in left
                if goes:
                    found.segments += 1
                    found.bytes += segment.size
                if valid:
                    for placed in segment.placed():
                        (found.parts if goes else staying).update(_parts(placed))
                        if goes and placed.run.kind is Kind.MARK:
                            for entry, body in enumerate(placed.run.bodies(), placed.first):
                                found.marks[read_record(body, Mark, placed).name] = entry
    for each in needs:
        await _checkpoints(reader, each, found)
    found.parts -= staying
    for key in found.parts:
        found.bytes += await reader.store.size(key) or 0
    return found


async def _runs(reader: Reader, last: int) -> list[tuple[int, int]]:
    """Every run of segments up to ``last``."""
    extent = await reader.extent()
    return [*extent.kept, (extent.first, min(last, await reader.last()))]


def _parts(placed: Placed) -> set[str]:
    if placed.run.kind not in (Kind.CHECKPOINT, Kind.PG_TABLES):
        return set()
    named = [read_record(body, Naming, placed) for body in placed.run.bodies()]
    return {part.key for naming in named for table in naming.tables for part in table.parts}


async def _checkpoints(reader: Reader, needs: SourceNeeds, found: Departing) -> None:
    """Folded checkpoints that are older than those that stay, and their parts."""
    archive, prefix, after = (await reader.identity()).id, checkpoint_prefix(needs.source), ""
    while keys := await reader.store.list(prefix, after=after, limit=_PAGE):
        for key in keys:
            entry = checkpoint_entry(needs.source, key)
            if entry is None:
                raise Refused(f"{key} stands among the checkpoints and is none", hint="find out what it is, and move it away")
            if entry < needs.checkpoints:
                body = await reader.store.get(key, 0, CHECKPOINT_LIMIT + 1) or b""
                try:
                    parts = named_parts(body, archive, key)
                except Corrupt as error:
                    raise Refused(f"checkpoint {key} cannot be read: {error.message}", hint="look at it, and delete it yourself") from None
                found.checkpoints.append(key)
                found.parts.update(part.key for part in parts)
                found.bytes += len(body)
        after = keys[-1]
