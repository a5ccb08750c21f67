"""One row at the point of a plan, from history files and the tail behind them: where they tell it exactly as the fold does, and only there.

What a fold knows and a row's own changes do not tell (a column that was added with a default, changed or renamed since the row was written)
is left to the fold: the shape of the table must have been the same since the row was written as a whole.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from archiver.history.filed_rows import FiledRows
from archiver.history.row_states import HeardChange, State, states, written_whole
from archiver.history.rows import filed_changes
from archiver.history.table_history import TableHistory, shape_in
from archiver.journal.boundary import Retired
from archiver.lake.history_table import open_history
from archiver.replay.postgres.decode.commits import Limit
from archiver.replay.postgres.plan.point_location import first_checkpoint

if TYPE_CHECKING:
    from archiver.history.row_ref import RowRef
    from archiver.journal.reader import Reader
    from archiver.postgres.records import Table
    from archiver.replay.postgres.plan.plan import RestorePlan
    from archiver.replay.postgres.write.plan_records import PlanRecords


class FiledState(NamedTuple):
    """The row; ``None``: there was no such row."""

    state: State | None


async def filed_state(reader: Reader, plan: RestorePlan, material: PlanRecords, table: Table, ref: RowRef) -> FiledState | None:
    """The row ``ref`` of ``table``, which has no gap at the plan's point; ``None`` when the fold must be asked. Raises as ``Reader``."""
    if table.mode != "key" or not plan.limit:
        return None
    history = await open_history(reader, plan.source)
    try:
        start = await first_checkpoint(reader, plan.source) if history is not None else None
    except Retired:
        # Files alone do not tell what was copied there.
        return None
    tail = await reader.tail()
    if history is None or start is None or tail is None or start.record.replay_from > history.progress.covered:
        return None
    told, limit = TableHistory(ref, start, shape_of=table.oid), Limit(seq=plan.limit)
    heard = await filed_changes(reader, plan.source, told, (limit, plan.segments.last, tail.number), FiledRows(reader.store, history))
    if heard is None:
        return None
    # Whatever the table was called.
    ours = [HeardChange(one.era, one.change, one.oid) for one in heard if one.oid == table.oid]
    copies = [replace(copy, hidden=False) for copy in await told.copies(limit, heard, reader.store) if copy.oid == table.oid]
    counted = {
        place.seq for place, copy in zip(plan.recopies, material.copies, strict=True) if any(each.oid == table.oid for each in copy.tables)
    }
    if counted - {copy.entry for copy in copies}:
        return None
    found = states(ref.key, ours, copies, [])
    state = found[-1].state if found else None
    if state is None:
        return FiledState(None)
    whole = written_whole(ours, copies)
    names = [column.name for column in table.carried]
    shapes = told.shapes_since(whole, plan.schema.ref.seq) if whole is not None else []
    if not shapes or any(shape != shape_in(material.schema, table.oid) for shape in shapes) or set(names) != state.keys():
        return None
    return FiledState({name: state[name] for name in names})
