"""A plan -> a folder of SQL that psql loads in one transaction: ``psql -f restore.sql``.

Everything that came from the source stands in files of its own, each between ``\\restrict`` and ``\\unrestrict`` with a word that nobody
could know: psql runs no command of its own there, whatever a dump says (CVE-2025-8714).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from psycopg import sql

from archiver import disk
from archiver.errors import Refused
from archiver.journal.segment import CONTENT_LIMIT
from archiver.postgres.client_programs import find_tools, major_version
from archiver.postgres.lsn import parse_lsn
from archiver.replay.postgres.plan.plan import Moment, RestoredTable, RestorePlan, RestoreReport
from archiver.replay.postgres.write.dump_script import script_of
from archiver.replay.postgres.write.extension_script import extension_script
from archiver.replay.postgres.write.hashed_tables import hashed_roots
from archiver.replay.postgres.write.plan_records import PlanRecords, Progress, fold_changes, gather
from archiver.replay.postgres.write.reworded import reworded_in
from archiver.replay.postgres.write.sequence_values import setting
from archiver.replay.postgres.write.table_rows import TableRows, rows_of
from archiver.untrusted import Unreadable, decode_untrusted

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.postgres.records import Table, UserPublication
    from archiver.store.protocol import Store

INCOMPLETE = "INCOMPLETE"
"""There until everything else is."""
MANIFEST = "manifest.json"

_UNSAFE = re.compile(rb"[^A-Za-z0-9_-]")
_NAME_CHARACTERS = 200
"""No file name is longer than this and its ending; file systems end at 255."""
_SETTINGS = """SET client_encoding = 'UTF8';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET lc_monetary = 'C';
SET timezone = 'UTC';
SET row_security = on;
"""
_HEAD = """-- psql -f restore.sql: one transaction, all or nothing.
-- It needs a psql that knows \\restrict (18, 17.6, 16.10, 15.14 or newer): what came from the source must not command psql.
\\set ON_ERROR_STOP on
BEGIN;
"""
_LENIENT = """-- What a view or a publication needs may not be there, another server for example: the rest goes on then.
\\set ON_ERROR_ROLLBACK on
\\set ON_ERROR_STOP off
"""
_STRICT = """\\set ON_ERROR_STOP on
\\set ON_ERROR_ROLLBACK off
"""


class Manifest(msgspec.Struct, frozen=True):
    """``manifest.json``: what the folder is, and the SHA-256 of every other file in it."""

    archive: str
    source: str
    database: str
    point: Moment
    schema_certain: bool
    tables: dict[str, int]
    """Rows by ``schema.table``."""
    files: dict[str, str]
    gaps: list[str] = []
    approximations: list[str] = []
    not_included: list[str] = []
    notes: list[str] = []


_VIEWS = "views.sql"
_PUBLICATIONS = "publications.sql"
_LAST = "event-triggers.sql"


async def write_folder(
    plan: RestorePlan,
    reader: Reader,
    store: Store,
    folder: Path,
    *,
    overwrite: bool = False,
    no_owner: bool = False,
    pg_bin: str = "",
    progress: Progress | None = None,
) -> RestoreReport:
    """Write ``schema-pre.sql``, ``rows/….sql``, ``schema-post.sql``, ``sequences.sql``, ``restore.sql`` and ``manifest.json``.

    And ``views.sql``, ``publications.sql`` and ``event-triggers.sql`` if there are any.

    The folder must be empty or new, or ``overwrite``: files of the same names are then replaced, and those that an older manifest lists
    removed. A file ``INCOMPLETE`` is there until all is written. Raises ``Refused``, ``Corrupt``, ``Unavailable``, ``Invalid`` where the
    folder cannot be written. Gaps are the caller's to judge.
    """
    started = time.monotonic()
    material = await gather(plan, reader)
    tools = await asyncio.to_thread(find_tools, _dump_version(material) * 10000, pg_bin, program="pg_restore")
    extensions = extension_script(material.dump, material.schema.catalog.installed)
    script = await script_of(material.dump, tools, server_version=0, no_owner=no_owner, apart=extensions.names)
    output = _Output(folder)
    await asyncio.to_thread(output.open, overwrite=overwrite)
    fold, summary = await fold_changes(plan, material, reader, progress)
    schema = material.schema
    made = extensions.text.encode("utf-8", "surrogateescape")
    await asyncio.to_thread(output.write, "schema-pre.sql", script.schemas + _SETTINGS.encode() + made + script.pre)
    tables = []
    roots = hashed_roots(material.dump, schema.catalog.tables)
    captured = [table for table in schema.catalog.tables if table.kind != "p" and table.mode != "excluded"]
    for table in sorted(captured, key=lambda each: (each.schema, each.name)):
        rows = rows_of(fold, table, store, plan.checkpoint.key)
        size = await _write_rows(output, rows, roots.get(table.oid, table))
        tables.append(RestoredTable(table.schema, table.name, rows.rows, rows.changes, size))
        if progress:
            progress(f"rows of {table.schema}.{table.name}", len(tables), len(captured))
    point = parse_lsn(plan.point.lsn)
    statements = [statement.as_string(None) + ";\n" for statement in setting(schema, material.before, material.after, point)]
    sequences = len(statements)
    await asyncio.to_thread(output.write, "sequences.sql", "".join(statements).encode("utf-8", "surrogateescape"))
    await asyncio.to_thread(output.write, "schema-post.sql", script.post)
    if schema.catalog.materialized:
        # A dump sets it off, and then the server refuses what an owner sees only in part.
        refreshed = "SET row_security = on;\n" + "".join(f"REFRESH MATERIALIZED VIEW {view};\n" for view in schema.catalog.materialized)
        await asyncio.to_thread(output.write, _VIEWS, refreshed.encode("utf-8", "surrogateescape"))
    if schema.catalog.publications:
        script_of_publications = _publications(schema.catalog.publications, no_owner=no_owner)
        await asyncio.to_thread(output.write, _PUBLICATIONS, script_of_publications.encode())
    if script.last:
        await asyncio.to_thread(output.write, _LAST, script.last)
    await asyncio.to_thread(output.write, "restore.sql", _restore_script(output).encode(), foreign=False)
    through = {f"{root.schema}.{root.name}" for root in roots.values()}
    notes = [
        *plan.otherwise,
        *reworded_in(material.dump),
        *summary.notes,
        *(f"rows of {name}, by hash: whoever loads them finds their partitions" for name in sorted(through)),
    ]
    manifest = Manifest(
        plan.archive,
        plan.source,
        plan.database,
        plan.point,
        plan.schema.certain,
        {f"{table.schema}.{table.name}": table.rows for table in tables},
        dict(output.files),
        plan.gap_texts,
        plan.approximations,
        plan.not_included,
        notes,
    )
    await asyncio.to_thread(output.close, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    return RestoreReport(
        source=plan.source,
        point=plan.point,
        target=str(folder),
        tables=tables,
        rows=sum(table.rows for table in tables),
        seconds=time.monotonic() - started,
        sequences=sequences,
        notes=[*plan.approximations, *notes],
        not_included=plan.not_included,
        files=[*output.files, MANIFEST],
    )


def _publications(publications: Sequence[UserPublication], *, no_owner: bool) -> str:
    statements = []
    for each in publications:
        statements.append(f"{each.sql};\n")
        if not no_owner:
            statements.append(f"ALTER PUBLICATION {_quoted(each.name)} OWNER TO {_quoted(each.owner)};\n")
    return "".join(statements)


def _dump_version(material: PlanRecords) -> int:
    """Major version of the pg_dump that wrote the schema: pg_restore must not be older."""
    return major_version(material.schema.dump_version) or material.schema.server_version // 10000


def _restore_script(output: _Output) -> str:
    rows = [f"\\ir '{name}'\n" for name in output.files if name.startswith("rows/")]
    return "".join(
        [
            f"{_HEAD}\\ir 'schema-pre.sql'\n",
            _SETTINGS,
            *rows,
            # They read their columns: the server plans that with the functions of a table's indexes, and policies would hide rows.
            "\\ir 'sequences.sql'\n",
            "\\ir 'schema-post.sql'\n",
            _SETTINGS,
            f"{_LENIENT}\\ir '{_VIEWS}'\n{_STRICT}" if _VIEWS in output.files else "",
            f"{_LENIENT}\\ir '{_PUBLICATIONS}'\n{_STRICT}" if _PUBLICATIONS in output.files else "",
            f"\\ir '{_LAST}'\n" if _LAST in output.files else "",
            "COMMIT;\n",
        ]
    )


async def _write_rows(output: _Output, rows: TableRows, into: Table) -> int:
    table = rows.table
    columns = f" ({', '.join(_quoted(column.name) for column in rows.columns)})" if rows.columns else ""
    name = f"rows/{_file_name(table)}.sql"
    size = 0
    file = _File(output, name)
    try:
        head = f"COPY {_quoted(into.schema, into.name)}{columns} FROM stdin;\n"
        await asyncio.to_thread(file.write, head.encode("utf-8", "surrogateescape"))
        async with aclosing(rows.read()) as pieces:
            async for piece in pieces:
                await asyncio.to_thread(file.write, piece)
                size += len(piece)
        await asyncio.to_thread(file.write, b"\\.\n")
    finally:
        await asyncio.to_thread(file.close)
    return size


def _quoted(*names: str) -> str:
    return sql.Identifier(*names).as_string(None)


def _safe(name: str) -> str:
    return _UNSAFE.sub(lambda match: b"=%02X" % match[0][0], name.encode("utf-8", "surrogateescape")).decode()


def _file_name(table: Table) -> str:
    """Without its ending. A name that would be too long is cut and ends with the table's oid, of which there is one."""
    name = f"{_safe(table.schema)}.{_safe(table.name)}"
    return name if len(name) <= _NAME_CHARACTERS else f"{name[:_NAME_CHARACTERS]}.{table.oid}"


class _Output:
    """The folder. Methods block; they are called in threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, str] = {}
        """Name to SHA-256, in the order of writing."""

    def open(self, *, overwrite: bool) -> None:
        with disk.errors("write the restore", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            is_used = any(self.folder.iterdir())
            if is_used and not overwrite:
                raise Refused(f"folder {self.folder} is not empty", hint="name a new one, or replace what is there with --overwrite")
            old = self._old_files() if is_used else []
            # First: whoever is killed while taking away what is old leaves no half of it that looks whole.
            (self.folder / INCOMPLETE).write_text("This restore has not ended: do not load it.\n")
            for file in old:
                file.unlink(missing_ok=True)
            (self.folder / "rows").mkdir(exist_ok=True)

    def _old_files(self) -> list[Path]:
        """What an earlier restore wrote, its manifest first. ``Refused`` for a manifest of something else."""
        manifest = self.folder / MANIFEST
        if not manifest.exists():
            return []
        try:
            old = decode_untrusted(manifest.read_bytes(), Manifest, most=CONTENT_LIMIT)
        except Unreadable:
            raise Refused(f"{manifest} is not of a restore", hint="name another folder") from None
        paths = [(self.folder / name).resolve() for name in old.files]
        return [manifest, *(path for path in paths if path.is_relative_to(self.folder.resolve()) and path.is_file())]

    def write(self, name: str, data: bytes, *, foreign: bool = True) -> None:
        file = _File(self, name, foreign=foreign)
        file.write(data)
        file.close()

    def close(self, manifest: bytes) -> None:
        (self.folder / MANIFEST).write_bytes(manifest)
        (self.folder / INCOMPLETE).unlink()


class _File:
    """One file, hashed while it is written. ``foreign``: it holds what came from the source, and no commands for psql."""

    def __init__(self, output: _Output, name: str, *, foreign: bool = True) -> None:
        self._output, self._name = output, name
        self._file = (output.folder / name).open("wb")
        self._hash = hashlib.sha256()
        self._word = secrets.token_hex(32) if foreign else ""
        if self._word:
            self.write(f"\\restrict {self._word}\n".encode())

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._hash.update(data)

    def close(self) -> None:
        if self._word:
            self.write(f"\n\\unrestrict {self._word}\n".encode())
        self._file.close()
        self._output.files[self._name] = self._hash.hexdigest()
