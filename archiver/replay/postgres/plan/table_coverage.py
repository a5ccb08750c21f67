"""What is known of each table at the point: which copy it starts from, what is missing, what is only nearly true. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from archiver import clock
from archiver.journal.records import Gap
from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import Schema, Snapshot, Table, TableRows
from archiver.replay.points import Point
from archiver.replay.postgres.plan.journal_survey import Found, Survey, is_whole
from archiver.replay.postgres.plan.plan import GapLine, TableLine

_BY_DDL = frozenset({"table_added", "table_rewritten"})


@dataclass(slots=True)
class Standing:
    """The tables of the schema, and what must be said about them."""

    tables: list[TableLine] = field(default_factory=list)
    gaps: list[GapLine] = field(default_factory=list)
    approximations: list[str] = field(default_factory=list)
    not_included: list[str] = field(default_factory=list)


def stand(
    schema: Found[Schema], checkpoint: Found[Snapshot], copies: Sequence[Found[Snapshot]], survey: Survey, point: Point, lsn: int
) -> Standing:
    """``schema``: the one at the point. ``copies``: the usable ones. ``lsn``: where the state ends."""
    result = Standing()
    rows = {table.oid: (checkpoint, table) for table in checkpoint.record.tables}
    rows |= {table.oid: (copy, table) for copy in copies for table in copy.record.tables}
    _whole_gap(result, survey, point)
    for table in sorted(schema.record.catalog.tables, key=lambda each: (each.schema, each.name)):
        if table.kind == "p":
            continue
        held = rows.get(table.oid)
        gap = _table_gap(
            table, held[0] if held else None, survey, _Place(point, lsn, _line_of(table, schema) if schema.announces else frozenset())
        )
        note = ""
        if table.mode == "excluded":
            note = "unlogged: its rows are never in the stream" if table.persistence == "u" else "not captured"
            result.not_included.append(f"rows of {table.schema}.{table.name}: {note}; the table will be empty")
        elif gap is not None:
            note = f"not known: {gap.reason}"
            result.gaps.append(gap)
        elif table.mode == "insert" and held is not None:
            note = "updates and deletes are not captured"
            known = f"; there were none before LSN {table.known_until}" if table.known_until else ""
            result.approximations.append(
                f"{table.schema}.{table.name}: inserts and truncates are exact; updates and deletes since its copy of"
                f" {clock.to_text(held[0].record.taken)} are not in the journal{known}"
            )
        result.tables.append(_line(table, held, note))
    return result


def _line(table: Table, held: tuple[Found[Snapshot], TableRows] | None, note: str) -> TableLine:
    if held is None:
        return TableLine(table.oid, table.schema, table.name, table.mode, note=note)
    parts = held[1].parts
    return TableLine(
        table.oid,
        table.schema,
        table.name,
        table.mode,
        sum(part.rows for part in parts),
        sum(part.size for part in parts),
        held[0].record.lsn,
        note,
    )


def _whole_gap(result: Standing, survey: Survey, point: Point) -> None:
    """A gap of the whole source is crossed when the point lies behind its beginning: the next checkpoint would serve it otherwise."""
    if survey.broken is None:
        return
    seq, gap = survey.broken
    if survey.next is not None and survey.next.seq < seq:
        return
    if point.kind == "entry":
        crossed = point.number >= seq
    elif point.kind == "lsn":
        crossed = bool(gap.from_position) and point.number > parse_lsn(gap.from_position)
    else:
        crossed = point.number > max(survey.changed, gap.from_time)
    if crossed:
        result.gaps.append(_gap_line(seq, gap))


@dataclass(frozen=True, slots=True)
class _Place:
    point: Point
    lsn: int
    announced: frozenset[int]
    """Whose changes are announced in the stream: those of the table and of what it inherits from; empty when none are."""


def _line_of(table: Table, schema: Found[Schema]) -> frozenset[int]:
    parents = {each.oid: each.parent for each in schema.record.catalog.tables}
    line, parent = {table.oid}, table.parent
    while parent and parent not in line:
        line.add(parent)
        parent = parents.get(parent, 0)
    return frozenset(line)


def _table_gap(table: Table, held: Found[Snapshot] | None, survey: Survey, place: _Place) -> GapLine | None:
    """Why the rows of a captured table are not known at the point; None when they are."""
    if held is None:
        named = _named(table, survey)
        if named is not None:
            return _gap_line(*named)
        return GapLine(0, f"table {table.schema}.{table.name}", "table_added", "no copy of its rows was finished before the point")
    for seq, gap in survey.gaps:
        if is_whole(gap) or not _names(gap, table) or gap.reason == "updates_not_published":
            continue
        # A copy ends every gap of its tables that was recorded before it, and none that was recorded after it.
        over = bool(gap.to_position) and parse_lsn(gap.to_position) <= place.lsn
        if held.ref.seq < seq and not over and _begun(seq, gap, survey, place):
            return _gap_line(seq, gap)
    return None


def _begun(seq: int, gap: Gap, survey: Survey, place: _Place) -> bool:
    """Whether the gap may reach the point. It begins with the last look that found nothing, which is some time before what made it."""
    begins = parse_lsn(gap.from_position) if gap.from_position else 0
    if place.announced and gap.reason in _BY_DDL and survey.announced_behind_only(begins, seq, place.announced):
        return False
    if place.point.kind == "entry":
        return begins <= place.lsn or seq <= place.point.number
    if place.point.kind == "lsn":
        return begins <= place.point.number
    return survey.next is None or begins < survey.next.commit_lsn


def _named(table: Table, survey: Survey) -> tuple[int, Gap] | None:
    return next(((seq, gap) for seq, gap in reversed(survey.gaps) if _names(gap, table)), None)


def _names(gap: Gap, table: Table) -> bool:
    if gap.relation:
        return gap.relation == table.oid
    return gap.what.replace('"', "") == f"table {table.schema}.{table.name}".replace('"', "")


def _gap_line(seq: int, gap: Gap) -> GapLine:
    return GapLine(seq, gap.what, gap.reason, gap.detail, gap.from_position, gap.to_position, gap.from_time, gap.to_time)
