"""Which columns are kept out of the journal: lines of the settings, against the catalog of the moment and against what was hidden before.

A column is hidden by its number. The line that hid it once hides it for as long as it stands in the settings, whatever the column, or its
table, is called since: a rename brings nothing to light.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from archiver.postgres.records import Catalog, Column, RedactedColumn


class Named(NamedTuple):
    """A table as a line may name it."""

    schema: str
    name: str


class Redaction:
    """The lines of one source, and the columns that they have hidden so far. Any thread may call ``exposed``; the rest, the event loop."""

    def __init__(self, lines: Sequence[str] = ()) -> None:
        """``lines``: ``schema.table.column``; ``*`` is anything within a part."""
        self.lines = tuple(dict.fromkeys(lines))
        self._patterns = {line: _pattern(line) for line in self.lines}
        # A table may have dots in its name, and so may a column: every place to cut is one that may be meant.
        tables = [line[: dot.start()] for line in self.lines for dot in re.finditer(r"\.", line)]
        self._tables = [_pattern(table) for table in tables if "." in table]
        self.journaled: frozenset[int] | None = None
        """Tables that the journal's newest catalog hides columns of; ``None``: it has none."""
        self._hidden: dict[tuple[int, int], str] = {}
        self._names: dict[int, frozenset[str]] = {}

    def recall(self, catalog: Catalog) -> None:
        """What the journal's newest catalog hides stays hidden, whatever it is called by now."""
        self.journaled = frozenset(table.oid for table in catalog.tables if table.redacted)
        self.note(catalog)

    def note(self, catalog: Catalog) -> None:
        """Remember what is hidden in ``catalog``, and under which names."""
        hidden, names = dict(self._hidden), dict(self._names)
        for table in catalog.tables:
            found = [each for each in table.redacted if each.line in self._patterns]
            hidden |= {(table.oid, each.attnum): each.line for each in found}
            numbers = {each.attnum for each in found}
            if numbers:
                called = frozenset(column.name for column in table.columns if column.attnum in numbers)
                names[table.oid] = names.get(table.oid, frozenset()) | called
        # Replaced as a whole: the receiving thread reads it.
        self._hidden, self._names = hidden, names

    def is_about(self, line: Iterable[Named]) -> bool:
        """Whether some line names a table among ``line``: the table itself and what it inherits from."""
        return any(pattern.fullmatch(f"{each.schema}.{each.name}") for each in line for pattern in self._tables)

    def hidden(self, oid: int, line: Sequence[Named], columns: Sequence[Column]) -> list[RedactedColumn]:
        """Columns that may not be captured, of the table ``oid``; ``line`` as above, for a partition is redacted as its table is."""
        found = []
        for column in columns:
            wanted = self._line_of([f"{each.schema}.{each.name}.{column.name}" for each in line])
            if text := wanted or self._hidden.get((oid, column.attnum), ""):
                found.append(RedactedColumn(column.attnum, text))
        return found

    def exposed(self, oid: int, schema: str, table: str, columns: Iterable[str]) -> list[str]:
        """Columns among those that the server describes which it should never send."""
        if not self.lines:
            return []
        known = self._names.get(oid, frozenset())
        return [name for name in columns if name in known or self._line_of([f"{schema}.{table}.{name}"])]

    def unmatched(self, catalog: Catalog) -> list[str]:
        """Lines that hide nothing."""
        used = {each.line for table in catalog.tables for each in table.redacted}
        return [line for line in self.lines if line not in used]

    def _line_of(self, names: Sequence[str]) -> str:
        return next((line for line, pattern in self._patterns.items() if any(pattern.fullmatch(name) for name in names)), "")


def ancestors(oid: int, parents: Mapping[int, Sequence[int]]) -> list[int]:
    """The table and all that it inherits from, by one way or several."""
    found, waiting = [oid], [oid]
    while waiting:
        new = [parent for parent in parents.get(waiting.pop(), ()) if parent not in found]
        found += new
        waiting += new
    return found


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(r"[^.]*".join(re.escape(piece) for piece in text.split("*")), re.DOTALL)


def newly_hidden(journaled: Catalog, now: Catalog) -> list[str]:
    """Columns that are hidden ``now`` and are captured by the journal's newest catalog: what the server still has to send may hold them."""
    before = {table.oid: table for table in journaled.tables if table.mode != "excluded"}
    found = []
    for table in now.tables:
        if (old := before.get(table.oid)) is None:
            continue
        captured = {column.attnum for column in old.columns if not column.generated} - {each.attnum for each in old.redacted}
        names = {column.attnum: column.name for column in table.columns}
        found += [f"{table.schema}.{table.name}.{names[each.attnum]}" for each in table.redacted if each.attnum in captured]
    return found
