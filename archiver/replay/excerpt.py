"""What of a database is wanted, where that is not all of it, and what becomes of it. Nothing is opened here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from archiver.errors import Invalid
from archiver.postgres.table_names import parse_table

_LONGEST_NAME = 63
"""Bytes; PostgreSQL cuts what is longer."""


class Excerpt(msgspec.Struct, frozen=True):
    """Tables, or all tables of schemas, or rows of one table by values of its key."""

    tables: list[tuple[str, str]]
    """Schema and name, as at the point."""
    schemas: list[str]
    rows: dict[str, list[str]] = {}
    """By column the values, as PostgreSQL prints them: a row is meant if each of these columns has one of its values. Empty: all rows."""
    into_schema: str = ""
    """A schema that is made for them."""
    merge_script: Path | None = None
    """File for SQL that makes the live table's rows those of the point."""

    @classmethod
    def parse(
        cls, tables: Sequence[str], schemas: Sequence[str], rows: Sequence[str], into_schema: str, merge_script: Path | None
    ) -> Excerpt | None:
        """What the options of a command say; ``None``: all of the database is wanted. ``Invalid`` for what does not go together."""
        for text in (*tables, *schemas, *rows, into_schema):
            if text.encode("utf-8", "replace").decode() != text:
                raise Invalid("a name or value is no UTF-8", hint="restore the whole table with --table, under a name of its own")
        if not tables and not schemas:
            if rows or into_schema or merge_script:
                raise Invalid("it is not said of which tables", hint="give --table SCHEMA.TABLE, or --schema NAME for all of a schema")
            return None
        names = list(dict.fromkeys(map(parse_table, tables)))
        if into_schema and merge_script:
            raise Invalid("--into-schema and --merge-script are two restores", hint="give one of them")
        if (rows or merge_script) and (len(names) != 1 or schemas):
            asking = "--merge-script" if merge_script else "--rows"
            raise Invalid(f"{asking} is about one table", hint="give one --table SCHEMA.TABLE, and no --schema")
        if into_schema:
            _require_name(into_schema)
        return cls(names, list(dict.fromkeys(schemas)), _by_column(rows), into_schema, merge_script)

    @property
    def has_destination(self) -> bool:
        """Whether it is said what becomes of it."""
        return bool(self.into_schema) or self.merge_script is not None


def _by_column(rows: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in rows:
        column, sign, value = text.partition("=")
        if not sign or not column.strip():
            raise Invalid(
                "--rows is COLUMN=VALUE", hint="for example --rows id=5; again for another value of that column, or for another column"
            )
        found.setdefault(column.strip(), []).append(value.strip() if column != column.rstrip() else value)
    return found


def _require_name(schema: str) -> None:
    if len(schema.encode("utf-8", "surrogateescape")) > _LONGEST_NAME or "\0" in schema or schema.startswith("pg_"):
        raise Invalid(
            "--into-schema: PostgreSQL takes no such name",
            hint=f"at most {_LONGEST_NAME} bytes, and not beginning with pg_: it is taken as it is",
        )
