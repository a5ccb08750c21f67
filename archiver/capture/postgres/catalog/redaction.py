"""Which columns are kept out of the journal: lines of the settings, against the catalog of the moment and against what was hidden before.

A column is hidden by its number. The line that hid it once hides it for as long as it stands in the settings, whatever the column, or its
table, is called since: a rename brings nothing to light. A table that is new, at this system or at another one, has new numbers: there
the name that the column had last hides it.
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


class Cut(NamedTuple):
    """A line as it may be cut: table and column. A star is anything inside its part; parts have dots where names do."""

    schema: re.Pattern[str]
    table: re.Pattern[str]
    column: re.Pattern[str]


class Before(NamedTuple):
    """What the journal said when the archiver started."""

    catalog: Catalog | None
    """The newest, if it is of the server's own system."""
    owed: frozenset[str] = frozenset()
    """Lines that hid something of another system."""


class Redaction:
    """The lines of one source, and the columns that they have hidden so far. Any thread may call ``exposed``; the rest, the event loop."""

    def __init__(self, lines: Sequence[str] = ()) -> None:
        """``lines``: ``schema.table.column``; ``*`` is anything within a part."""
        self.lines = tuple(dict.fromkeys(lines))
        self._cuts = {line: _cuts(line) for line in self.lines}
        self.before: Before | None = None
        """``None``: the journal has no catalog."""
        self._hidden: dict[tuple[int, int], str] = {}
        self._called: dict[Named, dict[str, str]] = {}
        """Tables to the columns hidden in them, as they were called last, and their lines."""
        self._names: dict[int, frozenset[str]] = {}
        self._whole: dict[frozenset[str], frozenset[str]] = {}
        """All columns that rows of a redacted partitioned table have, to those of them that are hidden."""

    def recall(self, catalog: Catalog, *, own: bool = True) -> None:
        """What the journal's newest catalog hides stays hidden, whatever it is called by now. Not ``own``: that is another system's, whose
        numbers mean nothing here, but its names do.
        """
        if own:
            self.before = Before(catalog)
            self.note(catalog)
            return
        self._hidden, self._names, self._whole = {}, {}, {}
        self._called |= self._called_in(catalog)
        used = {each.line for table in catalog.tables for each in table.redacted}
        self.before = Before(None, frozenset(used.intersection(self.lines)))

    def renew(self, catalog: Catalog) -> None:
        """A slot was made when the lists of ``catalog`` were in place: what the server described before counts no more."""
        self._names, self._whole = {}, {}
        self.note(catalog)

    def note(self, catalog: Catalog) -> None:
        """Remember what is hidden in ``catalog``, and under which names."""
        if not self.lines:
            return
        hidden, names, whole = dict(self._hidden), dict(self._names), dict(self._whole)
        for table in catalog.tables:
            found = [each for each in table.redacted if each.line in self._cuts]
            hidden |= {(table.oid, each.attnum): each.line for each in found}
            numbers = {each.attnum for each in found}
            if numbers:
                called = frozenset(column.name for column in table.columns if column.attnum in numbers)
                names[table.oid] = names.get(table.oid, frozenset()) | called
                if table.kind == "p":
                    rows = row_columns(table.columns)
                    whole[rows] = whole.get(rows, frozenset()) | called
        # Replaced as a whole: the receiving thread reads it.
        self._hidden, self._names, self._whole = hidden, names, whole
        self._called |= self._called_in(catalog)

    def _called_in(self, catalog: Catalog) -> dict[Named, dict[str, str]]:
        found = {}
        for table in catalog.tables:
            lines = {each.attnum: each.line for each in table.redacted if each.line in self._cuts}
            if lines:
                called = {column.name: lines[column.attnum] for column in table.columns if column.attnum in lines}
                found[Named(table.schema, table.name)] = called
        return found

    def is_about(self, line: Iterable[Named]) -> bool:
        """Whether some line names a table among ``line``: the table itself and what it inherits from."""
        return bool(self._patterns(line))

    def hidden(self, oid: int, line: Sequence[Named], columns: Sequence[Column]) -> list[RedactedColumn]:
        """Columns that may not be captured, of the table ``oid``; ``line`` as above, for a partition is redacted as its table is."""
        found, patterns = [], self._patterns(line)
        known = any((oid, column.attnum) in self._hidden for column in columns)
        last = {} if known or not line else self._called.get(line[0], {})
        for column in columns:
            wanted = next((text for text, pattern in patterns if pattern.fullmatch(column.name)), "") or last.get(column.name, "")
            if text := wanted or self._hidden.get((oid, column.attnum), ""):
                found.append(RedactedColumn(column.attnum, text))
        return found

    def exposed(self, oid: int, schema: str, table: str, columns: Sequence[str]) -> list[str]:
        """Columns among those that the server describes which it should never send."""
        if not self.lines:
            return []
        patterns = [pattern for _, pattern in self._patterns([Named(schema, table)])]
        known = self._names.get(oid, frozenset()) | self._whole.get(frozenset(columns), frozenset())
        return [name for name in columns if name in known or any(pattern.fullmatch(name) for pattern in patterns)]

    def unmatched(self, catalog: Catalog) -> list[str]:
        """Lines that hide nothing."""
        used = {each.line for table in catalog.tables for each in table.redacted}
        return [line for line in self.lines if line not in used]

    def _patterns(self, tables: Iterable[Named]) -> list[tuple[str, re.Pattern[str]]]:
        """The lines that name one of ``tables``, and which columns they hide of it."""
        named = list(tables)
        return [
            (line, cut.column)
            for line, cuts in self._cuts.items()
            for cut in cuts
            if any(cut.schema.fullmatch(each.schema) and cut.table.fullmatch(each.name) for each in named)
        ]


def row_columns(columns: Iterable[Column]) -> frozenset[str]:
    """The names of those that rows have when nothing is hidden."""
    return frozenset(column.name for column in columns if not column.generated)


def ancestors(oid: int, parents: Mapping[int, Sequence[int]]) -> list[int]:
    """The table and all that it inherits from, by one way or several."""
    found, waiting = [oid], [oid]
    while waiting:
        new = [parent for parent in parents.get(waiting.pop(), ()) if parent not in found]
        found += new
        waiting += new
    return found


def _cuts(line: str) -> list[Cut]:
    """A table may have dots in its name, and so may a schema and a column: every two places to cut are what may be meant."""
    dots = [dot.start() for dot in re.finditer(r"\.", line)]
    return [
        Cut(_pattern(line[:first]), _pattern(line[first + 1 : second]), _pattern(line[second + 1 :]))
        for at, first in enumerate(dots)
        for second in dots[at + 1 :]
    ]


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(piece) for piece in text.split("*")), re.DOTALL)


def newly_hidden(journaled: Catalog, now: Catalog) -> list[str]:
    """Columns that are hidden ``now``, of tables that the journal's newest catalog captures, and were not hidden or left out of a list
    then: what the server still has to send may hold them, also those that came since, under a name that no line has.
    """
    before = {table.oid: table for table in journaled.tables if table.mode != "excluded"}
    found = []
    for table in now.tables:
        if (old := before.get(table.oid)) is None:
            continue
        sent = {column.attnum for column in table.columns if not column.generated} - old.hidden
        if old.listed:
            sent &= {column.attnum for column in old.carried}
        names = {column.attnum: column.name for column in table.columns}
        found += [f"{table.schema}.{table.name}.{names[each.attnum]}" for each in table.redacted if each.attnum in sent]
    return found
