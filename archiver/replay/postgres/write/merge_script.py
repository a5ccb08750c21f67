"""Changes of rows -> SQL that people review and run: one transaction, one line for each row, each of them refused when the row is no
longer as it was seen. Pure.

Every name and value is quoted by ``pasteable``, so none can end its quotes or its line. Nothing is found by the session's path, which stays
as it is: functions that triggers of the table call may need it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archiver.errors import Refused
from archiver.postgres.pasteable import identifier, literal
from archiver.replay.postgres.columnar.copy_text import unescape
from archiver.terminal import visible

Values = list[str | None]
"""Of one row, in the order of the columns; ``None`` is NULL."""

_SETTINGS = {
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "row_security": "off",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "lc_monetary": "C",
    "xmloption": "content",
    "array_nulls": "on",
}
"""Values are read and compared as they were written."""
_QUOTE = re.compile(r'[\s",()\\]', re.ASCII)


@dataclass(frozen=True, slots=True)
class ScriptColumn:
    """A column of the table."""

    name: str
    always_identity: bool = False
    """``GENERATED ALWAYS AS IDENTITY``: an UPDATE cannot set it."""
    names_others: bool = False
    """Its text depends on names of the moment, and on the session's path: it does not tell whether a row is as it was seen."""


@dataclass(frozen=True, slots=True)
class ScriptTable:
    """The table that a script changes."""

    schema: str
    name: str
    only: bool
    """Tables that inherit from it are others."""
    columns: list[ScriptColumn]
    key: Mapping[str, tuple[str, str]]
    """By column: schema and name of the operator by which the key's index finds a value."""
    layout: list[str]
    """``name oid-of-type modifier`` of all columns, generated ones too, in order."""


def values_of(line: bytes, table: ScriptTable) -> Values:
    """The row of a line of COPY text. ``Refused`` for bytes that are no text: they cannot stand in a script."""
    found: Values = []
    for column, stored in zip(table.columns, line.split(b"\t"), strict=True):
        value = unescape(stored)
        try:
            found.append(None if value is None else value.decode())
        except UnicodeDecodeError:
            raise Refused(
                f"{table.schema}.{table.name}: a value of column {column.name} is no UTF-8",
                hint="restore the table beside with --into-schema",
            ) from None
    return found


def head(table: ScriptTable, facts: Sequence[tuple[str, str]]) -> str:
    """Up to the first row. ``facts``: for whoever reviews it."""
    name = _name(table)
    lines = [f"-- {_comment(what)}: {_comment(said)}" for what, said in facts]
    lines += [
        "-- Nothing is changed before COMMIT; with ROLLBACK in its place it is a rehearsal. A line fails when its row is not as seen.",
        "-- Run it with: psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f THIS-FILE",
        "",
        "BEGIN;",
        *(f"SET LOCAL {setting} = {literal(value)};" for setting, value in _SETTINGS.items()),
        f"LOCK TABLE {_only(table)}{name} IN SHARE ROW EXCLUSIVE MODE;",
        "SET CONSTRAINTS ALL DEFERRED;",
        _same_columns(table),
        "",
    ]
    return "\n".join(lines) + "\n"


FOOT = "\nCOMMIT;\n"


def delete(table: ScriptTable, live: Values) -> str:
    """Takes a row away."""
    return _checked(f"DELETE FROM {_only(table)}{_name(table)} AS live WHERE {_as_seen(table, live)} RETURNING 1", "deleted", table, live)


def update(table: ScriptTable, past: Values, live: Values) -> str:
    """Sets what differs. ``Refused`` for a column that no UPDATE can set."""
    changed = differing(table, past, live)
    for column in changed:
        if column.always_identity:
            raise Refused(
                f"{table.schema}.{table.name}: {column.name} is GENERATED ALWAYS AS IDENTITY and differs, and no UPDATE can set it",
                hint="restore the table beside with --into-schema, and write the statements yourself",
            )
    by_name = dict(zip((column.name for column in table.columns), past, strict=True))
    to = ", ".join(f"{identifier(column.name)} = {_literal(by_name[column.name])}" for column in changed)
    was = dict(zip((column.name for column in table.columns), live, strict=True))
    told = ", ".join(f"{column.name}: {_short(was[column.name])}" for column in changed)
    statement = f"UPDATE {_only(table)}{_name(table)} AS live SET {to} WHERE {_as_seen(table, live)} RETURNING 1"
    return f"-- was {_comment(told)}\n{_checked(statement, 'updated', table, live)}"


def insert(table: ScriptTable, past: Values) -> str:
    """Brings a row."""
    columns = ", ".join(identifier(column.name) for column in table.columns)
    values = ", ".join(map(_literal, past))
    statement = f"INSERT INTO {_name(table)} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({values}) RETURNING 1"
    return _checked(statement, "inserted", table, past)


def differing(table: ScriptTable, past: Values, live: Values) -> list[ScriptColumn]:
    """The columns in which two rows differ."""
    return [column for column, one, other in zip(table.columns, past, live, strict=True) if one != other]


def key_of(table: ScriptTable, row: Values) -> str:
    """For people."""
    return ", ".join(f"{column.name}={_short(value)}" for column, value in zip(table.columns, row, strict=True) if column.name in table.key)


def _checked(statement: str, word: str, table: ScriptTable, row: Values) -> str:
    """It must touch one row; a failing cast says which it was, in any client."""
    said = f" rows were {word}, not 1: {table.schema}.{table.name} {key_of(table, row)} is not as it was seen, or a trigger kept it"
    return (
        f"WITH done AS ({statement}) SELECT CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.=) 1 THEN 1"
        f" ELSE CAST(pg_catalog.concat(pg_catalog.count(*), {literal(said)}) AS pg_catalog.int4) END AS {word} FROM done;\n"
    )


def _as_seen(table: ScriptTable, live: Values) -> str:
    """By its key, and by a hash of the whole row as the server writes it."""
    key = [
        f"live.{identifier(column.name)} OPERATOR({identifier(table.key[column.name][0])}.{table.key[column.name][1]}) {_literal(value)}"
        for column, value in zip(table.columns, live, strict=True)
        if column.name in table.key
    ]
    stable = [(column, value) for column, value in zip(table.columns, live, strict=True) if not column.names_others]
    row = ", ".join(f"live.{identifier(column.name)}" for column, _ in stable)
    seen = hashlib.sha256(row_text([value for _, value in stable]).encode()).hexdigest()
    hashed = f"pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(CAST(ROW({row}) AS pg_catalog.text), 'UTF8')), 'hex')"
    return " AND ".join([*key, f"{hashed} OPERATOR(pg_catalog.=) '{seen}'"])


def row_text(row: Values) -> str:
    """As the server writes a row that is a value (manual, "Composite Types": what is quoted)."""
    return f"({','.join(map(_within_row, row))})"


def _within_row(value: str | None) -> str:
    if value is None:
        return ""
    if value and not _QUOTE.search(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '""') + '"'


def _same_columns(table: ScriptTable) -> str:
    """Ends the transaction when the table has other columns by then."""
    name = literal(".".join('"' + part.replace('"', '""') + '"' for part in (table.schema, table.name)))
    expected = ", ".join(map(literal, table.layout))
    return (
        "SELECT CASE WHEN ARRAY(SELECT pg_catalog.concat(a.attname, ' ', a.atttypid::pg_catalog.int8, ' ', a.atttypmod)"
        f" FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) {name}::pg_catalog.regclass"
        " AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped ORDER BY a.attnum)"
        f" OPERATOR(pg_catalog.=) ARRAY[{expected}]::pg_catalog.text[] THEN 1 ELSE CAST(pg_catalog.concat("
        f"'the columns are not those that were seen: ', pg_catalog.now()) AS pg_catalog.int4) END AS columns;"
    )


def _literal(value: str | None) -> str:
    return "NULL" if value is None else literal(value)


def _name(table: ScriptTable) -> str:
    return identifier(table.schema, table.name)


def _only(table: ScriptTable) -> str:
    return "ONLY " if table.only else ""


def _short(value: str | None) -> str:
    if value is None:
        return "NULL"
    return repr(value) if len(value) <= 60 else f"{value[:57]!r}… ({len(value)} characters)"


def _comment(text: str) -> str:
    """On one line, with nothing hidden in it."""
    return visible(text)
