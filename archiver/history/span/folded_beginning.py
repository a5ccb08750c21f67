"""Where a span begins far behind the nearest copy: the state there, folded in memory as a checkpoint would be.

What lies between the copy and the span has to be known for one thing only, namely what rows were before. A fold tells that many times
faster than telling every change of it. Where it is not certain to be the same, nothing is folded, and the reading begins at the copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

from archiver.errors import Corrupt, Refused
from archiver.replay.postgres.plan.foldable import entry_of, unsuited
from archiver.replay.postgres.plan.planner import plan_restore
from archiver.replay.postgres.write.plan_records import fold_changes, gather
from archiver.replay.postgres.write.table_rows import TableRows, rows_of

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.postgres.checkpoint_records import KnownRelation
    from archiver.postgres.records import Column, Table
    from archiver.replay.points import Point

FAR_ENTRIES = 20_000
"""So many between copy and span make a fold worth its while."""


class FoldedState(NamedTuple):
    """A database at the last commit before a point."""

    entry: int
    """That commit's."""
    lsn: str
    time: int
    tables: dict[int, Table]
    relations: list[KnownRelation]
    rows: dict[int, KnownRows]
    """Of tables that have a key, by oid."""


class KnownRows(NamedTuple):
    """The rows of one table."""

    columns: list[Column]
    text: list[bytes]
    """COPY text, whole rows in each."""

    def lines(self) -> Iterator[bytes]:
        """Row by row."""
        for piece in self.text:
            yield from piece.split(b"\n")[:-1]


async def state_before(reader: Reader, source: str, start: Point, *, most_bytes: int) -> FoldedState | None:
    """The state at ``start``, a time; ``None`` where it is not certain in every way, or its rows have more than ``most_bytes``.

    ``Unavailable`` as of ``Reader``.
    """
    try:
        plan = await plan_restore(reader, source, start)
        entry = entry_of(plan)
        # A schema entry behind the state is told as a change of the span, so it cannot be what the state is read by.
        if not plan.point.transactions or unsuited(plan) or plan.schema.ref.seq > entry:
            return None
        material = await gather(plan, reader)
        if sum(part.raw_size for table in material.checkpoint.tables for part in table.parts) > most_bytes:
            return None
        fold, summary = await fold_changes(plan, material, reader)
        if summary.notes:
            return None
        rows, left = dict[int, KnownRows](), most_bytes
        tables = {table.oid: table for table in material.schema.catalog.tables}
        for oid, table in tables.items():
            if table.mode == "key" and table.kind != "p":
                known = await _known(rows_of(fold, table, reader.store, plan.checkpoint.key), left)
                if known is None:
                    return None
                rows[oid] = known
                left -= sum(map(len, known.text))
        return FoldedState(entry, plan.point.lsn, plan.point.time, tables, fold.described(), rows)
    except (Refused, Corrupt):
        # What is not as a restore needs it can be told all the same.
        return None


async def _known(rows: TableRows, most_bytes: int) -> KnownRows | None:
    """``None``: they have more."""
    found, left = list[bytes](), most_bytes
    async with aclosing(rows.read()) as pieces:
        async for piece in pieces:
            left -= len(piece)
            if left < 0:
                return None
            found.append(bytes(piece))
    return KnownRows(rows.columns, found)
