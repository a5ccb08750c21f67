"""What a restore brings back otherwise than it was at the source, although all of it is known or can be told. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from archiver.postgres.records import Catalog, Outside, Table

_NAMES = re.compile(r"(?:reg[a-z]+|aclitem)(?:\[\])*")
"""Types of PostgreSQL that stand for another object: regclass, regproc and so on, and roles in aclitem. An older archiver tells
no more than a column's own type."""
_SHOWN = 5
"""Names that a sentence has room for."""


def otherwise(catalog: Catalog) -> list[str]:
    """One sentence for each thing, for people."""
    return [
        *_recomputed(catalog.materialized),
        *_computed(catalog.computed),
        *_reordered(catalog.tables),
        *_by_name(catalog.tables),
        *_outside(catalog.outside),
        *_unknown(catalog),
    ]


def _recomputed(views: Sequence[str]) -> Iterator[str]:
    if views:
        several = "materialized view" if len(views) == 1 else f"{len(views)} materialized views"
        yield (
            f"{several} ({', '.join(views)}): computed anew from the rows at the point, as the owner sees them;"
            " what was held, if it was stale, is not captured"
        )


def _computed(columns: Sequence[str]) -> Iterator[str]:
    """The server sends no values of generated columns before 18, and COPY writes none ever."""
    if columns:
        more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
        yield (
            f"generated columns ({', '.join(columns[:_SHOWN])}{more}): computed anew by functions as they are at the point;"
            " values that were written before such a function changed are not captured"
        )


def _reordered(tables: Sequence[Table]) -> Iterator[str]:
    """A dump makes a child of the parent's columns, in the parent's order, and then of its own."""
    known = {table.oid: table for table in tables}
    for table in tables:
        parent = known.get(table.parent)
        if parent is None or parent.kind == "p":
            continue
        inherited = [column.name for column in parent.columns]
        if [column.name for column in table.columns][: len(inherited)] != inherited:
            yield (
                f"table {table.schema}.{table.name}: its columns come back in another order, first those that it inherits:"
                " SELECT * and INSERT without names see the difference"
            )


def naming_columns(table: Table) -> list[str]:
    """Columns whose values are names of other objects, or have some inside: another text once those are renamed."""
    return [column.name for column in table.columns if column.attnum in table.naming or _NAMES.fullmatch(column.type)]


def _by_name(tables: Sequence[Table]) -> Iterator[str]:
    """The server keeps an oid and shows the name of the moment; the journal has the name that was shown when the row was written."""
    for table in tables:
        columns = naming_columns(table)
        if columns and table.kind != "p" and table.mode != "excluded":
            yield (
                f"table {table.schema}.{table.name}: {', '.join(columns)} {'names' if len(columns) == 1 else 'name'} other objects:"
                " what was renamed after a row was written is not followed"
            )


def _outside(needed: Sequence[Outside]) -> Iterator[str]:
    for schema in dict.fromkeys(each.schema for each in needed):
        names = [each.name for each in needed if each.schema == schema]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield (
            f"schema {schema} was not captured, and what was captured needs {', '.join(names[:_SHOWN])}{more}:"
            " the target must have them, or what needs them is left out"
        )


def _unknown(catalog: Catalog) -> Iterator[str]:
    if catalog.extensions and not catalog.installed:
        yield f"extensions ({', '.join(catalog.extensions)}): in the target's versions; an older archiver kept none"
    if catalog.publications is None:
        yield "publications: not captured; an older archiver kept none"
