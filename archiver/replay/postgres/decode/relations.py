"""Relation messages name columns; rows are kept by attnum, which survives a rename. Schema entries lead from one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from archiver.errors import Corrupt
from archiver.postgres.announcements import read_announcement
from archiver.postgres.lsn import parse_position
from archiver.postgres.records import Schema, Table
from archiver.postgres.visibility import Committed, Visible
from archiver.replay.postgres.columnar.copy_text import escape
from archiver.replay.postgres.decode.column_matching import assignments
from archiver.replay.postgres.decode.pgoutput import Relation


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read rows of one version of a relation."""

    width: int
    """Columns in the messages."""
    attnums: tuple[int, ...]
    """Of the columns that are kept, increasing: not generated, and known to a schema entry."""
    positions: tuple[int, ...]
    """Of the same columns in the messages, from 0."""
    mode: Literal["key", "full", "insert"]
    key: tuple[int, ...] = ()
    """attnums that identify a row, in mode ``key``."""
    key_positions: tuple[int, ...] = ()
    unreadable: Corrupt | None = None
    """Why rows of this version cannot be read; then nothing else is said."""


class Catalogs:
    """The schema entries of a history, oldest first."""

    def __init__(self, schemas: Sequence[Schema]) -> None:
        self._visible = [Visible.of(schema) for schema in schemas]
        self._tables = [{table.oid: table for table in schema.catalog.tables} for schema in schemas]
        self._since = [parse_position(schema.since) for schema in schemas]
        self._causes = [schema.cause for schema in schemas]
        self._ddl: list[tuple[Committed, bytes]] = []

    def ddl(self, within: Committed, content: bytes) -> None:
        """A DDL message of a transaction has come. Call in commit order, before relations that follow it."""
        self._ddl.append((within, content))

    def missing(self, oid: int) -> dict[int, bytes | None]:
        """What rows older than a column hold in it, by attnum: escaped COPY text, None for NULL.

        Taken from the oldest entry that tells: the server forgets it when the table is rewritten.
        """
        found: dict[int, bytes | None] = {}
        for tables in self._tables:
            hidden = tables[oid].hidden if oid in tables else frozenset()
            for column in tables[oid].columns if oid in tables else ():
                if column.attnum in hidden:
                    continue
                if found.get(column.attnum) is None:
                    text = column.missing
                    found[column.attnum] = None if text is None else bytes(escape(text.encode("utf-8", "surrogateescape")))
        return found

    def layout(self, relation: Relation, within: Committed) -> tuple[Layout | None, list[str]]:
        """How to read rows after ``relation``, which came ``within`` a transaction; and notes for the user.

        The table had the columns of the last entry that does not see the transaction, or of the first that does, or something between
        the two: names are matched against both. None: no entry knows the table. ``Corrupt`` when the entries leave
        open which column is meant.
        """
        before, after = self._around(relation.oid, within)
        tables = [None if index is None else self._tables[index][relation.oid] for index in (before, after)]
        known = [table for table in tables if table is not None]
        name = f"{relation.schema}.{relation.name}"
        if not known:
            return None, [f"table {name} (oid {relation.oid}) is in no schema entry: its rows are left out"]
        found = assignments(relation, *tables)
        if not found:
            raise Corrupt(
                f"the schema entries around transaction {within.xid} do not explain the columns of table {name}",
                hint="choose a point before that transaction or after the next baseline",
            )
        chosen = found[0] if len(found) == 1 else self._choose(relation, found, (before, after))
        if chosen is None:
            raise Corrupt(
                f"columns of table {name} came, went or were renamed around transaction {within.xid}, and no DDL message says when:"
                " its rows can be read in several ways",
                hint="choose a point before that transaction or after the next baseline",
            )
        unknown = [column.name for column, attnum in zip(relation.columns, chosen, strict=True) if not attnum]
        notes = [f"column {column} of table {name} is in no schema entry: its values are left out" for column in unknown]
        return _layout(relation, chosen, known), notes

    def _around(self, oid: int, within: Committed) -> tuple[int | None, int | None]:
        has = [index for index, tables in enumerate(self._tables) if oid in tables]
        before = [index for index in has if not self._visible[index].sees(*within)]
        after = [index for index in has if self._visible[index].sees(*within)]
        return (before[-1] if before else None), (after[0] if after else None)

    def _choose(self, relation: Relation, found: list[tuple[int, ...]], around: tuple[int | None, int | None]) -> tuple[int, ...] | None:
        """Several readings fit: whether the change had happened is known only if DDL messages tell of changes.

        Only messages from where the catalog itself says that the change lies count: anybody may send one earlier.
        """
        before, after = around
        if before is None or after is None or self._causes[after] != "ddl":
            return None
        since = self._since[after] if after == before + 1 else 0
        happened = any(
            each.commit_lsn >= since
            and not self._visible[before].sees(*each)
            and self._visible[after].sees(*each)
            and _concerns(content, relation.oid)
            for each, content in self._ddl
        )
        table = self._tables[after if happened else before][relation.oid]
        exact = [attnums for attnums in found if set(attnums) >= {column.attnum for column in table.carried}]
        return exact[0] if len(exact) == 1 else None


def _layout(relation: Relation, attnums: tuple[int, ...], known: list[Table]) -> Layout:
    # One that is generated no more was so only in rows before the copy that this takes; the layout holds for those behind it too.
    generated = {column.attnum for column in known[-1].columns if column.generated}
    kept = [position for position, attnum in enumerate(attnums) if attnum and attnum not in generated]
    keys = [position for position, column in enumerate(relation.columns) if column.key]
    mode: Literal["key", "full", "insert"] = "full" if relation.identity == "f" else "key" if keys else "insert"
    if all(table.mode == "insert" for table in known):
        # What is marked as key can be a part of one: a generated column is not in the message.
        mode = "insert"
    if mode == "key" and any(not attnums[position] for position in keys):
        raise Corrupt(
            f"a key column of table {relation.schema}.{relation.name} is in no schema entry",
            hint="choose a point before the change or after the next baseline",
        )
    return Layout(
        width=len(attnums),
        attnums=tuple(attnums[position] for position in kept),
        positions=tuple(kept),
        mode=mode,
        key=tuple(attnums[position] for position in keys) if mode == "key" else (),
        key_positions=tuple(keys) if mode == "key" else (),
    )


def _concerns(content: bytes, oid: int) -> bool:
    """Whether a DDL message names this table among the objects that changed; one that cannot be read might."""
    announced = read_announcement(content)
    return announced is None or announced.names(oid)
