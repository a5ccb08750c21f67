"""Rows of the past beside those that live, by key: which would be inserted, updated, deleted.

Both are COPY text with the same columns in the same order. They meet in a file of SQLite's without a name, in the temporary folder, so
that a table of any size takes little memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

from archiver.errors import Refused, Unavailable

Do = Literal["delete", "update", "insert"]

_SCRIPT = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -32768;
CREATE TABLE past (key BLOB PRIMARY KEY, line BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE now (key BLOB PRIMARY KEY, line BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE found (do INTEGER NOT NULL, key BLOB NOT NULL, past BLOB, live BLOB, PRIMARY KEY (do, key)) WITHOUT ROWID;
"""
_DELETE, _UPDATE = 0, 1

_GONE = "INSERT INTO found SELECT ?, key, NULL, line FROM now WHERE key NOT IN (SELECT key FROM past)"
_OTHER = "INSERT INTO found SELECT ?, key, past.line, now.line FROM now JOIN past USING (key) WHERE past.line <> now.line"
_MET = "DELETE FROM past WHERE key IN (SELECT key FROM now)"


class Change(NamedTuple):
    """One row that differs. Lines are COPY text without their newline."""

    do: Do
    past: bytes
    """Empty: it was not there."""
    live: bytes
    """Empty: it is not there."""


class Counts(NamedTuple):
    """How many rows."""

    inserted: int
    updated: int
    deleted: int
    unchanged: int


class RowComparison:
    """First all rows of the past, then those that live; then ask. Of one thread; ``close`` it."""

    def __init__(self, table: str, key: Sequence[int]) -> None:
        """``table``: for people. ``key``: places of the key's columns in a line."""
        self._table, self._key = table, list(key)
        self._unchanged = 0
        # Without a name: a file that goes with the connection, made only when memory is full.
        self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._file.executescript(_SCRIPT)
        self._file.execute("BEGIN")

    def close(self) -> None:
        """Forget everything."""
        self._file.close()

    def add_past(self, text: bytes) -> None:
        """Whole lines of the past. ``Refused`` when two rows have one key, or one has none."""
        with self._room():
            try:
                self._file.executemany("INSERT INTO past VALUES (?, ?)", ((self._key_of(line), line) for line in text.split(b"\n")[:-1]))
            except sqlite3.IntegrityError:
                raise Refused(
                    f"rows of {self._table} at the point share a key: what is the primary key now was none then",
                    hint="restore the table beside with --into-schema, and compare there",
                ) from None

    def add_live(self, lines: Sequence[bytes]) -> None:
        """Lines that live, with their newlines. After all of the past."""
        with self._room():
            self._file.executemany("INSERT INTO now VALUES (?, ?)", ((self._key_of(line[:-1]), line[:-1]) for line in lines))
            self._file.execute(_GONE, (_DELETE,))
            other = self._file.execute(_OTHER, (_UPDATE,)).rowcount
            self._unchanged += self._file.execute(_MET).rowcount - other
            self._file.execute("DELETE FROM now")

    def counts(self) -> Counts:
        """Of all rows."""
        deleted, updated = (self._count("found WHERE do = ?", do) for do in (_DELETE, _UPDATE))
        return Counts(self._count("past"), updated, deleted, self._unchanged)

    def changes(self) -> Iterator[Change]:
        """Rows that are gone first, since they can stand in the way of others; then those that change, then those that come."""
        with self._room():
            for do, past, live in self._file.execute("SELECT do, past, live FROM found ORDER BY do, key"):
                yield Change("delete" if do == _DELETE else "update", past or b"", live)
            for (line,) in self._file.execute("SELECT line FROM past ORDER BY key"):
                yield Change("insert", line, b"")

    def _count(self, what: str, *values: int) -> int:
        return int(self._file.execute(f"SELECT count(*) FROM {what}", values).fetchone()[0])

    def _key_of(self, line: bytes) -> bytes:
        values = line.split(b"\t")
        return b"\t".join([values[place] for place in self._key])

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DataError as error:
            raise Refused(
                f"a row of {self._table} is too large to be compared", hint="restore the table beside with --into-schema"
            ) from error
        except sqlite3.OperationalError as error:
            raise Unavailable(f"comparing rows: {error}", hint="free space in the temporary folder, or name another with TMPDIR") from error
