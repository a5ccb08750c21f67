"""A plan of all of a database -> the plan of an excerpt: its tables, and only what must be said of these. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from archiver.errors import Invalid
from archiver.postgres.records import Catalog, Column, Table
from archiver.replay.excerpt import Excerpt
from archiver.replay.postgres.plan.otherwise import naming_columns, otherwise
from archiver.replay.postgres.plan.plan import GapLine, RestorePlan
from archiver.replay.postgres.plan.table_coverage import inserts_only, redacted_of
from archiver.suggestions import TABLES_LISTED, meant, table_hint

UNOWNED_SEQUENCES = "sequences that no column owns"
"""How their approximation begins."""

LEFT_OUT = (
    "all that is not rows: defaults, identity, checks, foreign keys, indexes, triggers, rules, policies, grants, owners, partitions,"
    " collations, comments, sequences, views, functions"
)


@dataclass(frozen=True, slots=True)
class ExcerptTable:
    """One table of an excerpt, as at the point. A partitioned one is one table."""

    table: Table
    holders: list[Table]
    """Those that hold its rows: itself, or its partitions."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.table.schema}.{self.table.name}"

    @property
    def columns(self) -> list[Column]:
        """Those with values in the journal."""
        return [column for column in self.table.columns if not column.generated]

    @property
    def generated(self) -> list[str]:
        """Columns whose values were never captured."""
        return [column.name for column in self.table.columns if column.generated]

    @property
    def redacted(self) -> list[str]:
        """Columns whose values were kept out of the journal."""
        tables = (self.table, *self.holders)
        return sorted({column.name for each in tables for column in each.columns if column.attnum in each.hidden})

    @property
    def key(self) -> list[str]:
        """Columns that identify a row; empty: nothing does, as far as is known."""
        names = {column.attnum: column.name for column in self.table.columns}
        return [names[attnum] for attnum in self.table.key if attnum in names]

    @property
    def naming(self) -> set[str]:
        """Columns whose values are names of other objects."""
        return {name for table in (self.table, *self.holders) for name in naming_columns(table)}

    @property
    def oids(self) -> set[int]:
        """Of the tables that hold its rows."""
        return {table.oid for table in self.holders}


def excerpt_tables(excerpt: Excerpt, catalog: Catalog) -> list[ExcerptTable]:
    """The tables of ``excerpt``, by name. ``Invalid`` when one is not there at the point, was not captured, or has no such column.

    Of a schema those that were not captured are left out, and a partition that belongs to a table of the excerpt comes with that.
    """
    by_name = {(table.schema, table.name): table for table in catalog.tables}
    chosen: dict[int, Table] = {}
    for schema, name in excerpt.tables:
        table = by_name.get((schema, name))
        if table is None:
            raise Invalid(f"there is no table {schema}.{name} at the point", hint=table_hint(f"{schema}.{name}", map(".".join, by_name)))
        holders = _holders(table, catalog)
        if holders and all(each.mode == "excluded" for each in holders):
            raise Invalid(f"rows of {schema}.{name} were not captured", hint="`archiver check` says why; the physical backup may have them")
        chosen[table.oid] = table
    for schema in excerpt.schemas:
        of_schema = [table for table in catalog.tables if table.schema == schema and _is_captured(table)]
        if not of_schema:
            raise Invalid(
                f"there is no captured table in schema {schema} at the point",
                hint=f"{meant(schema, {table.schema for table in catalog.tables})}{TABLES_LISTED}",
            )
        chosen |= {table.oid: table for table in of_schema}
    tables = {table.oid: table for table in catalog.tables}
    roots = [table for table in chosen.values() if not any(each.oid in chosen for each in _above(table, tables))]
    found_tables = sorted((ExcerptTable(table, _holders(table, catalog)) for table in roots), key=lambda each: each.name)
    _require_columns(excerpt, found_tables)
    _require_own_names(excerpt, found_tables)
    return found_tables


def narrowed(plan: RestorePlan, chosen: Sequence[ExcerptTable], catalog: Catalog) -> RestorePlan:
    """``plan`` for these tables alone: what is not known of others is no doubt of theirs."""
    oids = {oid for each in chosen for oid in each.oids}
    holders = [table for table in catalog.tables if table.oid in oids]
    lines = [line for line in plan.tables if line.oid in oids]
    checkpoint = msgspec.structs.replace(plan.checkpoint, rows=sum(line.rows for line in lines), size=sum(line.size for line in lines))
    known = {table.oid for table in catalog.tables}
    return msgspec.structs.replace(
        plan,
        tables=lines,
        checkpoint=checkpoint,
        gaps=[gap for gap in plan.gaps if concerns(gap, oids, known)],
        approximations=approximations_of(holders, plan, catalog),
        not_included=list(_not_included(chosen)),
        otherwise=otherwise(Catalog(holders, publications=[])),
        extensions=[],
        installed=[],
        publications=[],
        roles=[],
        materialized=[],
        sequences_before=None,
        sequences_after=None,
    )


def concerns(gap: GapLine, oids: Collection[int], known: Collection[int]) -> bool:
    """Whether a gap may be of the tables ``oids``, whatever its words call them; ``known``: all tables of the schema at the point.

    A table that no schema knows may be any of them.
    """
    return not gap.relation or gap.relation in oids or gap.relation not in known


def approximations_of(tables: Sequence[Table], plan: RestorePlan, catalog: Catalog) -> list[str]:
    """What a plan does not know exactly of ``tables``, the relations that hold rows: nothing of other tables, and nothing of sequences."""
    return [text for text in plan.approximations if _is_of(text, tables, catalog.tables)]


def _above(table: Table, tables: dict[int, Table]) -> Iterator[Table]:
    """The partitioned tables that it belongs to, the nearest first."""
    seen = {table.oid}
    while (parent := tables.get(table.parent)) is not None and parent.kind == "p" and parent.oid not in seen:
        seen.add(parent.oid)
        yield parent
        table = parent


def _holders(table: Table, catalog: Catalog) -> list[Table]:
    if table.kind != "p":
        return [table]
    tables = {each.oid: each for each in catalog.tables}
    return [each for each in catalog.tables if each.kind != "p" and any(above.oid == table.oid for above in _above(each, tables))]


def _is_captured(table: Table) -> bool:
    """A partitioned table holds nothing itself."""
    return table.kind == "p" or table.mode != "excluded"


def _require_columns(excerpt: Excerpt, chosen: Sequence[ExcerptTable]) -> None:
    if not excerpt.rows:
        return
    [table] = chosen
    captured = [column.name for column in table.columns]
    usable = [column for column in table.key if column in captured] or captured
    for column in excerpt.rows:
        if column not in usable:
            word = "key" if table.key else "columns"
            raise Invalid(
                f"{column} is not of the {word} of {table.name} at the point", hint=f"rows are chosen by its {word}: {', '.join(usable)}"
            )


def _require_own_names(excerpt: Excerpt, chosen: Sequence[ExcerptTable]) -> None:
    """In one new schema each needs its own."""
    names: dict[str, str] = {}
    for each in chosen:
        if excerpt.into_schema and (other := names.get(each.table.name)) is not None:
            raise Invalid(f"{other} and {each.name} have one name", hint="restore them into two schemas, with two commands")
        names[each.table.name] = each.name


def _is_of(text: str, holders: Sequence[Table], tables: Sequence[Table]) -> bool:
    if text.startswith(UNOWNED_SEQUENCES):
        return False
    return any(text.startswith(_beginnings(table)) for table in holders) or not any(text.startswith(_beginnings(table)) for table in tables)


def _beginnings(table: Table) -> tuple[str, str]:
    return inserts_only(table), redacted_of(table)


def _not_included(chosen: Sequence[ExcerptTable]) -> Iterator[str]:
    yield LEFT_OUT
    for each in chosen:
        if each.generated:
            yield f"generated columns of {each.name}: {', '.join(each.generated)}: their values are not captured"
        for table in each.holders:
            if table.mode == "excluded":
                yield f"rows of {table.schema}.{table.name}: not captured"
