"""A stored pg_dump -> SQL in the pieces that a restore runs, by pg_restore. Nothing is executed here."""

from __future__ import annotations

import os
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
_ENTRY = re.compile(r"\d+; \d+ \d+ (.*)")
_SCHEMA = re.compile(r"^-- Name: (.*); Type: SCHEMA; Schema: -; Owner: (.*)$", re.MULTILINE)
_RESTRICT = re.compile(rb"^\\(?:un)?restrict \S+$\n?", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """SQL in the encoding that its own SET client_encoding names."""

    pre: bytes
    """Everything that rows need: schemas, types, functions, tables."""
    post: bytes
    """Everything that needs rows: indexes, constraints, triggers, rules."""
    last: bytes
    """Event triggers: whatever runs after them they would see, and they may write into the rows. Empty without any."""


async def script_of(dump: bytes, tools: PgTools, *, server_version: int, no_owner: bool, existing_schemas: Collection[str] = ()) -> Script:
    """``server_version``: of the server that will run it. ``existing_schemas`` are not created again, nor ever dropped.

    Raises ``Unavailable`` with what pg_restore says.
    """
    doing = "keep the schema dump for pg_restore (TMPDIR names another place)"
    with disk.errors(doing, os.environ.get("TMPDIR", "")), tempfile.TemporaryDirectory(prefix="archiver-") as folder:
        file = _write(folder, "dump", dump)
        program = tools.bin / "pg_restore"
        lines = (await run(program, ["--list", file])).splitlines(keepends=True)
        spaces = _write(folder, "schemas", b"".join(line for line in lines if _is_kind(line, (b"SCHEMA ",))))
        skip = _entries_of(await run(program, ["--file=-", f"--use-list={spaces}", file]), existing_schemas)
        chosen = [line for line in lines if _is_wanted(line, skip)]
        final = [line for line in chosen if _EVENT_TRIGGER.match(_entry(line))]
        wanted = _write(folder, "wanted", b"".join(line for line in chosen if line not in final))
        finally_wanted = _write(folder, "final", b"".join(final))
        options = ["--file=-", "--no-tablespaces", "--no-publications", "--no-subscriptions", *(_NO_OWNER if no_owner else ())]

        async def part(selection: str, *more: str) -> bytes:
            return _plain(await run(program, [*options, f"--use-list={selection}", *more, file]), server_version)

        return Script(
            await part(wanted, "--section=pre-data"),
            await part(wanted, "--section=post-data"),
            await part(finally_wanted, "--section=post-data") if final else b"",
        )


_NO_OWNER = ("--no-owner", "--no-privileges")


def _write(folder: str, name: str, data: bytes) -> str:
    path = Path(folder, name)
    path.write_bytes(data)
    return str(path)


def _entry(line: bytes) -> str:
    match = _ENTRY.match(line.decode(errors="surrogateescape"))
    return match[1] if match else ""


def _entries_of(script: bytes, schemas: Collection[str]) -> frozenset[str]:
    """Lines of the list that stand for ``schemas``. The list alone does not tell where a name ends and its owner begins."""
    names = {re.sub(r"[\r\n]", " ", name) for name in schemas}
    found = _SCHEMA.findall(script.decode(errors="surrogateescape"))
    return frozenset(f"SCHEMA - {name} {owner}" for name, owner in found if name in names)


def _is_wanted(line: bytes, skip: Collection[str]) -> bool:
    entry = _entry(line)
    return not _OURS.match(entry) and entry.rstrip() not in skip


def _is_kind(line: bytes, kinds: tuple[bytes, ...]) -> bool:
    return _entry(line).encode(errors="surrogateescape").startswith(kinds)


def _plain(script: bytes, server_version: int) -> bytes:
    """Without what only psql understands, and without settings that an older server does not know."""
    marks = _RESTRICT.findall(script)
    if marks:
        # The word is random: what looks like it inside a function body is another.
        for mark in (marks[0], marks[-1]):
            script = script.replace(mark, b"", 1)
    if server_version < 170000:
        script = re.sub(rb"^SET transaction_timeout = 0;\n", b"", script, count=1, flags=re.MULTILINE)
    return script
