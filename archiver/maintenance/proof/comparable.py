"""What of a folded checkpoint can be computed a second way from records of changes alone. Pure.

A row's records say what was written, and not what a change of the schema made of rows that were there: such columns are left out, and the
whole table where its rows are not told apart as they always were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from archiver.lake.progress import Progress
from archiver.postgres.records import Column, Schema, Table, TableRows


class Compared(NamedTuple):
    """One table of the checkpoint."""

    rows: TableRows
    titles: tuple[str, ...] = ()
    """Columns that are compared."""
    key: tuple[int, ...] = ()
    """attnums of those that tell its rows apart; none: all of a row does."""
    reason: str = ""
    """Why it is not compared; empty when it is."""


def comparable(rows: TableRows, schemas: Sequence[tuple[int, Schema]], copied: Mapping[int, int], progress: Progress) -> Compared:
    """``schemas``: every schema entry up to the checkpoint, with its number, in order. ``copied``: entry of each relation's newest copy."""
    since = copied.get(rows.oid, 0)
    begun = max((entry for entry, _ in schemas if entry <= since), default=0)
    shapes = [
        (table, [each for each in schema.catalog.types if each.oid in table.types])
        for entry, schema in schemas
        if entry >= begun
        for table in schema.catalog.tables
        if table.oid == rows.oid
    ]
    ways = next((each.keys for each in progress.identities if each.oid == rows.oid), [])
    if not shapes:
        return Compared(rows, reason="no schema entry of it is in the history files")
    if len(ways) != 1:
        return Compared(rows, reason="its key was another one before" if ways else "history files say nothing of it")
    first = shapes[0]
    if any(types != first[1] for _, types in shapes):
        return Compared(rows, reason="a type of its values was changed")
    always = [_meaning(each) for each in first[0].columns]
    for table, _ in shapes:
        known = {_meaning(each) for each in table.columns}
        always = [each for each in always if each in known]
    titles = tuple(
        name for name, attnum in zip(rows.columns, rows.attnums, strict=True) if any(each[:2] == (attnum, name) for each in always)
    )
    if not titles:
        return Compared(rows, reason="each of its columns was changed" if rows.columns else "it has no columns")
    [key] = ways
    if key is None:
        if len(titles) != len(rows.columns) or any(not _same(first[0], table) for table, _ in shapes):
            return Compared(rows, reason="it has no key, and its columns were changed")
        return Compared(rows, titles)
    attnums = tuple(attnum for name, attnum in zip(rows.columns, rows.attnums, strict=True) if name in key and name in titles)
    if len(attnums) != len(key):
        return Compared(rows, reason="a column of its key was changed")
    return Compared(rows, titles, attnums)


def _meaning(column: Column) -> tuple[int, str, str, int, str]:
    return column.attnum, column.name, column.type, column.type_oid, column.generated


def _same(one: Table, other: Table) -> bool:
    return list(map(_meaning, one.carried)) == list(map(_meaning, other.carried))
