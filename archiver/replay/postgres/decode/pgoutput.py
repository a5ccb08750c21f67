"""One pgoutput message at a time: control messages, relations, and rows for history. The fold of whole batches does not come here.

Messages begin at their type byte; the 25 bytes of the XLogData header are off. Text mode, protocol versions 1 to 4 without two_phase.
Layouts: PostgreSQL manual, "Logical Replication Message Formats". Column values stay bytes: a UTF-8 database can hold text
that is not UTF-8.
"""

from __future__ import annotations

from typing import Final

import msgspec

from archiver.errors import Corrupt


class Unchanged(msgspec.Struct, frozen=True):
    """The one value of its type: a TOASTed value that the update left alone, so that the message does not carry it."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged()

Value = bytes | None | Unchanged
Row = tuple[Value, ...]


class RelationColumn(msgspec.Struct, frozen=True):
    """One published column, in attnum order."""

    name: str
    type_oid: int
    typmod: int
    key: bool
    """Part of the replica identity."""


class Relation(msgspec.Struct, frozen=True):
    """What the columns of the following rows are."""

    oid: int
    schema: str
    name: str
    identity: str
    """``relreplident``: d default, n nothing, f full, i index."""
    columns: tuple[RelationColumn, ...]


class Insert(msgspec.Struct, frozen=True):
    """A new row."""

    oid: int
    new: Row


class Update(msgspec.Struct, frozen=True):
    """A changed row. ``old`` is there when the key changed (key columns only, others None) or, with identity full, always."""

    oid: int
    new: Row
    old: Row | None
    full: bool
    """``old`` is the whole row."""


class Delete(msgspec.Struct, frozen=True):
    """A deleted row; ``old`` as in Update."""

    oid: int
    old: Row
    full: bool


class Truncate(msgspec.Struct, frozen=True):
    """Tables emptied together."""

    oids: tuple[int, ...]
    cascade: bool
    restart_identity: bool


class Message(msgspec.Struct, frozen=True):
    """``pg_logical_emit_message``."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


class _Cursor:
    """Reads one message from the front; ``Corrupt`` beyond its end."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def take(self, length: int) -> bytes:
        found = self.data[self.at : self.at + length]
        if len(found) != length:
            raise Corrupt("a message ends too early")
        self.at += length
        return found

    def number(self, length: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(length), "big", signed=signed)

    def text(self) -> str:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise Corrupt("a message ends too early")
        found = self.data[self.at : end]
        self.at = end + 1
        return found.decode("utf-8", "surrogateescape")

    def row(self) -> Row:
        return tuple(self.value() for _ in range(self.number(2)))

    def value(self) -> Value:
        kind = self.take(1)
        if kind == b"t":
            return self.take(self.number(4))
        if kind == b"n":
            return None
        if kind == b"u":
            return UNCHANGED
        raise Corrupt("a row holds a column of an unknown kind", hint="only text mode is understood")

    def marker(self, allowed: bytes) -> bytes:
        found = self.take(1)
        if found not in allowed:
            raise Corrupt("a row begins with an unknown mark")
        return found


def decode(message: bytes, *, streamed: bool) -> Relation | Insert | Update | Delete | Truncate | Message | None:
    """One message of a transaction's content; None for kinds that say nothing here (Type, Origin).

    ``streamed``: it came between Stream Start and Stop, so that an xid stands behind the type byte.
    """
    cursor = _Cursor(message, 5 if streamed else 1)
    kind = message[:1]
    if kind == b"I":
        oid = cursor.number(4)
        cursor.marker(b"N")
        return Insert(oid, cursor.row())
    if kind == b"U":
        return _update(cursor)
    if kind == b"D":
        oid = cursor.number(4)
        full = cursor.marker(b"KO") == b"O"
        return Delete(oid, cursor.row(), full)
    if kind == b"T":
        count, options = cursor.number(4), cursor.number(1)
        return Truncate(tuple(cursor.number(4) for _ in range(count)), bool(options & 1), bool(options & 2))
    if kind == b"R":
        return _relation(cursor)
    if kind == b"M":
        flags, lsn, prefix = cursor.number(1), cursor.number(8), cursor.text()
        return Message(bool(flags & 1), lsn, prefix, cursor.take(cursor.number(4)))
    return None


def _update(cursor: _Cursor) -> Update:
    oid = cursor.number(4)
    old, full = None, False
    marker = cursor.marker(b"KON")
    if marker != b"N":
        old, full = cursor.row(), marker == b"O"
        cursor.marker(b"N")
    return Update(oid, cursor.row(), old, full)


def _relation(cursor: _Cursor) -> Relation:
    oid, schema, name = cursor.number(4), cursor.text(), cursor.text()
    identity = cursor.take(1).decode("ascii", "replace")
    columns = []
    for _ in range(cursor.number(2)):
        flags = cursor.number(1)
        columns.append(RelationColumn(cursor.text(), cursor.number(4), cursor.number(4, signed=True), bool(flags & 1)))
    return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns))
