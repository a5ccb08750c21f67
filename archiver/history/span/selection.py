"""Which changes are asked for. Pure.

What is said of rows chooses among rows, what is said of objects among objects. Where only one of them is said, the other is not asked for.
What is not known of a source is told whatever is asked for of it; what is not known of one table, where its rows may be asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from archiver.errors import Invalid
from archiver.history.span.changes import DOUBTS, OBJECT, OPERATIONS, ROW, TABLE, Change, key_label, object_label
from archiver.history.span.key_patterns import may_match


class Selection(msgspec.Struct, frozen=True):
    """Empty: everything. Several of one sort: any of them."""

    sources: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    """``schema.table``; those that are within it too."""
    transactions: frozenset[int] = frozenset()
    kinds: frozenset[str] = frozenset()
    """``plural`` or ``plural.group``."""
    namespaces: frozenset[str] = frozenset()
    managers: frozenset[str] = frozenset()
    """As clients called themselves."""
    operations: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    """Patterns with ``*`` and ``?`` for ``column=value`` of a row, or ``namespace/name`` of an object."""

    def __post_init__(self) -> None:
        """``Invalid`` for an operation that there is not."""
        for operation in sorted(self.operations - set(OPERATIONS)):
            raise Invalid(f"there is no operation {operation!r}", hint=f"one of: {', '.join(OPERATIONS)}")

    @property
    def rows(self) -> bool:
        """Whether rows and tables are asked for."""
        return bool(self.tables or self.transactions) or not self.of_objects

    @property
    def objects(self) -> bool:
        """Whether objects are."""
        return self.of_objects or not (self.tables or self.transactions)

    @property
    def of_objects(self) -> bool:
        """Whether something is said of objects."""
        return bool(self.kinds or self.namespaces or self.managers)

    def of_one_sort(self) -> Iterator[tuple[Literal["rows", "objects"], str]]:
        """What is said that is about rows only, or about objects only, as an option of ``archiver log``."""
        for option, said in (("--kind", self.kinds), ("--namespace", self.namespaces), ("--manager", self.managers)):
            if said:
                yield "objects", option
        for option, of_rows in (("--table", self.tables), ("--transaction", self.transactions)):
            if of_rows:
                yield "rows", option
        for operation in sorted(self.operations):
            if operation in OBJECT:
                yield "objects", f"--operation {operation}"
            elif operation in ROW or operation in TABLE:
                yield "rows", f"--operation {operation}"

    def source(self, name: str) -> bool:
        """Whether it is asked about. ``name`` as in the settings."""
        return not self.sources or name in self.sources

    def table(self, *names: str) -> bool:
        """Whether rows of a table may be asked for. ``names``: its own, and those of the tables that it is within."""
        return self.rows and (not self.tables or not self.tables.isdisjoint(names))

    def row_of(self, columns: Sequence[str]) -> bool:
        """Whether a row that these columns identify may be asked for, whatever is in them."""
        return not self.keys or any(may_match(pattern, columns) for pattern in self.keys)

    def kind(self, kind: str) -> bool:
        """Whether objects of ``plural.group`` may be."""
        return self.objects and (not self.kinds or kind in self.kinds or kind.partition(".")[0] in self.kinds)

    def object(self, namespace: str, name: str) -> bool:
        """Whether this object may be."""
        return (not self.namespaces or namespace in self.namespaces) and self._matches(object_label(namespace, name))

    def shows(self, change: Change, *, attributed: bool = True) -> bool:
        """Whether a change is asked for. ``attributed``: false where anybody may have made it, for all that can be read."""
        if change.source and not self.source(change.source):
            return False
        if change.operation in DOUBTS:
            return self.objects if change.kind else True
        if self.operations and change.operation not in self.operations:
            return False
        if change.kind:
            return self.kind(change.kind) and self._shows_object(change, attributed)
        return self._shows_row(change)

    def _shows_object(self, change: Change, attributed: bool) -> bool:
        if not change.name:
            return not (self.namespaces or self.managers or self.keys)
        by = change.field_manager.rpartition(" (")[0] or change.field_manager
        return (not self.managers or not attributed or by in self.managers) and self.object(change.namespace, change.name)

    def _shows_row(self, change: Change) -> bool:
        if not self.table(change.table, *change.within):
            return False
        if self.transactions and change.transaction not in self.transactions:
            return False
        return not self.keys or (bool(change.key) and self._matches(key_label(change.key)))

    def _matches(self, text: str) -> bool:
        return not self.keys or any(fnmatchcase(text, pattern) for pattern in self.keys)
