"""The table of contents of a pg_dump in custom format: every object of the schema with its SQL, its owner and what it needs. Pure.

pg_restore prints the same SQL, but as one text, in which nothing tells for certain where an object ends: a function's body can hold the
comments that stand between objects. The layout is that of ``pg_backup_archiver.c``, ``ReadHead`` and ``ReadToc``.
"""

from __future__ import annotations

from dataclasses import dataclass

from archiver.errors import Corrupt, Refused

_OLDEST, _NEWEST = (1, 12), (1, 16)
"""Of pg_dump 9.0, and of 17 and 18."""
_CUSTOM = 1
SECTION_NONE, SECTION_PRE, SECTION_DATA, SECTION_POST = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class TocEntry:
    """One object. Texts are in the dump's own encoding."""

    number: int
    kind: bytes
    """``TABLE``, ``FK CONSTRAINT``, ``ACL``: pg_dump's own word."""
    tag: bytes
    """Its name, not quoted; of what belongs to a table: the table's and its own; of a function: with the types of its arguments."""
    section: int
    create: bytes
    drop: bytes
    """Empty for what goes with another object."""
    schema: bytes
    """Not quoted; empty for what has none."""
    access_method: bytes
    relation_kind: bytes
    """``pg_class.relkind``; empty for what is no relation, and in dumps before 17."""
    owner: bytes
    needs: tuple[int, ...]
    """Numbers of other entries."""


def read_toc(dump: bytes) -> list[TocEntry]:
    """All entries, in the order in which they can be created.

    Raises ``Corrupt`` for what is no such dump or ends early, ``Refused`` for a format newer than this program.
    """
    reader = _Reader(dump)
    reader.head()
    return [reader.entry() for _ in range(reader.count())]


class _Reader:
    def __init__(self, dump: bytes) -> None:
        self._dump, self._at = dump, 0
        self._int_size, self._offset_size = 4, 8
        self._version = (0, 0)

    def head(self) -> None:
        if self._take(5) != b"PGDMP":
            raise Corrupt("the stored schema is no dump in pg_dump's custom format", hint="run `archiver verify`")
        major, minor, _ = self._take(3)
        self._version = (major, minor)
        if not _OLDEST <= self._version <= _NEWEST:
            raise Refused(
                f"the stored schema is of dump format {major}.{minor}, and this archiver reads 1.12 to 1.16",
                hint="use a newer archiver, or restore into a folder: --to ./out",
            )
        self._int_size, self._offset_size, kind = self._take(3)
        if kind != _CUSTOM or not 1 <= self._int_size <= 8:
            raise Corrupt("the stored schema is no dump in pg_dump's custom format", hint="run `archiver verify`")
        if self._version >= (1, 15):
            self._take(1)
        else:
            self._int()
        for _ in range(7):
            self._int()
        for _ in range(3):
            self._text()

    def count(self) -> int:
        """How many entries follow."""
        count = self._int()
        # Each takes more bytes than one: a false number ends here, and not when memory does.
        if not 0 <= count <= len(self._dump) - self._at:
            raise _ends_early()
        return count

    def entry(self) -> TocEntry:
        number, _ = self._int(), self._int()
        self._text(), self._text()
        tag, kind, section = self._text(), self._text(), self._int()
        create, drop, _ = self._text(), self._text(), self._text()
        schema, _ = self._text(), self._text()
        method = self._text() if self._version >= (1, 14) else b""
        relation = self._int() if self._version >= (1, 16) else 0
        owner, _ = self._text(), self._text()
        needs = []
        while (text := self._optional()) is not None:
            needs.append(int(text) if text.isdigit() and len(text) < 11 else 0)
        # Where its rows stand: a byte that says whether they do, and a position.
        self._take(1 + self._offset_size)
        return TocEntry(
            number, kind, tag, section, create, drop, schema, method, bytes([relation & 0xFF]) if relation else b"", owner, tuple(needs)
        )

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._dump):
            raise _ends_early()
        taken = self._dump[self._at : end]
        self._at = end
        return taken

    def _int(self) -> int:
        sign, *digits = self._take(1 + self._int_size)
        value = int.from_bytes(bytes(digits), "little")
        return -value if sign else value

    def _optional(self) -> bytes | None:
        size = self._int()
        return None if size < 0 else self._take(size)

    def _text(self) -> bytes:
        return self._optional() or b""


def _ends_early() -> Corrupt:
    return Corrupt("the stored schema ends before its table of contents does", hint="run `archiver verify`")
