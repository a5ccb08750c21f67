"""What is known of each table at the point: which copy it starts from, what is missing, what is only nearly true. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import msgspec

from archiver import clock
from archiver.journal.records import Gap
from archiver.postgres.checkpoint_records import Origin
from archiver.postgres.lsn import parse_position
from archiver.postgres.records import Schema, Snapshot, Table, TableRows, redacted_text
from archiver.postgres.visibility import Visible
from archiver.replay.postgres.plan.journal_survey import FoundRecord, Survey, is_whole
from archiver.replay.postgres.plan.plan import GapLine, TableLine
from archiver.replay.postgres.plan.state_at_point import StateAtPoint


@dataclass(slots=True)
class Coverage:
    """The tables of the schema, and what must be said about them."""

    tables: list[TableLine] = field(default_factory=list)
    gaps: list[GapLine] = field(default_factory=list)
    approximations: list[str] = field(default_factory=list)
    not_included: list[str] = field(default_factory=list)


def cover(
    schema: FoundRecord[Schema],
    checkpoint: FoundRecord[Snapshot],
    copies: Sequence[FoundRecord[Snapshot]],
    state: StateAtPoint,
    origins: Mapping[int, Origin] = MappingProxyType({}),
    *,
    certain: bool = False,
) -> Coverage:
    """What is known of each table of ``schema``, the one at the point; ``certain``: so chosen. ``copies``: those that belong to the state.

    ``origins``: by oid, the copies from which a folded ``checkpoint`` has rows of insert-only tables.
    """
    result = Coverage()
    rows = {table.oid: (_from(origins.get(table.oid), checkpoint), table) for table in checkpoint.record.tables}
    rows |= {table.oid: (copy, table) for copy in copies for table in copy.record.tables}
    if (crossed := state.crossed_gap()) is not None:
        result.gaps.append(_gap_line(*crossed))
    if (older := state.time_gap()) is not None:
        seq, time = older
        result.gaps.append(
            GapLine(
                seq,
                "time",
                "clock_step",
                f"the source's clock was set back: entry {seq}, behind the point, was committed at {clock.to_text(time)}, before the asked"
                " time; name an entry or an LSN",
                from_time=time,
            )
        )
    result.gaps += _unknown(schema, state, certain=certain)
    for table in sorted(schema.record.catalog.tables, key=lambda each: (each.schema, each.name)):
        if table.kind == "p":
            continue
        held = rows.get(table.oid)
        announced = _line_of(table, schema) if schema.announces else frozenset()
        gap = _table_gap(table, held[0] if held else None, state, announced)
        note = ""
        if table.mode == "excluded":
            note = "unlogged: its rows are never in the stream" if table.persistence == "u" else "not captured"
            result.not_included.append(f"rows of {table.schema}.{table.name}: {note}; the table will be empty")
        elif gap is not None:
            note = f"not known: {gap.reason}"
            result.gaps.append(msgspec.structs.replace(gap, relation=table.oid))
        elif table.mode == "insert" and held is not None:
            note = "updates and deletes are not captured"
            known = _unwritten(table, held[0], state)
            result.approximations.append(f"{inserts_only(table)}{known}")
        if table.mode != "excluded" and table.redacted:
            result.approximations.append(f"{redacted_of(table)}; they are NULL, and so is what is computed of them")
        result.tables.append(_line(table, held, note))
    return result


def inserts_only(table: Table) -> str:
    """How an approximation of a table begins of which updates and deletes are not captured."""
    return f"{table.schema}.{table.name}: inserts and truncates are exact; "


def redacted_of(table: Table) -> str:
    """How an approximation of a table begins of which columns are redacted."""
    return f"{table.schema}.{table.name}: {redacted_text(table)}"


def _unwritten(table: Table, copy: FoundRecord[Snapshot], state: StateAtPoint) -> str:
    """How far it is known of an insert-only table that no row of ``copy``, which it starts from, was updated or deleted."""
    survey, taken = state.survey, f"its copy of {clock.to_text(copy.record.taken)}"
    # What is behind the next copy, or while a gap is open, is not about this copy.
    ends = [other.ref.seq for other in survey.copies if any(each.oid == table.oid for each in other.record.tables)]
    gaps = [(seq, gap) for seq, gap in survey.gaps if gap.names(table.oid, table.schema, table.name)]
    end = min((seq for seq in (*ends, *(seq for seq, _ in gaps)) if seq > copy.ref.seq), default=None)
    looks = [look for seq, look in survey.looks if look.counted and copy.ref.seq < seq and (end is None or seq < end)]
    known, time = (looks[-1].counted, looks[-1].counted_at) if looks else (table.known_until, 0)
    if parse_position(known) < parse_position(copy.record.lsn):
        return f"whether rows were updated or deleted since {taken} is not known"
    if state.is_behind(parse_position(known), time):
        return f"by the server's counts no row was updated or deleted since {taken}; what a crash takes from them is not known"
    when = f" ({clock.to_text(time)})" if time else ""
    return f"whether rows were updated or deleted since LSN {known}{when} is not known yet, before that none was since {taken}"


def _unknown(schema: FoundRecord[Schema], state: StateAtPoint, *, certain: bool) -> list[GapLine]:
    """What the state has and ``schema``, the one at the point, does not: a schema that could not be taken, tables, columns.

    A change of a table always comes with its description, so nothing that was changed is missed.
    """
    found = [] if (taken := state.schema_gap(schema, certain=certain)) is None else [_gap_line(*taken)]
    known = {table.oid: table for table in schema.record.catalog.tables}
    visible = Visible.of(schema.record)
    for oid, described in sorted(state.survey.described.items()):
        # What the schema saw and has not was dropped.
        if visible.sees(described.xid, described.commit_lsn):
            continue
        relation = described.relation
        name = f"{relation.schema}.{relation.name}"
        if oid not in known:
            found.append(GapLine(described.seq, f"table {name}", "not_in_catalog", "the journal has rows of it, and no schema that has it"))
            continue
        columns = {column.name for column in known[oid].columns}
        found += [
            GapLine(
                described.seq,
                f"column {name}.{column.name}",
                "not_in_catalog",
                "rows have it, and no schema of the journal does",
                relation=oid,
            )
            for column in relation.columns
            if column.name not in columns
        ]
    return found


def _from(origin: Origin | None, checkpoint: FoundRecord[Snapshot]) -> FoundRecord[Snapshot]:
    if origin is None:
        return checkpoint
    return replace(checkpoint, record=msgspec.structs.replace(checkpoint.record, lsn=origin.lsn, taken=origin.taken))


def _line(table: Table, held: tuple[FoundRecord[Snapshot], TableRows] | None, note: str) -> TableLine:
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


def _line_of(table: Table, schema: FoundRecord[Schema]) -> frozenset[int]:
    """The table and what it inherits from."""
    parents = {each.oid: each.parent for each in schema.record.catalog.tables}
    line, parent = {table.oid}, table.parent
    while parent and parent not in line:
        line.add(parent)
        parent = parents.get(parent, 0)
    return frozenset(line)


def _table_gap(table: Table, held: FoundRecord[Snapshot] | None, state: StateAtPoint, announced: frozenset[int]) -> GapLine | None:
    """Why the rows of a captured table are not known at the point; None when they are."""
    if held is None:
        named = _named(table, state.survey)
        if named is not None:
            return _gap_line(*named)
        return GapLine(0, f"table {table.schema}.{table.name}", "table_added", "no copy of its rows was finished before the point")
    for seq, gap in state.survey.gaps:
        if is_whole(gap) or not gap.names(table.oid, table.schema, table.name):
            continue
        # A copy ends every gap of its tables that was recorded before it, and none that was recorded after it.
        if held.ref.seq < seq and not state.gap_has_ended(gap) and state.gap_has_begun(seq, gap, announced):
            return _gap_line(seq, gap)
    return None


def _named(table: Table, survey: Survey) -> tuple[int, Gap] | None:
    return next(((seq, gap) for seq, gap in reversed(survey.gaps) if gap.names(table.oid, table.schema, table.name)), None)


def _gap_line(seq: int, gap: Gap) -> GapLine:
    return GapLine(seq, gap.what, gap.reason, gap.detail, gap.from_position, gap.to_position, gap.from_time, gap.to_time)
