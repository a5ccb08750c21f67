"""Two catalogs of one database -> what became of its tables. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from archiver.postgres.records import Table

Tables = Mapping[int, Table]
"""By oid."""


class TableChange(NamedTuple):
    """What the later catalog says of one table that the earlier one does not."""

    operation: str
    """create, drop, rename, alter."""
    oid: int
    name: str
    """The one that it has; the one that it had, if it is gone."""
    detail: str


def table_changes(before: Tables, after: Tables) -> Iterator[TableChange]:
    """By oid."""
    for oid in sorted({*before, *after}):
        old, new = before.get(oid), after.get(oid)
        if new is None and old is not None:
            yield TableChange("drop", oid, name_of(old), "with all its rows")
        elif old is None and new is not None:
            yield TableChange("create", oid, name_of(new), _columns(new))
        elif old is not None and new is not None:
            if name_of(old) != name_of(new):
                yield TableChange("rename", oid, name_of(new), f"it was {name_of(old)}")
            if detail := "; ".join(_altered(old, new)):
                yield TableChange("alter", oid, name_of(new), detail)


def name_of(table: Table) -> str:
    """``schema.table``."""
    return f"{table.schema}.{table.name}"


def is_redefined(old: Table, new: Table) -> bool:
    """Whether rows that were written before may read otherwise, without a change of theirs. Columns that were added do not make it so."""
    has = {(column.attnum, column.name, column.type) for column in new.columns}
    return old.filenode != new.filenode or not {(column.attnum, column.name, column.type) for column in old.columns} <= has


def _columns(table: Table) -> str:
    return "columns " + ", ".join(f"{column.name} {column.type}" for column in table.columns) if table.columns else ""


def _altered(old: Table, new: Table) -> Iterator[str]:
    had, has = ({column.attnum: column for column in table.columns} for table in (old, new))
    for attnum in sorted({*had, *has}):
        before, after = had.get(attnum), has.get(attnum)
        if before is None and after is not None:
            yield f"column {after.name} {after.type} added"
        elif after is None and before is not None:
            yield f"column {before.name} dropped"
        elif before is not None and after is not None:
            if before.name != after.name:
                yield f"column {before.name} renamed to {after.name}"
            if before.type != after.type:
                yield f"column {after.name}: type {before.type} to {after.type}"
            if before.not_null != after.not_null:
                yield f"column {after.name}: {'NOT NULL' if after.not_null else 'NULL allowed'}"
    if (old.key, old.identity) != (new.key, new.identity):
        yield "what identifies its rows is another"
    if old.mode != new.mode:
        yield f"captured as {new.mode}, it was {old.mode}"
    if old.parent != new.parent:
        yield "attached to another table" if new.parent else "detached from its table"
