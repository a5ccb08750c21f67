"""What a restore could not bring back, as one file of SQL: to be mended and run by hand."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from psycopg import sql

from archiver import disk
from archiver.errors import ArchiverError
from archiver.postgres.records import Table
from archiver.replay.postgres.plan.plan import LeftOutItem

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SPOOLED = 4 << 20
"""Bytes of one table's rows that are kept in memory."""
_SETTINGS = """SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET check_function_bodies = off;
SET search_path = '';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET lc_monetary = 'C';
SET timezone = 'UTC';
"""
_KNOWS_RESTRICT = r"""\set archiver_stop :ON_ERROR_STOP
\set ON_ERROR_STOP on
\restrict known
\unrestrict known
\set ON_ERROR_STOP :archiver_stop
"""


class LeftOutFile:
    """Rows are gathered while the restore runs; the file is written at its end, if there is anything to write. ``close`` it."""

    def __init__(self, folder: Path | None, source: str) -> None:
        """``folder``: None for the system's folder of temporary files. Raises as ``disk.explained`` for one that cannot be
        written.
        """
        self._folder = folder or Path(tempfile.gettempdir())
        self._name = f"left-out-{_UNSAFE.sub('_', source)}"
        self._rows: dict[str, tuple[str, IO[bytes]]] = {}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise self._explained(error, "another folder for what is left out is named with --left-out") from None

    def rows(self, table: Table, columns: Sequence[str]) -> IO[bytes]:
        """Where to write the lines of COPY text that ``table`` did not take."""
        key = sql.Identifier(table.schema, table.name).as_string(None)
        if key not in self._rows:
            names = sql.SQL(", ").join(map(sql.Identifier, columns)).as_string(None)
            lines = tempfile.SpooledTemporaryFile(_SPOOLED)  # noqa: SIM115
            self._rows[key] = (f"COPY {key}{f' ({names})' if names else ''} FROM stdin;\n", lines)
        return self._rows[key][1]

    def close(self) -> None:
        """Forget the rows."""
        for _, lines in self._rows.values():
            lines.close()

    def write(self, title: str, before: Sequence[LeftOutItem], rows: Sequence[LeftOutItem], after: Sequence[LeftOutItem]) -> str:
        """The file's path; empty when there is nothing. ``before``: what rows need; ``after``: what needs rows.

        Raises as ``disk.explained`` when it cannot be written; then there is no file.
        """
        if not (before or rows or after):
            return ""
        path: Path | None = None
        try:
            path, file = self._new()
            with file:
                key = secrets.token_hex(16)
                file.write(f"-- {_comment(title)}\n-- Mend what each reason names, then: psql -f {path.name}\n\n".encode())
                # Nothing in it is a command for psql itself. One that does not know the word must not go on.
                file.write(f"{_KNOWS_RESTRICT}\\restrict {key}\n{_SETTINGS}".encode())
                for each in before:
                    file.write(_item(each))
                for each in rows:
                    file.write(f"\n-- {_comment(str(each))}\n".encode("utf-8", "replace"))
                for head, lines in self._rows.values():
                    file.write(head.encode("utf-8", "surrogateescape"))
                    lines.seek(0)
                    shutil.copyfileobj(lines, file)
                    file.write(b"\\.\n")
                for each in after:
                    file.write(_item(each))
                file.write(f"\n\\unrestrict {key}\n".encode())
        except OSError as error:
            if path is not None:
                # Half of it would be taken for all.
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            raise self._explained(error, "nothing was changed; another folder is named with --left-out") from None
        return str(path)

    def _explained(self, error: OSError, after: str) -> ArchiverError:
        found = disk.explained(error, "write what is left out", self._folder)
        return type(found)(found.message, hint=f"{found.hint}; {after}")

    def _new(self) -> tuple[Path, IO[bytes]]:
        number = 1
        while True:
            path = self._folder / (f"{self._name}.sql" if number == 1 else f"{self._name}-{number}.sql")
            with contextlib.suppress(FileExistsError):
                return path, path.open("xb")
            number += 1


def printable(each: LeftOutItem) -> LeftOutItem:
    """The same without bytes that are no text."""
    name, reason, script = (
        text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for text in (each.name, each.reason, each.sql)
    )
    return LeftOutItem(name, reason, script, each.rows)


def _item(each: LeftOutItem) -> bytes:
    return f"\n-- {_comment(str(each))}\n{each.sql}".encode("utf-8", "surrogateescape")


def _comment(text: str) -> str:
    """On one line: a name may hold anything."""
    return _CONTROL.sub("?", text)
