"""The newest checkpoint of a database and the journal behind it -> a newer checkpoint. The source is not asked.

    plan at an entry -> nothing unknown there, nothing unfinished? -> fold -> parts, each read back -> one object names them all

It is as right as a restore, because it is one: the same plan and the same fold. What a restore would refuse, or would not call exact,
is not folded; the next try comes later. Killed at any moment it leaves parts that nothing names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver import __version__
from archiver.errors import Refused
from archiver.journal.keys import checkpoint_key
from archiver.journal.parts import fetch_part, opened
from archiver.journal.put_once import put_once
from archiver.maintenance.folded import MOST_ENTRIES, NOTHING_NEW, Folded
from archiver.maintenance.part_writer import PartWriter
from archiver.postgres.checkpoint_records import FoldedCheckpoint, Origin, Place
from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import Snapshot, TableRows
from archiver.replay.points import Point
from archiver.replay.postgres.plan.checkpoint_choice import beginnings
from archiver.replay.postgres.plan.planner import AHEAD_SECONDS, plan_restore
from archiver.replay.postgres.write.plan_records import PlanRecords, fold_changes, gather
from archiver.replay.postgres.write.table_rows import rows_of

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.reader import Reader
    from archiver.journal.segment import SegmentHeader
    from archiver.postgres.records import Table
    from archiver.replay.postgres.fold.database import DatabaseFold, TableOutput
    from archiver.replay.postgres.plan.plan import RestorePlan

_TRIES = 8
"""Places that are looked at, further and further back, until nothing is unfinished at one."""
_LEVEL = 3
BEHIND_SECONDS = 2 * AHEAD_SECONDS
"""Journal time between a checkpoint and the journal's end: what the source told a little late is then in the journal, too."""

IDLE_SEGMENTS = 1000
"""So many segments behind the newest checkpoint, of other sources and heartbeats, and nothing of the source: its checkpoint is made anew
behind them, so that restores need not read them."""

_log = structlog.get_logger()


async def fold_database(
    reader: Reader,
    clock: Clock,
    source: str,
    *,
    until: int,
    most_entries: int = MOST_ENTRIES,
    idle_segments: int = IDLE_SEGMENTS,
) -> Folded:
    """Make one checkpoint of ``source``, at most ``most_entries`` behind the newest, and not behind segment ``until``.

    On return it is durable, or there is a reason why not. Memory is that of a restore over so many entries. Raises ``Corrupt``,
    ``Invalid`` and ``Unavailable``, as reading does.
    """
    tail = await reader.tail()
    mark = tail.sources.get(source) if tail else None
    if tail is None or mark is None or not mark.checkpoint:
        return Folded(source, reason="it has no complete baseline yet")
    why = ""
    try:
        async with aclosing(_places(reader, source, until, most_entries)) as places:
            async for point in places:
                plan = await plan_restore(reader, source, point)
                idle = plan.point.silent and plan.segments.last - plan.segments.first >= idle_segments
                if not plan.point.transactions and not idle:
                    break
                if not (found := unsuited(plan)):
                    return await _fold(reader, clock, plan)
                why = why or found
    except Refused as error:
        why = error.message
    return Folded(source, reason=why or NOTHING_NEW)


async def settled_segment(reader: Reader, tail: SegmentHeader, behind_seconds: float) -> int:
    """The last segment that is ``behind_seconds`` of journal time before ``tail``, the journal's."""
    return await reader.bisect(lambda header: header.time > tail.time - int(behind_seconds * 1e6)) - 1


async def _places(reader: Reader, source: str, settled: int, most: int) -> AsyncGenerator[Point]:
    """Points to fold up to: ``most`` entries behind the newest checkpoint, and then nearer and nearer to it."""
    header = await reader.valid_before(settled + 1)
    if header is None or header.first + header.count <= 1:
        return
    begin = 0
    async with aclosing(beginnings(reader, source, _last_of(header), header.number)) as found:
        async for beginning in found:
            begin = beginning.found.record.replay_from
            break
    last = min(settled, await reader.find_seq(begin + most))
    for back in (0, *(1 << step for step in range(_TRIES - 1))):
        header = await reader.valid_before(last - back + 1)
        if header is None or header.first + header.count <= begin:
            return
        yield _last_of(header)


def _last_of(header: SegmentHeader) -> Point:
    number = header.first + header.count - 1
    return Point(str(number), "entry", number)


def entry_of(plan: RestorePlan) -> int:
    """The last entry that a checkpoint at the point of ``plan`` has: the last commit's, or where nothing was committed, the point's own."""
    return plan.point.entry if plan.point.transactions else int(plan.point.asked)


def unsuited(plan: RestorePlan) -> str:
    """Why no checkpoint can be made at the point of ``plan``; empty when one can."""
    entry = entry_of(plan)
    if plan.gaps:
        return f"{plan.gaps[0].what} is not known there: {plan.gaps[0].reason}"
    written_later = plan.schema.ref.seq > entry and parse_lsn(plan.schema.lsn) > parse_lsn(plan.point.lsn)
    if not plan.schema.certain or written_later:
        return f"the schema is not certain there: {plan.schema.reason}"
    if plan.point.begun_before:
        return f"{plan.point.begun_before} long transactions were unfinished there"
    if any(copy.seq > entry for copy in plan.recopies):
        return "a copy of a table that belongs there was written later"
    if any(ref.seq <= entry for ref in plan.ahead):
        return "what was read at the source behind it was written before it"
    return ""


async def _fold(reader: Reader, clock: Clock, plan: RestorePlan) -> Folded:
    material = await gather(plan, reader)
    fold, summary = await fold_changes(plan, material, reader)
    if summary.notes:
        return Folded(plan.source, reason=summary.notes[0])
    writer = PartWriter(reader.store, clock, plan.source, level=_LEVEL)
    tables, kept = [], 0
    for table in material.schema.catalog.tables:
        if table.kind == "p" or table.mode == "excluded":
            continue
        rows, same = await _write(reader, writer, fold, table)
        tables.append(rows)
        kept += same
    record = await _record(reader, plan, material, fold, tables)
    entry = entry_of(plan)
    key = checkpoint_key(plan.source, entry)
    made = msgspec.structs.replace(record, made=clock.now(), by=__version__)
    if await put_once(reader.store, clock, key, msgspec.json.encode(made)) is not None:
        return Folded(plan.source, key, entry, reason="another maintainer was faster: its checkpoint stays")
    parts = [part for rows in tables for part in rows.parts]
    written = sum(part.size for part in parts) - kept
    _log.info("checkpoint_folded", source=plan.source, entry=entry, transactions=plan.point.transactions, written=written)
    return Folded(plan.source, key, entry, "", plan.point.transactions, sum(part.rows for part in parts), written=written, kept=kept)


async def _write(reader: Reader, writer: PartWriter, fold: DatabaseFold, table: Table) -> tuple[TableRows, int]:
    """The rows of one table as parts; bytes of those that are as they were."""
    found = rows_of(fold, table, reader.store)
    parts, kept = [], 0
    for part in found.parts:
        text = await asyncio.to_thread(opened, part, await fetch_part(reader.store, part))
        left = await asyncio.to_thread(_left, found.output, text)
        if left == text:
            parts.append(part)
            kept += part.size
        elif left:
            parts += [made] if (made := await writer.add(left)) else []
    rest = found.output.rest()
    step: Callable[[], memoryview | None] = lambda: next(rest, None)  # noqa: E731
    while (rows := await asyncio.to_thread(step)) is not None:
        parts += [made] if (made := await writer.add(rows)) else []
    parts += [made] if (made := await writer.end()) else []
    names, attnums = [column.name for column in found.columns], [column.attnum for column in found.columns]
    return TableRows(table.oid, table.schema, table.name, table.mode, names, attnums, parts), kept


def _left(output: TableOutput, text: bytes) -> bytes:
    """What is left of a part."""
    return b"".join(output.part(text))


async def _record(
    reader: Reader, plan: RestorePlan, material: PlanRecords, fold: DatabaseFold, tables: list[TableRows]
) -> FoldedCheckpoint:
    entry = entry_of(plan)
    segment = await reader.find_seq(entry)
    header = await reader.header(segment)
    assert header is not None
    before = await reader.before(segment)
    newest = max(header.sources[plan.source].changed, plan.point.time)
    schemas = [Place(ref.seq, ref.segment) for ref in plan.schemas if plan.schema.ref.seq <= ref.seq <= entry]
    polls = [plan.sequences_before] if plan.sequences_before and plan.sequences_before.seq <= entry else []
    return FoldedCheckpoint(
        archive=plan.archive,
        source=plan.source,
        entry=entry,
        time=plan.point.time,
        segment=segment,
        chain=before.chain.hex(),
        snapshot=Snapshot(plan.point.lsn, "", newest, entry + 1, tables, cause="folded", floor=plan.point.lsn),
        system_id=plan.system_id,
        database=plan.database,
        schemas=schemas,
        polls=[Place(ref.seq, ref.segment) for ref in polls],
        relations=fold.described(),
        origins=_origins(material),
        commit=0 if plan.point.transactions else plan.point.entry,
    )


def _origins(material: PlanRecords) -> list[Origin]:
    """Where the rows of insert-only tables come from."""
    known = {each.oid: each for each in material.folded.origins} if material.folded else {}
    found = []
    for table in material.schema.catalog.tables:
        if table.mode != "insert":
            continue
        copy = next((copy for copy in reversed(material.copies) if any(rows.oid == table.oid for rows in copy.tables)), None)
        if copy is None and table.oid in known:
            found.append(known[table.oid])
        else:
            made = copy or material.checkpoint
            found.append(Origin(table.oid, made.lsn, made.taken))
    return found
