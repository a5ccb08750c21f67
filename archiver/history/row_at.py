"""One row at a point, exactly as a restore would bring it back: with the columns that its table has there.

A column that was added with a default, dropped or renamed since the row was last written leaves no trace in the row's own changes
(``rows``); the fold knows it from the schema at the point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Invalid
from archiver.history.filed_state import filed_state
from archiver.history.row_ref import RowRef
from archiver.history.row_states import State, text_of
from archiver.postgres.records import SCHEMA_UNCERTAIN
from archiver.replay.points import Point
from archiver.replay.postgres.columnar.copy_text import escape, unescape
from archiver.replay.postgres.plan.excerpt_plan import approximations_of, concerns
from archiver.replay.postgres.plan.planner import plan_restore
from archiver.replay.postgres.write.plan_records import PlanRecords, fold_changes, gather
from archiver.replay.postgres.write.table_rows import rows_of
from archiver.suggestions import table_hint

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.postgres.records import Table
    from archiver.replay.postgres.plan.plan import RestorePlan


class RowAt(msgspec.Struct, frozen=True):
    """Answer of ``row_at``."""

    state: State | None
    """``None``: there was no such row, as far as is known."""
    gaps: list[str]
    """Why that may be otherwise, in words for people."""
    notes: list[str]
    """All gaps and approximations that may be of its table, likewise."""


async def row_at(reader: Reader, source: str, ref: RowRef, point: Point) -> RowAt:
    """The row at a resolved point.

    Where history files tell it exactly, they are asked, and the journal only behind them; else the database's changes since the newest
    checkpoint are folded, and the table's rows read. What is not known is what the plan of a restore says, either way. Raises ``Invalid``
    when there is no such table or column at the point, and what ``plan_restore`` raises.
    """
    plan = await plan_restore(reader, source, point)
    material = await gather(plan, reader)
    table = next((table for table in material.schema.catalog.tables if ref.names(table.schema, table.name)), None)
    known = {each.oid for each in material.schema.catalog.tables}
    doubts = [gap for gap in plan.gaps if concerns(gap, {table.oid} if table else (), known)]
    told = plan.schema.certain or plan.schema.known_until or any(gap.reason == SCHEMA_UNCERTAIN for gap in doubts)
    gaps = [*(gap.text for gap in doubts), *([] if told else [f"the schema: {plan.schema.reason}"])]
    if table is None:
        raise Invalid(
            f"{source} has no table {ref.schema}.{ref.table} at this point{f', as far as is known ({gaps[0]})' if gaps else ''}",
            hint=table_hint(f"{ref.schema}.{ref.table}", (f"{each.schema}.{each.name}" for each in material.schema.catalog.tables)),
        )
    names = [column.name for column in table.carried]
    missing = [name for name in ref.key if name not in names]
    if missing:
        raise Invalid(f"{ref.schema}.{ref.table} has no column {missing[0]} at this point", hint=f"its columns: {', '.join(names)}")
    filed = await filed_state(reader, plan, material, table, ref) if not gaps else None
    state = await _folded(reader, plan, material, table, ref) if filed is None else filed.state
    return RowAt(state, gaps, [*(gap.text for gap in doubts), *approximations_of([table], plan, material.schema.catalog)])


async def _folded(reader: Reader, plan: RestorePlan, material: PlanRecords, table: Table, ref: RowRef) -> State | None:
    """The row as the fold has it: all changes since the checkpoint, and all rows of the table."""
    fold, _ = await fold_changes(plan, material, reader)
    rows = rows_of(fold, table, reader.store, plan.checkpoint.key)
    names = [column.name for column in rows.columns]
    wanted = [(names.index(column), bytes(escape(value.encode()))) for column, value in ref.key.items()]
    needle = max((value for _, value in wanted), key=len)
    found: State | None = None
    # Read to the end even when it is found: the fold's own checks are complete only then.
    async for piece in rows.read():
        text = bytes(piece)
        if found is not None or needle not in text:
            continue
        for line in text.split(b"\n"):
            values = line.split(b"\t")
            if len(values) != len(names):
                continue
            if all(values[place] == value for place, value in wanted):
                known = {column.name for column in table.carried}
                found = {name: text_of(unescape(value)) for name, value in zip(names, values, strict=True) if name in known}
                break
    return found
