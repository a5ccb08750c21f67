"""One change, whatever it is of, as it is shown and handed on. Pure.

Field names are what scripts read: they are only added.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

ROW = ("insert", "update", "delete", "truncate")
OBJECT = ("added", "modified", "deleted", "listed", "absent")
TABLE = ("create", "drop", "rename", "alter", "ddl")
"""By the catalog, and as announced in the stream."""
OF_STATES = ("baseline", "copied")
"""No change: the state that was read anew."""
DOUBTS = ("gap", "clock", "unknown", "note")
"""What is not known. They are told whatever else is asked for."""
OPERATIONS = (*ROW, *TABLE, *OBJECT, *OF_STATES, *DOUBTS)


class Field(msgspec.Struct, frozen=True):
    """One field that changed: a column, or a path in an object. What was not there before, or is not there afterwards, is left out."""

    name: str
    old: Any | UnsetType = UNSET
    new: Any | UnsetType = UNSET
    old_known: bool | UnsetType = UNSET
    """False: what it was before is not known, and so it may have been the same."""


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the answer. Times are microseconds since 1970."""

    entry: int
    """Number of the entry that says so."""
    at: int
    """``--at`` this number gives the state with it: for a row, after its whole transaction."""
    time: int
    """Of a transaction, its commit by the server's clock; of everything else when it was received by the archiver's, or taken."""
    source: str
    operation: str
    """One of ``OPERATIONS``."""
    table: str = ""
    """``schema.table``, as it was called then."""
    within: list[str] = []
    """The tables that it is a partition of, or inherits from, the nearest first."""
    kind: str = ""
    """``plural.group``."""
    namespace: str = ""
    name: str = ""
    key: dict[str, str | None] = {}
    """What identifies the row; all of the old row where its table has no key."""
    fields: list[Field] = []
    transaction: int = 0
    """xid, 32 bits."""
    lsn: str = ""
    """Where the transaction ends."""
    field_manager: str = ""
    """As the client called itself, and how it wrote. Empty where nobody said it: a deletion's is not known."""
    uid: str = ""
    resource_version: str = ""
    happened_from: int = 0
    """It happened at this time or later, by what the object says of itself, where nobody watched then."""
    happened_until: int = 0
    """And before this time; 0: that is not told."""
    late: bool = False
    """It came when something newer was known already: history, and no news."""
    detail: str = ""
    user: str = ""
    """By the API server's audit log, where one is given: whose requests alone can have made it. Empty: not known, or not certain."""

    @property
    def what(self) -> str:
        """The row, object or table, for people."""
        if self.kind:
            return f"{self.kind} {object_label(self.namespace, self.name)}".strip()
        return f"{self.table} {key_label(self.key)}".strip()


def key_label(key: dict[str, str | None]) -> str:
    """``id=5, part=a``."""
    return ", ".join(f"{name}={'NULL' if value is None else value}" for name, value in key.items())


def object_label(namespace: str, name: str) -> str:
    """``namespace/name``."""
    return f"{namespace}/{name}" if namespace else name
