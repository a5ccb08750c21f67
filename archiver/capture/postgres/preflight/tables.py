"""Preflight's findings about tables, grouped: a hundred tables without a key are one finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from archiver.capture.postgres.catalog.capture_mode import Cause
from archiver.capture.postgres.preflight.facts import Facts
from archiver.capture.postgres.preflight.findings import SHOWN, Finding, and_others, several
from archiver.postgres.pasteable import identifier
from archiver.postgres.records import Column, Table

_ONLY_SNAPSHOTS = "their UPDATEs and DELETEs are not published; the journal knows them only by repeated copies, with gaps in between"
_INSERT_ONLY: dict[Cause, tuple[str, str]] = {
    "no_identity": (
        "without a primary key, an UPDATE would fail at the source if it were published: " + _ONLY_SNAPSHOTS,
        "add a primary key, or ALTER TABLE … REPLICA IDENTITY FULL (costs WAL)",
    ),
    "identity_nothing": (
        "REPLICA IDENTITY NOTHING: " + _ONLY_SNAPSHOTS,
        "ALTER TABLE … REPLICA IDENTITY DEFAULT with a primary key, or FULL",
    ),
    "identity_index_lost": (
        "the index of their replica identity was dropped: " + _ONLY_SNAPSHOTS,
        "ALTER TABLE … REPLICA IDENTITY DEFAULT, or USING another unique index",
    ),
    "generated_in_identity": (
        "a generated column is part of the replica identity, which the stream does not carry (18 would refuse the UPDATE): "
        + _ONLY_SNAPSHOTS,
        "choose a replica identity without generated columns",
    ),
}


def table_findings(facts: Facts) -> Iterator[Finding]:
    """Rights first, then how tables are captured."""
    yield from _rights(facts)
    named = {table.oid: f"{table.schema}.{table.name}" for table in facts.observed.catalog.tables}
    for cause, (reason, remedy) in _INSERT_ONLY.items():
        if tables := [named[oid] for oid, found in facts.observed.causes.items() if found == cause]:
            yield Finding(cause, several("table", tables), reason, remedy, "warning")
    if tables := [named[oid] for oid, found in facts.observed.causes.items() if found == "unlogged"]:
        yield Finding(
            "unlogged",
            several("table", tables),
            "unlogged tables have no history: their rows are not captured",
            "ALTER TABLE … SET LOGGED",
            "warning",
        )
    yield from _redacted(facts, named)
    if columns := _columns(facts, lambda _, column: column.generated == "v"):
        yield Finding(
            "set_expression",
            several("column", columns),
            "the server refuses ALTER TABLE … SET EXPRESSION for virtual generated columns of members of a publication",
            "in the same transaction first ALTER PUBLICATION … DROP TABLE; the table is published and copied again",
            "note",
        )
    if facts.toasted:
        size = sum(facts.toasted.values()) >> 20
        yield Finding(
            "full_toast",
            several("table", [named[oid] for oid in facts.toasted]),
            f"REPLICA IDENTITY FULL with {size} MiB in TOAST: every UPDATE writes the whole old row to the WAL",
            "use a primary key as the identity: the journal is as exact with it",
            "warning",
        )
    if facts.observed.catalog.computed:
        yield Finding(
            "computed_anew",
            several("column", facts.observed.catalog.computed),
            "generated columns that call functions of users are computed anew by a restore: after CREATE OR REPLACE FUNCTION older rows"
            " come back with other values",
            "rewrite the rows after such a change (UPDATE … SET a = a), or keep the values in ordinary columns",
            "note",
        )
    if columns := _columns(facts, lambda table, column: column.attnum in table.naming):
        yield Finding(
            "object_names",
            several("column", columns),
            "values of reg… types and aclitem, and of types that hold them, are captured as names: after a RENAME of what they name, older"
            " rows cannot be restored, or name another",
            "store names as text or numbers as oid",
            "warning",
        )


_NEEDED = (
    "a column in `redact` is NOT NULL, or part of a key, of the replica identity or of a partition key, or no other column is left:"
    " without it rows could not be told apart or put back"
)
_FULL = "REPLICA IDENTITY FULL sends whole old rows, and the server refuses UPDATE and DELETE where a column of `redact` is left out"
_TOO_MUCH: dict[Cause, tuple[str, str]] = {
    "redacted_needed": (_NEEDED, "take the column out of `redact`, or drop its NOT NULL, or name the table in `exclude_tables`"),
    "redacted_full": (_FULL, "ALTER TABLE … REPLICA IDENTITY DEFAULT with a primary key, or name the table in `exclude_tables`"),
}
"""Why a table cannot be captured without what is to be hidden."""


def _redacted(facts: Facts, named: dict[int, str]) -> Iterator[Finding]:
    tables_now = {table.oid: table for table in facts.observed.catalog.tables}
    for cause, (reason, remedy) in _TOO_MUCH.items():
        found = [oid for oid, why in facts.observed.causes.items() if why == cause]
        # What came to be so must not end a history whose slot keeps WAL meanwhile: such a table is left alone.
        later = [oid for oid in found if _is_left_alone(facts, tables_now[oid])]
        if later:
            yield Finding(cause, several("table", [named[oid] for oid in later]), f"not captured: {reason}", remedy, "warning")
        if tables := [named[oid] for oid in found if oid not in later]:
            yield Finding(cause, several("table", tables), reason, remedy)
    listed = [named[table.oid] for table in facts.observed.catalog.tables if table.listed]
    if listed:
        yield Finding(
            "column_lists",
            several("table", listed),
            "they are published by a list of columns, for `redact`: the server then refuses ALTER TABLE … DROP COLUMN and ALTER COLUMN …"
            " TYPE of columns in the list, and UPDATE and DELETE after REPLICA IDENTITY FULL until the archiver has noticed it",
            "in the same transaction first ALTER PUBLICATION … DROP TABLE; the table is published and copied again",
            "note",
        )


def _is_left_alone(facts: Facts, table: Table) -> bool:
    """Whether too much of ``table`` is hidden by what was done to the database, not by a line that was written just now."""
    if facts.before is None or facts.before.catalog is None:
        return False
    journaled = facts.before.catalog.tables
    old = next((each for each in journaled if each.oid == table.oid), None)
    if old is not None and old.redacted:
        return True
    if not facts.slot_exists:
        return False
    if old is None or old.mode == "excluded" or (old.schema, old.name) != (table.schema, table.name):
        return True
    known = {each.line for one in journaled for each in one.redacted}
    names = {column.attnum: column.name for column in table.columns}
    captured = {column.attnum: column.name for column in old.carried}
    return not any(each.line not in known and captured.get(each.attnum) == names[each.attnum] for each in table.redacted)


def _columns(facts: Facts, wanted: Callable[[Table, Column], bool]) -> list[str]:
    return [
        f"{table.schema}.{table.name}.{column.name}"
        for table in facts.observed.catalog.tables
        for column in table.columns
        if table.mode != "excluded" and wanted(table, column)
    ]


def _rights(facts: Facts) -> Iterator[Finding]:
    level: Literal["refused", "warning"] = "warning" if facts.slot_exists else "refused"
    role = identifier(facts.role)
    captured = [
        (table, facts.rights[table.oid])
        for table in facts.observed.catalog.tables
        if table.mode != "excluded" and table.oid in facts.rights
    ]
    if spaces := sorted({table.schema for table, rights in captured if not rights.schema}.union(facts.hidden_schemas)):
        yield Finding(
            "schema_rights",
            several("schema", spaces),
            "USAGE is missing: its tables cannot be copied, nor all of its sequences be read",
            f"GRANT USAGE ON SCHEMA {', '.join(map(identifier, spaces))} TO {role}, or name the captured schemas in `schemas`",
            level,
        )
    if unread := [table for table, rights in captured if not rights.select]:
        names = ", ".join(identifier(table.schema, table.name) for table in unread[:SHOWN])
        yield Finding(
            "select_rights",
            several("table", [f"{table.schema}.{table.name}" for table in unread]),
            "SELECT is missing: rows cannot be copied",
            f"GRANT SELECT ON {names} TO {role}{and_others(unread)}, or name them in `exclude_tables`",
            level,
        )
    if tables := [f"{table.schema}.{table.name}" for table, rights in captured if rights.hidden_rows]:
        yield Finding(
            "row_security",
            several("table", tables),
            f"row-level security applies to {facts.role}: a copy would lack rows",
            f"ALTER ROLE {role} BYPASSRLS, or name them in `exclude_tables`",
            level,
        )
