"""A stored pg_dump -> SQL in the pieces that a restore runs, by pg_restore. Nothing is executed here."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from archiver import disk
from archiver.postgres.announcements import TRIGGERS
from archiver.postgres.client_programs import PgTools, run

_OURS = re.compile(rf"(?:COMMENT - )?EVENT TRIGGER (?:- )?(?:{'|'.join(TRIGGERS)}) |COMMENT - EXTENSION ")
"""Our own event triggers do not belong to the database's state; a comment on an extension needs to own it, and CREATE EXTENSION sets it."""
_EVENT_TRIGGER = re.compile(r"(?:COMMENT - )?EVENT TRIGGER ")
_ABOUT_SCHEMA = re.compile(r"(?:ACL|COMMENT|SECURITY LABEL) - SCHEMA ")
_ENTRY = re.compile(r"\d+; \d+ \d+ (.*)")
_FIRST_ITEM = b"\n--\n-- Name: "
_RESTRICT = re.compile(rb"^\\restrict (\S+)\n", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """SQL in the encoding that its own SET client_encoding names."""

    schemas: bytes
    """What extensions need."""
    pre: bytes
    """Everything else that rows need: types, functions, tables."""
    post: bytes
    """Everything that needs rows: indexes, constraints, triggers, rules."""
    last: bytes
    """Event triggers: whatever runs after them they would see, and they may write into the rows. Empty without any."""


async def script_of(dump: bytes, tools: PgTools, *, server_version: int, no_owner: bool, apart: Collection[str] = ()) -> Script:
    """``server_version``: of the server that will run it. ``apart``: extensions that are made by other means, between schemas and the rest.

    Raises ``Unavailable`` with what pg_restore says.
    """
    doing = "keep the schema dump for pg_restore (TMPDIR names another place)"
    with disk.errors(doing, disk.temporary_folder()), tempfile.TemporaryDirectory(prefix="archiver-") as folder:
        file = _write(folder, "dump", dump)
        program = tools.bin / "pg_restore"
        lines = [line for line in (await run(program, ["--list", file])).splitlines(keepends=True) if _entry(line)]
        skipped = {f"EXTENSION - {name}" for name in apart}
        chosen = [line for line in lines if not _OURS.match(_entry(line)) and _entry(line).rstrip() not in skipped]
        spaces = [line for line in chosen if _entry(line).startswith("SCHEMA ")]
        final = [line for line in chosen if _EVENT_TRIGGER.match(_entry(line))]
        about = [line for line in chosen if _ABOUT_SCHEMA.match(_entry(line))]
        rest = [line for line in chosen if line not in spaces and line not in final and line not in about]
        # What has no section is taken for a part of the one before, and before the first line stand the entries that are not chosen.
        parts = {"schemas": spaces if rest else spaces + about, "wanted": rest[:1] + about + rest[1:] if rest else [], "final": final}
        lists = {name: _write(folder, name, b"".join(part)) for name, part in parts.items()}
        options = ["--file=-", "--no-tablespaces", "--no-publications", "--no-subscriptions", *(_NO_OWNER if no_owner else ())]

        async def part(selection: str, *more: str) -> bytes:
            return _plain(await run(program, [*options, f"--use-list={lists[selection]}", *more, file]), server_version)

        return Script(
            await part("schemas", "--section=pre-data"),
            await part("wanted", "--section=pre-data"),
            await part("wanted", "--section=post-data"),
            await part("final", "--section=post-data") if final else b"",
        )


_NO_OWNER = ("--no-owner", "--no-privileges")


def _write(folder: str, name: str, data: bytes) -> str:
    path = Path(folder, name)
    path.write_bytes(data)
    return str(path)


def _entry(line: bytes) -> str:
    match = _ENTRY.match(line.decode(errors="surrogateescape"))
    return match[1] if match else ""


def _plain(script: bytes, server_version: int) -> bytes:
    """Without what only psql understands, and without settings that an older server does not know: only in what pg_restore says itself.

    A function's body may hold lines that look the same.
    """
    head, item, rest = script.partition(_FIRST_ITEM)
    if server_version < 170000:
        head = head.replace(b"\nSET transaction_timeout = 0;\n", b"\n", 1)
    mark = _RESTRICT.search(head)
    if mark is None:
        return head + item + rest
    before, _, behind = (head.replace(mark[0], b"", 1) + item + rest).rpartition(b"\\unrestrict " + mark[1] + b"\n")
    return before + behind
