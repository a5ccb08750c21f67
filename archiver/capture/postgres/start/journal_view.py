"""What a start needs to know of the journal: how far it reaches, by which slot, and its newest schema."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from archiver.capture.postgres.start.decision import JournalView
from archiver.journal.entry import Kind, SourceMark
from archiver.journal.reader import Reader
from archiver.journal.record_reader import read_record
from archiver.journal.records import Gap
from archiver.journal.segment import SegmentHeader
from archiver.postgres.announcements import END_TRIGGER
from archiver.postgres.lsn import parse_position
from archiver.postgres.records import SCHEMA_UNCERTAIN, Look, Schema, Slot, Stream
from archiver.postgres.replication_messages import BEGIN, COMMIT, STREAM_COMMIT, XLOG_HEADER, SentCommit, sent_begin, sent_commit
from archiver.postgres.schema_bodies import read_schema
from archiver.postgres.unseen_changes import UnseenChanges

NEAR = 8
"""Newest segments in which the newest commit is looked for first: it stands in the last one, unless the source is idle."""

SCHEMA_GAP_REACH = 1000
"""Newest segments in which an open gap of the schema is looked for: a source that is alive says it again at each start."""


async def newest_schema(reader: Reader, source: str, mark: SourceMark) -> Schema | None:
    """The newest PG_SCHEMA entry of ``source``; None when there is none. Reads one segment. Raises ``Corrupt``, ``Unavailable``."""
    found = await newest_dump(reader, source, mark)
    return found[0] if found is not None else None


async def newest_dump(reader: Reader, source: str, mark: SourceMark) -> tuple[Schema, bytes] | None:
    """Likewise, with its dump."""
    if mark.schema_segment < 0:
        return None
    found: tuple[Schema, bytes] | None = None
    async for placed in reader.read(mark.schema_segment, last=mark.schema_segment):
        if placed.run.source == source and placed.run.kind is Kind.PG_SCHEMA:
            found = read_schema(placed)
    return found


@dataclass(frozen=True)
class SchemaKnowledge:
    """How far the journal knows the schema."""

    gap: Gap | None = None
    """The one that no PG_SCHEMA entry has ended, or that begins with what was surely announced and not looked at."""
    until: str = ""
    """LSN of the newest look at the catalog that found the newest schema; empty for not known."""
    announced: bool = True
    """Whether a change after that would be announced in the stream."""


async def schema_knowledge(reader: Reader, source: str, mark: SourceMark, last: int | None) -> SchemaKnowledge:
    """Of ``source``, up to segment ``last``; ``None``: as its newest schema says, without what stands behind that.

    Looked for in the newest ``SCHEMA_GAP_REACH`` segments behind the newest schema. Raises ``Corrupt``, ``Unavailable``.
    """
    newest = await newest_dump(reader, source, mark)
    if newest is None:
        return SchemaKnowledge()
    found: Gap | None = None
    unseen = UnseenChanges()
    until, announced = newest[0].floor or newest[0].lsn, END_TRIGGER.encode() in newest[1]
    if last is None:
        return SchemaKnowledge(None, until, announced)
    async with aclosing(reader.read(max(0, mark.schema_segment, last - SCHEMA_GAP_REACH + 1), last=last)) as runs:
        async for placed in runs:
            if placed.run.source != source:
                continue
            unseen.feed(placed)
            if placed.run.kind is Kind.PG_SCHEMA:
                found = None
            elif placed.run.kind is Kind.PG_LOOK:
                until = [read_record(body, Look, placed).floor for body in placed.run.bodies()][-1] or until
            elif placed.run.kind is Kind.GAP:
                gaps = [read_record(body, Gap, placed) for body in placed.run.bodies()]
                # Of several without a schema between, the first knows best where they begin.
                found = found or next((gap for gap in gaps if gap.reason == SCHEMA_UNCERTAIN and not gap.to_position), None)
    return SchemaKnowledge(found or next((gap for _, _, gap in unseen.rest()), None), until, announced)


async def schema_system(reader: Reader, source: str, mark: SourceMark) -> tuple[str, str] | None:
    """System and database of the newest PG_SCHEMA entry; ``None``: there is none, or it cannot be told. Raises as ``newest_schema``."""
    if mark.checkpoint > mark.control:
        slot = await newest_slot(reader, source, mark)
        return (slot.system_id, slot.database) if slot is not None else None
    # A slot and a stream may have been made since, at another system: what stands before the schema counts.
    if mark.schema_segment < 0:
        return None
    found: Stream | None = None
    last: Stream | None = None
    if (before := await reader.header(mark.schema_segment - 1)) is not None and (marked := before.sources.get(source)) is not None:
        last = await _newest(reader, source, marked.stream_segment, Kind.PG_STREAM, Stream)
    async for placed in reader.read(mark.schema_segment, last=mark.schema_segment):
        if placed.run.source == source and placed.run.kind is Kind.PG_STREAM:
            *_, body = placed.run.bodies()
            last = read_record(body, Stream, placed)
        elif placed.run.source == source and placed.run.kind is Kind.PG_SCHEMA:
            found = last
    return (found.system_id, found.database) if found is not None else None


async def newest_slot(reader: Reader, source: str, mark: SourceMark) -> Slot | None:
    """What the journal says of the slot of ``source``; None where it never had one. Raises ``Corrupt``, ``Unavailable``."""
    found: Slot | None = await _newest(reader, source, mark.control_segment, Kind.PG_SLOT, Slot)
    return found


async def read_journal(reader: Reader, source: str, mark: SourceMark) -> JournalView:
    """What the durable journal says of ``source``. Reads two segments at most. Raises ``Corrupt``, ``Unavailable``."""
    slot = await newest_slot(reader, source, mark)
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
        newest=await _newest_commit(reader, source, mark) if complete else None,
    )


async def _newest_commit(reader: Reader, source: str, mark: SourceMark) -> SentCommit | None:
    """The newest commit that was journaled behind the newest PG_SLOT entry.

    It is in one of the last segments, or in the first one that has the newest commit time, behind which there are heartbeats only.
    """
    if not mark.changed:
        return None
    last = await reader.last()
    for number in range(last, max(last - NEAR, -1), -1):
        if (found := await _commit_in(reader, source, mark, number)) is not None:
            return found
    return await _commit_in(reader, source, mark, await newest_commit_segment(reader, source, mark))


async def newest_commit_segment(reader: Reader, source: str, mark: SourceMark) -> int:
    """The first segment that has the newest commit time of ``source``. One bisection, where an older program wrote the mark."""
    if mark.changed_segment >= 0 and mark.changed_segment in await reader.extent():
        return mark.changed_segment
    return await reader.bisect(lambda header: _changed(header, source) >= mark.changed)


def _changed(header: SegmentHeader, source: str) -> int:
    return header.sources.get(source, SourceMark()).changed


async def _commit_in(reader: Reader, source: str, mark: SourceMark, number: int) -> SentCommit | None:
    found, xid = None, 0
    async with aclosing(reader.read(number, last=number)) as runs:
        async for placed in runs:
            if placed.run.source != source or placed.run.kind is not Kind.PG_FRAMES or placed.first <= mark.control:
                continue
            for frame in placed.run.bodies():
                kind = frame[XLOG_HEADER]
                if kind == BEGIN:
                    _, _, xid = sent_begin(frame)
                elif kind in (COMMIT, STREAM_COMMIT):
                    commit = sent_commit(frame, xid)
                    # What was sent again after a restart stands behind what it repeats.
                    found = commit if found is None or commit.end > found.end else found
    return found


async def _newest(reader: Reader, source: str, segment: int, kind: Kind, record: type[Any]) -> Any:
    found: bytes | None = None
    if segment >= 0:
        async for placed in reader.read(segment, last=segment):
            if placed.run.source == source and placed.run.kind is kind:
                *_, found = placed.run.bodies()
    return None if found is None else read_record(found, record)
