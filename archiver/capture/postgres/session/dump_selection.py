"""What pg_dump shall dump, told in a way that has room for any number of names. Pure.

A command line has room for some thousands: a database with more tables that must be named could not be dumped any more, and anyone who may
create tables could bring that about. So tables are named together by what their names begin with and no other's does; and from version 17
on pg_dump reads names from its standard input.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from psycopg import sql

from archiver.errors import Refused

FILTER_VERSION = 17
"""The first pg_dump that knows ``--filter``."""
ARGUMENT_BYTES = 1 << 20
"""All names on a command line. Linux takes 2 MiB with the environment."""


class Tables(NamedTuple):
    """One table of a schema, or all relations whose names begin with ``name``."""

    schema: str
    name: str
    beginning: bool = False

    @property
    def pattern(self) -> str:
        """As pg_dump reads it."""
        if not self.beginning:
            return _quoted(self.schema, self.name)
        return f"{_quoted(self.schema)}.{_quoted(self.name) if self.name else ''}*"


def covering(tables: Iterable[tuple[str, str]], others: Iterable[tuple[str, str]]) -> list[Tables]:
    """As few patterns as easily found that match all of ``tables`` and none of ``others`` (schema and name)."""
    kept: dict[str, list[str]] = defaultdict(list)
    for schema, name in sorted(others):
        kept[schema].append(name)
    return sorted({_pattern(schema, name, kept[schema]) for schema, name in tables})


def _pattern(schema: str, name: str, others: Sequence[str]) -> Tables:
    """``others``: sorted; those that share most with ``name`` stand beside the place that it would have."""
    place = bisect_left(others, name)
    shared = max((_common(name, other) for other in others[max(0, place - 1) : place + 1]), default=-1)
    return Tables(schema, name) if shared >= len(name) else Tables(schema, name[: shared + 1], beginning=True)


def _common(one: str, other: str) -> int:
    return next((at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), min(len(one), len(other)))


@dataclass(frozen=True)
class DumpSelection:
    """Names, as they are; no ``schemas``: all of them."""

    schemas: Sequence[str] = ()
    extensions: Sequence[str] = ()
    """With ``schemas``; without them all go along by themselves."""
    without_schemas: Sequence[str] = ()
    without_tables: Sequence[Tables] = ()

    def told(self, version: int) -> tuple[list[str], bytes | None]:
        """Arguments for pg_dump of major ``version``, and its standard input. ``Refused`` when there is no room for so many names."""
        if version >= FILTER_VERSION:
            return ["--filter=-"], "".join(f"{line}\n" for line in self._lines()).encode()
        arguments = [
            *(f"--schema={_quoted(name)}" for name in self.schemas),
            *(f"--extension={_quoted(name)}" for name in self.extensions),
            *(f"--exclude-schema={_quoted(name)}" for name in self.without_schemas),
            *(f"--exclude-table={tables.pattern}" for tables in self.without_tables),
        ]
        if sum(len(argument.encode()) + 9 for argument in arguments) > ARGUMENT_BYTES:
            raise Refused(
                f"pg_dump {version} has no room for the names of so many tables ({len(self.without_tables)}) and schemas"
                f" ({len(self.without_schemas)}) that may not be read",
                hint=f"install the PostgreSQL client programs, version {FILTER_VERSION} or newer, or let the role read the tables",
            )
        return arguments, None

    def _lines(self) -> Iterator[str]:
        yield from (f"include schema {_quoted(name)}" for name in self.schemas)
        yield from (f"include extension {_quoted(name)}" for name in self.extensions)
        yield from (f"exclude schema {_quoted(name)}" for name in self.without_schemas)
        yield from (f"exclude table {tables.pattern}" for tables in self.without_tables)


def _quoted(*names: str) -> str:
    return sql.Identifier(*names).as_string(None)
