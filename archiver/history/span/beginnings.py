"""Where the reading of a span begins for each source: as a restore to its earlier point does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import structlog

from archiver.errors import Corrupt, Refused
from archiver.history.row_states import State, text_of
from archiver.history.span.database_changes import DatabaseBeginning, key_of
from archiver.history.span.object_changes import StreamBeginning
from archiver.journal.entry import Kind
from archiver.journal.parts import fetch_part, opened
from archiver.journal.remedies import CHECKPOINT_ANEW
from archiver.journal.spans import first_segment_of
from archiver.kubernetes.cluster_checkpoints import load_objects, newest_cluster_checkpoint
from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import Snapshot, Table
from archiver.postgres.schema_bodies import read_schema
from archiver.replay.kubernetes.fold import begin_streams, newest_entry
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.postgres.columnar.copy_text import unescape
from archiver.replay.postgres.decode.pgoutput import Relation, RelationColumn
from archiver.replay.postgres.plan.checkpoint_choice import Beginning, beginnings
from archiver.replay.postgres.plan.point_location import end_segment, first_checkpoint, mark_of

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.journal.segment import SegmentHeader
    from archiver.kubernetes.stream_state import Key, KnownObject
    from archiver.postgres.checkpoint_records import FoldedCheckpoint, KnownRelation
    from archiver.replay.points import Point

_log = structlog.get_logger()


class FoundDatabase(NamedTuple):
    """A database's beginning, and the rows that it has there."""

    beginning: DatabaseBeginning
    rows: Snapshot | None
    too_late: bool = False
    """The point lies before all that is known."""


async def begin_database(reader: Reader, tail: SegmentHeader, source: str, start: Point | None) -> FoundDatabase:
    """From the nearest copy before ``start``, folded or not; without one from its first. Errors as of ``Reader``."""
    chosen, too_late = None, False
    if start is not None:
        try:
            end = min(await end_segment(reader, source, start), tail.number)
            async with aclosing(beginnings(reader, source, start, end)) as found:
                chosen = await anext(found)
        except Refused:
            too_late = True
    if chosen is None:
        first = await first_checkpoint(reader, source)
        if first is None:
            segment = await reader.bisect(lambda header: source in header.sources)
            return FoundDatabase(DatabaseBeginning(segment=segment), None)
        chosen = Beginning(first)
    record, folded = chosen.found.record, chosen.folded
    beginning = DatabaseBeginning(
        entry=record.replay_from,
        segment=folded.segment if folded else await reader.find_seq(record.replay_from),
        from_lsn=parse_lsn(record.lsn),
        newest=record.taken if folded else 0,
        copy=chosen.found.ref.seq,
        taken=record.taken,
    )
    tables = await _tables(reader, source, chosen)
    if folded is not None and tables is not None:
        relations = {each.oid: (each.entry, _relation(each, tables[each.oid])) for each in folded.relations if each.oid in tables}
        beginning = replace(beginning, relations=relations)
    return FoundDatabase(replace(beginning, tables=tables), record, too_late)


async def _tables(reader: Reader, source: str, chosen: Beginning) -> dict[int, Table] | None:
    """The catalog at a copy: of the newest schema entry that is not behind it."""
    entry, segment, folded = chosen.found.ref.seq, chosen.found.ref.segment, chosen.folded
    if folded is not None:
        place = max((place for place in folded.schemas if place.entry <= folded.entry), key=lambda place: place.entry, default=None)
        if place is None:
            return await _tables_behind(reader, source, folded)
        entry, segment = place.entry, place.segment
    else:
        header = await reader.header(segment)
        segment = mark_of(header, source).schema_segment if header else -1
    found = None
    if segment >= 0:
        async with aclosing(reader.read(segment, last=segment)) as runs:
            async for placed in runs:
                if placed.run.source == source and placed.run.kind is Kind.PG_SCHEMA and placed.first <= entry:
                    found = {table.oid: table for table in read_schema(placed)[0].catalog.tables}
    return found


async def _tables_behind(reader: Reader, source: str, folded: FoldedCheckpoint) -> dict[int, Table]:
    """The catalog at a checkpoint whose schema was written down only behind it, as that of a baseline or of a last commit may be."""
    async with aclosing(reader.read(folded.segment)) as runs:
        async for placed in runs:
            if placed.run.source == source and placed.run.kind is Kind.PG_SCHEMA and placed.first > folded.entry:
                return {table.oid: table for table in read_schema(placed)[0].catalog.tables}
    raise Corrupt(f"no schema follows the checkpoint at entry {folded.entry} of {source}, which names none", hint=CHECKPOINT_ANEW)


def _relation(known: KnownRelation, table: Table) -> Relation:
    """How rows are read, with the names that the columns have by the catalog."""
    names = {column.attnum: column for column in table.columns}
    columns = [RelationColumn(f"?{place}", 0, -1, key=False) for place in range(known.width)]
    for attnum, place in zip(known.attnums, known.positions, strict=True):
        if (column := names.get(attnum)) is not None:
            keyed = known.mode == "full" or (known.mode == "key" and place in known.key_positions)
            columns[place] = RelationColumn(column.name, column.type_oid, -1, key=keyed)
    return Relation(known.oid, table.schema, table.name, "f" if known.mode == "full" else table.identity, tuple(columns))


_Rows = tuple[int, list[tuple[str, State]]]


async def copied_rows(reader: Reader, rows: Snapshot, keys: Mapping[int, list[int]], most_bytes: int) -> AsyncGenerator[_Rows]:
    """The rows of a copy, by table, while they have ``most_bytes`` together; tables that have more are left out, whole.

    ``keys``: attnums that identify a row, of the tables that are wanted.
    """
    left = most_bytes
    for table in sorted(rows.tables, key=lambda table: sum(part.raw_size for part in table.parts)):
        key = [place for place, attnum in enumerate(table.attnums) if attnum in keys.get(table.oid, [])]
        size = sum(part.raw_size for part in table.parts)
        if not key or size > left:
            continue
        left -= size
        for part in table.parts:
            text = await asyncio.to_thread(opened, part, await fetch_part(reader.store, part))
            found = []
            for line in text.split(b"\n")[:-1]:
                values = [text_of(unescape(value)) for value in line.split(b"\t")]
                row = dict(zip(table.columns, values, strict=True))
                found.append((key_of({table.columns[place]: values[place] for place in key}), row))
            yield table.oid, found


class FoundStream(NamedTuple):
    """A stream's beginning, and the objects that it has there."""

    beginning: StreamBeginning
    objects: dict[Key, KnownObject]


async def begin_cluster(reader: Reader, tail: SegmentHeader, source: str, names: list[str], start: Point | None) -> dict[str, FoundStream]:
    """Each stream of ``names``, from the nearest state before ``start``; without one from its first entry. Errors as of ``Reader``."""
    cut = Cut() if start is None else Cut(time=start.number) if start.kind == "time" else Cut(seq=start.number)
    if start is None:
        return {name: FoundStream(StreamBeginning(0, await first_segment_of(reader, name)), {}) for name in names}
    checkpoint = await newest_cluster_checkpoint(reader, source, await newest_entry(reader, tail, cut))
    folded = {stream.name: stream for stream in checkpoint.streams if not cut.time or stream.received <= cut.time} if checkpoint else {}
    found = {}
    for name, each in (await begin_streams(reader, tail, names, cut, folded)).items():
        if each.folded is None:
            found[name] = FoundStream(StreamBeginning(each.seq, each.segment), {})
            continue
        known = each.folded
        beginning = StreamBeginning(each.seq, each.segment, known.listing, known.epoch, known.heard, known.unwatched)
        try:
            found[name] = FoundStream(beginning, await load_objects(reader.store, known, reader.offload))
        except Corrupt as error:
            # The journal has all that it had.
            _log.warning("checkpoint_passed_over", source=source, entry=checkpoint.entry if checkpoint else 0, reason=error.message)
            plain = (await begin_streams(reader, tail, [name], cut, {}))[name]
            found[name] = FoundStream(StreamBeginning(plain.seq, plain.segment), {})
    return found
