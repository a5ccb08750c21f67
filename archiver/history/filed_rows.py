"""The history of one row as history files have it: what the journal says up to where they reach, found by key. Nothing else is read.

They save reading and prove nothing: what is missing, damaged or of another journal is passed over, and the journal serves.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from archiver.errors import Corrupt
from archiver.history.row_states import State
from archiver.journal.entry import Kind, Placed, Run
from archiver.lake.columns import CONTROL
from archiver.lake.data_file import Wanted
from archiver.lake.history_table import HistoryFiles, read_records, say_passed_over
from archiver.lake.json_text import key_text, row_of
from archiver.replay.postgres.decode.commits import Commit, Limit
from archiver.replay.postgres.decode.pgoutput import UNCHANGED, Relation, Value, decode
from archiver.replay.postgres.decode.row_log import DecodedChange
from archiver.untrusted import Unreadable

if TYPE_CHECKING:
    from archiver.store.protocol import Store

_Action = Literal["insert", "update", "delete", "truncate"]
_ACTIONS: dict[str, _Action] = {
    "insert": "insert",
    "update": "update",
    "moved": "update",
    "delete": "delete",
    "truncate": "truncate",
}


@dataclass(frozen=True, slots=True)
class FiledRow:
    """What the files say of one row."""

    changes: list[tuple[int, DecodedChange]] = field(default_factory=list)
    """Each with the oid of its table, in no order."""
    copied: dict[tuple[int, int], State] = field(default_factory=dict)
    """The row in a copy, by the copy's entry and the table's oid; copies without it are left out."""


class FiledRows:
    """The files of one database, up to ``progress``."""

    def __init__(self, store: Store, history: HistoryFiles) -> None:
        self._store, self._history = store, history
        self.progress = history.progress

    async def entries(self, *, last: int) -> list[Placed] | None:
        """Entries of the database that say what rows do not, in order, up to segment ``last``, each with its first body only; ``None`` when
        they cannot be read.
        """
        if (records := await self._records(Wanted([0], None))) is None:
            return None
        found = []
        for record in records:
            if record["operation"] == CONTROL and record["segment"] <= last:
                kind = Kind[record["key"]]
                bodies = [record["row"].encode(), *([b""] if kind is Kind.PG_SCHEMA else [])]
                run = Run.of(self.progress.source, kind, bodies, observed=0)
                found.append(Placed(record["entry"], record["segment"], 0, 0, run))
        return sorted(found, key=lambda placed: placed.first)

    async def row(
        self, oids: Collection[int], key: dict[str, str], name: tuple[str, str], limit: Limit, last_entry: int
    ) -> FiledRow | None:
        """What tables ``oids`` say of the row under ``key``, up to ``limit`` and entry ``last_entry``. ``name``: which is meant.

        ``None`` when files do not tell: these columns were not always what identifies a row there.
        """
        ways = [way for each in self.progress.identities if each.oid in oids for way in each.keys]
        if any(way is None or set(way) != set(key) for way in ways):
            return None
        texts = {key_text({column: key[column] for column in way}) for way in ways if way is not None}
        found = FiledRow()
        for text in sorted(texts) or [""]:
            records = await self._records(Wanted(sorted(oids), [text, ""]))
            if records is None:
                return None
            for record in records:
                if record["relation"] in oids and record["key"] in (text, "") and _is_before(record, limit, last_entry):
                    try:
                        _take(found, record, name)
                    except Unreadable:
                        return None
        return found

    def relation(self, oid: int) -> tuple[int, Relation] | None:
        """How the stream had described a table last, and where."""
        known = next((each for each in self.progress.relations if each.oid == oid), None)
        message = decode(known.message, streamed=False) if known else None
        return (known.entry, message) if known and isinstance(message, Relation) else None

    def reach(self, limit: Limit) -> bool:
        """Whether the files have all that is before ``limit``."""
        progress = self.progress
        if limit.seq is not None:
            return limit.seq <= progress.covered
        if limit.lsn is not None:
            return progress.reached > limit.lsn
        return limit.time is not None and progress.newest > limit.time

    async def _records(self, wanted: Wanted) -> list[dict[str, Any]] | None:
        try:
            return await read_records(self._store, self._history.files, wanted)
        except Corrupt as error:
            say_passed_over(self.progress.source, error)
            return None


def _is_before(record: dict[str, Any], limit: Limit, last_entry: int) -> bool:
    if record["operation"] == "copied":
        return True
    if record["commit_entry"] > last_entry:
        return False
    if limit.seq is not None:
        return bool(record["commit_entry"] <= limit.seq)
    if limit.lsn is not None:
        return bool(record["end_lsn"] <= limit.lsn)
    return limit.time is None or bool(record["as_of"] <= limit.time)


def _take(found: FiledRow, record: dict[str, Any], name: tuple[str, str]) -> None:
    operation = record["operation"]
    if operation == "copied":
        found.copied[record["entry"], record["relation"]] = row_of(record["row"])
    if (action := _ACTIONS.get(operation)) is None:
        return
    commit = Commit(record["xid"], record["commit_lsn"], record["end_lsn"], record["committed"], record["commit_entry"])
    # Only whether it is the table that is meant is of interest.
    table = None if action == "truncate" else name if record["name"] == (".".join(name)) else ("", record["name"])
    new = _row(record["row"], record["unchanged"]) if action != "delete" else None
    found.changes.append((record["relation"], DecodedChange(action, _row(record["old"], None), new, commit, record["entry"], table)))


def _row(text: str | None, unchanged: list[str] | None) -> dict[str, Value] | None:
    if text is None:
        return None
    values: dict[str, Value] = {name: None if value is None else value.encode() for name, value in row_of(text).items()}
    return {**values, **dict.fromkeys(unchanged or [], UNCHANGED)}
