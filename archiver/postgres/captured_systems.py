"""Which databases an archive is made from: a restore never writes into one of them, and no drill runs on their servers."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.journal.entry import Kind
from archiver.journal.record_reader import read_record
from archiver.journal.segment import CorruptSegment
from archiver.postgres.records import Slot

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.journal.segment import SegmentHeader

_log = structlog.get_logger()


class CapturedDatabase(msgspec.Struct, frozen=True, order=True):
    """One database that is or was captured. A system is what ``initdb`` made; physical copies of it have the same identifier."""

    system_id: str
    database: str
    slot: str = ""
    """The replication slot by which it is captured, which goes with the database when that is renamed; empty: not known."""


async def named_databases(reader: Reader) -> list[CapturedDatabase]:
    """Every database that the journal ever named, of any source, also of those that are configured no more.

    A source names its database before it makes a slot, and makes one whenever it moves to another system. So the PG_SLOT entries name them
    all; each is found by the mark before the last one, two reads for each. What a segment names that cannot be read is not known, and the
    log says so: nearly always another entry names the same. Raises ``Unavailable``.
    """
    tail = await reader.tail()
    found: set[CapturedDatabase] = set()
    for source in tail.sources if tail is not None else ():
        # Streams of objects have a resource in their names.
        if "/" in source:
            continue
        header = tail
        while header is not None and (at := header.sources[source].control_segment if source in header.sources else -1) >= 0:
            try:
                async for placed in reader.read(at, last=at):
                    if placed.run.source == source and placed.run.kind is Kind.PG_SLOT:
                        slots = [read_record(body, Slot, placed) for body in placed.run.bodies()]
                        found |= {CapturedDatabase(slot.system_id, slot.database, slot.name) for slot in slots}
            except CorruptSegment as error:
                _log.warning("captured_database_not_known", source=source, segment=error.number, reason=error.reason)
            header = await _readable_before(reader, at)
    return sorted(found)


async def newest_system(reader: Reader, source: str) -> str:
    """Identifier of the system that ``source`` was captured from last; empty for not known. Raises ``Unavailable``."""
    tail = await reader.tail()
    mark = tail.sources.get(source) if tail is not None else None
    if mark is None or mark.control_segment < 0:
        return ""
    newest = ""
    try:
        async for placed in reader.read(mark.control_segment, last=mark.control_segment):
            if placed.run.source == source and placed.run.kind is Kind.PG_SLOT:
                *_, newest = [read_record(body, Slot, placed).system_id for body in placed.run.bodies()]
    except CorruptSegment as error:
        _log.warning("captured_system_not_known", source=source, segment=error.number, reason=error.reason)
        return ""
    return newest


async def _readable_before(reader: Reader, number: int) -> SegmentHeader | None:
    for before in range(number, -1, -1):
        try:
            return await reader.valid_before(before)
        except CorruptSegment:
            continue
    return None


def is_captured(system_id: str, database: str, slots: Collection[str], captured: Collection[CapturedDatabase]) -> bool:
    """Whether a database is one of ``captured``. ``slots``: the replication slots that it has; they tell when it was renamed."""
    return any(each.system_id == system_id and (each.database == database or each.slot in slots) for each in captured)
