"""What a start needs to know of the journal: how far it reaches, by which slot, and its newest schema."""

from __future__ import annotations

from typing import Any

import msgspec

from archiver.capture.postgres.start.decision import JournalView
from archiver.journal.entry import Kind, SourceMark
from archiver.journal.reader import Reader
from archiver.postgres.lsn import parse_position
from archiver.postgres.records import Schema, Slot, Stream


async def newest_schema(reader: Reader, source: str, mark: SourceMark) -> Schema | None:
    """The newest PG_SCHEMA entry of ``source``; None when there is none. Reads one segment. Raises ``Corrupt``, ``Unavailable``."""
    if mark.schema_segment < 0:
        return None
    found: Schema | None = None
    async for placed in reader.read(mark.schema_segment, last=mark.schema_segment):
        if placed.run.source == source and placed.run.kind is Kind.PG_SCHEMA:
            found = msgspec.json.decode(next(placed.run.bodies()), type=Schema)
    return found


async def read_journal(reader: Reader, source: str, mark: SourceMark) -> JournalView:
    """What the durable journal says of ``source``. Reads two segments at most. Raises ``Corrupt``, ``Unavailable``."""
    slot = await _newest(reader, source, mark.control_segment, Kind.PG_SLOT, Slot)
    if slot is None:
        return JournalView()
    stream = await _newest(reader, source, mark.stream_segment, Kind.PG_STREAM, Stream)
    complete = mark.checkpoint > mark.control
    # A slot that is being created after a stream is of a newer system than the stream; otherwise the stream's timeline is newer.
    newest = stream if stream is not None and complete else slot
    return JournalView(
        position=parse_position(mark.position),
        slot=slot.action,
        complete=complete,
        system_id=newest.system_id,
        timeline=newest.timeline,
        database=newest.database,
    )


async def _newest(reader: Reader, source: str, segment: int, kind: Kind, record: type[Any]) -> Any:
    found: bytes | None = None
    if segment >= 0:
        async for placed in reader.read(segment, last=segment):
            if placed.run.source == source and placed.run.kind is kind:
                *_, found = placed.run.bodies()
    return None if found is None else msgspec.json.decode(found, type=record)
