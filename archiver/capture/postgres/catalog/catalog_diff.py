"""Two catalogs -> tables whose rows in the journal are no longer what the server has, although the stream says nothing; pure.

None of these puts a row into the stream: ALTER COLUMN TYPE, ADD COLUMN with a volatile default, SET LOGGED of a filled table, RENAME
VALUE of an enum, ADD ATTRIBUTE of a composite type, DROP EXPRESSION of a generated column, rows of a new table before it was published.
And where columns came and went between two looks, rows of the time between can often be read in two ways: then a copy decides.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from archiver.postgres.records import Catalog, Table, TypeShape


class Change(NamedTuple):
    """One table that must be copied again."""

    oid: int
    reason: Literal["table_added", "table_rewritten"]
    detail: str


def compare(before: Catalog, after: Catalog, filenodes: dict[int, int] | None = None) -> list[Change]:
    """What must be copied again now that ``after`` is the catalog. ``filenodes``: newer ones than those in ``before``, by table oid."""
    known = {table.oid: table for table in before.tables}
    shapes = ({shape.oid: shape for shape in before.types}, {shape.oid: shape for shape in after.types})
    found: list[Change] = []
    for table in after.tables:
        if table.mode == "excluded":
            continue
        old = known.get(table.oid)
        if old is None or old.mode == "excluded":
            found.append(Change(table.oid, "table_added", "it is captured from now on"))
        elif why := _rewritten(old, table, (filenodes or {}).get(table.oid, old.filenode)) or _retyped(old, table, *shapes):
            found.append(Change(table.oid, "table_rewritten", why))
    return found


def _rewritten(old: Table, new: Table, old_filenode: int) -> str:
    # TRUNCATE, CLUSTER and VACUUM FULL make a new file too, but leave the definitions of the columns alone.
    if new.filenode != old_filenode and new.version != old.version:
        return "its rows were rewritten"
    columns = {column.attnum: column for column in old.columns}
    for column in new.columns:
        before = columns.get(column.attnum)
        if before is None:
            continue
        if column.type_oid != before.type_oid:
            return f"the type of column {column.name} changed"
        if column.generated != before.generated:
            return f"column {column.name} is no longer generated"
    both = {column.attnum for column in new.columns} & columns.keys()
    if old.hidden & both != new.hidden & both:
        return "other columns are redacted"
    if new.listed and any(column.attnum not in columns and not column.generated for column in new.columns):
        return "a column was added, of which nothing is sent until the publication's list of columns has it"
    if _blurred(old, new):
        return "columns of one type came and went between two looks"
    if new.mode != "insert" and (old.mode, old.key) != (new.mode, new.key):
        return "its replica identity changed"
    return ""


def _blurred(old: Table, new: Table) -> bool:
    """Whether a row of the time between the two may not tell which column a value belongs to: names alone do not."""
    had, have = ({column.attnum for column in table.columns} for table in (old, new))
    lost = {column.type_oid for column in old.columns if column.attnum not in have}
    added = [column for column in new.columns if column.attnum not in had]
    unseen = new.natts - old.natts - len(added) if old.natts else 0
    return bool(added) and (unseen > 0 or any(column.type_oid in lost for column in added))


def _retyped(old: Table, new: Table, before: dict[int, TypeShape], after: dict[int, TypeShape]) -> str:
    """An enum with a renamed label or a composite type with other attributes: old rows now print differently."""
    for oid in set(old.types) & set(new.types):
        if oid not in before or oid not in after:
            continue
        labels = before[oid].labels
        if any(after[oid].labels.get(value, label) != label for value, label in labels.items()):
            return "a label of an enum type of its columns was renamed"
        if before[oid].attributes != after[oid].attributes:
            return "the attributes of a composite type of its columns changed"
    return ""
