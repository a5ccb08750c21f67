"""The past and the living rows of one table -> a comparison that can be shown, and a script in a file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from archiver import disk
from archiver.errors import Invalid
from archiver.memory import OneThread
from archiver.replay.postgres.write.chosen_rows import ChosenRows
from archiver.replay.postgres.write.live_table import LiveTable, read_rows
from archiver.replay.postgres.write.merge_script import (
    FOOT,
    ScriptColumn,
    ScriptTable,
    Values,
    delete,
    differing,
    head,
    insert,
    key_of,
    update,
    values_of,
)
from archiver.replay.postgres.write.row_comparison import Change, Counts, RowComparison

if TYPE_CHECKING:
    from archiver.replay.excerpt import Excerpt
    from archiver.replay.postgres.write.table_rows import TableRows
    from archiver.replay.postgres.write.target_database import Connection

SHOWN_LINES = 100
"""Of a comparison; a script has all."""
_SHOWN_CHARACTERS = 2000
"""Of a value in such a line."""
_AT_ONCE = 4000


class DiffLine(msgspec.Struct, frozen=True):
    """One row that differs."""

    do: str
    """insert, update, delete: what would make the live row that of the point."""
    key: str
    changed: dict[str, tuple[str | None, str | None]] = {}
    """By column the live value and that of the point; a long one is cut."""


class Difference(msgspec.Struct, frozen=True):
    """What would be done to the live table."""

    inserted: int
    updated: int
    deleted: int
    unchanged: int
    lines: list[DiffLine]
    """The first of them."""

    @property
    def total(self) -> int:
        """Rows that differ."""
        return self.inserted + self.updated + self.deleted


@dataclass(frozen=True, slots=True)
class Compared:
    """Rows that were compared."""

    table: ScriptTable
    rows: RowComparison
    difference: Difference


def comparison_of(live: LiveTable) -> RowComparison:
    """Of the table's rows, by its primary key; without any yet."""
    names = [column.name for column in live.columns]
    return RowComparison(live.shown, [names.index(each.name) for each in live.key])


async def take_past(
    rows: RowComparison, live: LiveTable, excerpt: Excerpt, past: Sequence[TableRows], thread: OneThread, say: Callable[[str, int], None]
) -> None:
    """Read the rows of the point. Raises ``Refused``, ``Corrupt``, ``Unavailable``."""
    names, count = [column.name for column in live.columns], 0
    for part in past:
        columns = [column.name for column in part.columns]
        order = None if columns == names else [columns.index(name) for name in names]
        async with aclosing(part.read()) as pieces:
            async for piece in ChosenRows(excerpt.rows, columns).of(pieces):
                text = bytes(piece) if order is None else _reordered(bytes(piece), order)
                count += text.count(b"\n")
                await thread.run(rows.add_past, text)
                say("rows of the point", count)


async def take_live(
    rows: RowComparison, connection: Connection, live: LiveTable, excerpt: Excerpt, thread: OneThread, say: Callable[[str, int], None]
) -> Compared:
    """Read the rows that live, within ``one_snapshot``. Raises what the server says, ``Invalid``, ``Unavailable``."""
    chosen, waiting, count = ChosenRows(excerpt.rows, [column.name for column in live.columns]), list[bytes](), 0
    async with aclosing(read_rows(connection, live, excerpt.rows)) as lines:
        async for line in lines:
            if not excerpt.rows or chosen.has(line[:-1].split(b"\t")):
                waiting.append(line)
                count += 1
            if len(waiting) >= _AT_ONCE:
                await thread.run(rows.add_live, waiting)
                waiting = []
                say("live rows", count)
    await thread.run(rows.add_live, waiting)
    table = _script_table(live)
    counts = await thread.run(rows.counts)
    return Compared(table, rows, await thread.run(_difference, table, rows, counts))


async def write_script(compared: Compared, file: Path, facts: Sequence[tuple[str, str]]) -> None:
    """A new file that its owner alone may read. Raises ``Invalid`` when it cannot be made, ``Refused``, ``Unavailable``."""
    await asyncio.to_thread(_write, compared, file, facts)


def refuse_file(file: Path) -> None:
    """``Invalid`` when a script cannot become ``file``: before anything is read."""
    if file.exists() or file.is_symlink():
        raise Invalid(f"{file} is there already", hint="name a new file with --merge-script: nothing is written over")
    if not os.access(file.parent, os.W_OK):
        raise Invalid(
            f"--merge-script {file}: it cannot be written there", hint="name a file in a folder that exists and may be written to"
        )


def _write(compared: Compared, file: Path, facts: Sequence[tuple[str, str]]) -> None:
    with disk.errors("write the script", file):
        try:
            number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise Invalid(f"{file} is there already", hint="name a new file with --merge-script: nothing is written over") from None
        try:
            with os.fdopen(number, "w", encoding="utf-8", newline="\n") as opened:
                _fill(opened, compared, facts)
        except BaseException:
            # Half a script is none.
            file.unlink(missing_ok=True)
            raise


def _fill(opened: IO[str], compared: Compared, facts: Sequence[tuple[str, str]]) -> None:
    table = compared.table
    opened.write(head(table, facts))
    for change in compared.rows.changes():
        past, live = _values(change, table)
        if change.do == "insert":
            opened.write(insert(table, past))
        elif change.do == "delete":
            opened.write(delete(table, live))
        else:
            opened.write(update(table, past, live))
    opened.write(FOOT)


def _values(change: Change, table: ScriptTable) -> tuple[Values, Values]:
    return (
        values_of(change.past, table) if change.do != "delete" else [],
        values_of(change.live, table) if change.do != "insert" else [],
    )


def _reordered(text: bytes, order: Sequence[int]) -> bytes:
    lines = (line.split(b"\t") for line in text.split(b"\n")[:-1])
    return b"".join(b"\t".join([values[place] for place in order]) + b"\n" for values in lines)


def _difference(table: ScriptTable, rows: RowComparison, counts: Counts) -> Difference:
    return Difference(*counts, list(_lines(table, rows)))


def _lines(table: ScriptTable, rows: RowComparison) -> Iterator[DiffLine]:
    for number, change in enumerate(rows.changes()):
        if number == SHOWN_LINES:
            return
        past, live = _values(change, table)
        changed = {}
        if change.do == "update":
            now = dict(zip((column.name for column in table.columns), live, strict=True))
            then = dict(zip((column.name for column in table.columns), past, strict=True))
            changed = {column.name: (_cut(now[column.name]), _cut(then[column.name])) for column in differing(table, past, live)}
        yield DiffLine(change.do, key_of(table, past or live), changed)


def _cut(value: str | None) -> str | None:
    if value is None or len(value) <= _SHOWN_CHARACTERS:
        return value
    return f"{value[:_SHOWN_CHARACTERS]}… ({len(value)} characters)"


def _script_table(live: LiveTable) -> ScriptTable:
    return ScriptTable(
        live.schema,
        live.name,
        not live.partitioned,
        [ScriptColumn(column.name, column.identity == "a", column.name in live.naming) for column in live.columns],
        {each.name: (each.operator_schema, each.operator) for each in live.key},
        [f"{column.name} {column.type_oid} {column.type_modifier}" for column in live.layout],
    )
