"""What was heard of one row -> its states in order. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from archiver.replay.postgres.lsn import format_lsn
from archiver.replay.postgres.pgoutput import UNCHANGED, Delete, Insert, Relation, Row, Truncate, Update
from archiver.replay.postgres.transactions import Commit

State = dict[str, str | None]
"""Column to text as PostgreSQL prints it; None for NULL. A value that is not known is left out."""


class RowChange(msgspec.Struct, frozen=True):
    """One state of the row, or its end."""

    entry: int
    """Number of the entry that says so."""
    event: str
    """BASELINE (it was there when capture began), INSERT, UPDATE, DELETE, TRUNCATE, COPIED (its table was copied again), GAP."""
    time: int = 0
    """Commit time; of a copy, when it was taken."""
    xid: int = 0
    lsn: str = ""
    """Where the transaction ends."""
    commit_entry: int = 0
    """``--at`` this number gives the state after the whole transaction."""
    changed: list[str] = []
    """Columns that differ from the state before."""
    detail: str = ""
    state: State | None = None
    """The row; None when it is gone."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of a committed transaction that is about the row, or a TRUNCATE of its table."""

    era: int
    seq: int
    commit: Commit
    relation: Relation | None
    message: Insert | Update | Delete | Truncate


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy of the table says about the row. It has every transaction that committed before its LSN, and none after."""

    era: int
    entry: int
    lsn: int
    taken: int
    baseline: bool
    state: State | None


@dataclass(frozen=True, slots=True)
class Unknown:
    """A gap of the table or of its source."""

    era: int
    entry: int
    time: int
    lsn: str
    text: str


def is_row(key: Mapping[str, str], relation: Relation, row: Row, old: Row | None = None) -> bool:
    """Whether a row has the key. ``old``: tells a TOASTed key that an update left alone."""
    found = 0
    for place, column in enumerate(relation.columns):
        if column.name not in key:
            continue
        value = row[place]
        if value is UNCHANGED and old is not None:
            value = old[place]
        if not isinstance(value, bytes) or text_of(value) != key[column.name]:
            return False
        found += 1
    return found == len(key)


def states(key: Mapping[str, str], heard: Sequence[Heard], copies: Sequence[Copied], gaps: Sequence[Unknown]) -> list[RowChange]:
    """All changes, oldest first. ``heard`` in commit order; copies and gaps are put where they belong, wherever their entries stand."""
    found: list[RowChange] = []
    for one in _ordered(heard, copies, gaps):
        state = next((change.state for change in reversed(found) if change.event != "GAP"), None)
        if isinstance(one, Unknown):
            found.append(RowChange(one.entry, "GAP", one.time, lsn=one.lsn, detail=one.text))
        elif isinstance(one, Copied):
            found += _copied(one, state)
        else:
            found += _heard(key, one, state)
    return found


def differences(one: State | None, other: State | None) -> list[tuple[str, str | None, str | None]]:
    """(column, before, after) of every column that differs; a row that is not there has no columns."""
    before, after = one or {}, other or {}
    names = dict.fromkeys([*before, *after])
    return [(name, before.get(name), after.get(name)) for name in names if _value(before, name) != _value(after, name)]


def _value(state: State, name: str) -> object:
    return state.get(name, UNCHANGED)


def text_of(value: bytes | None) -> str | None:
    """For people: bytes that are not UTF-8 are shown as such."""
    return None if value is None else value.decode("utf-8", "backslashreplace")


def _ordered(heard: Sequence[Heard], copies: Sequence[Copied], gaps: Sequence[Unknown]) -> Iterator[Heard | Copied | Unknown]:
    placed: list[tuple[tuple[int, int, int, int], Heard | Copied | Unknown]] = []
    for number, event in enumerate(heard):
        placed.append(((event.era, event.commit.commit_lsn, 1, number), event))
    for number, copy in enumerate(copies):
        placed.append(((copy.era, copy.lsn, 0, number), copy))
    for number, gap in enumerate(gaps):
        # Behind everything that was heard before its entry.
        lsns = [event.commit.commit_lsn for event in heard if event.era == gap.era and event.commit.seq < gap.entry]
        lsns += [copy.lsn for copy in copies if copy.era == gap.era and copy.entry < gap.entry]
        placed.append(((gap.era, max(lsns, default=0), 2, number), gap))
    return (one for _, one in sorted(placed, key=lambda each: each[0]))


def _copied(copy: Copied, state: State | None) -> Iterator[RowChange]:
    changed = [name for name, _, _ in differences(state, copy.state)] if state is not None and copy.state is not None else []
    if copy.state is None and state is None:
        return
    if copy.baseline or changed or copy.state is None or state is None:
        event = "BASELINE" if copy.baseline else "COPIED"
        detail = "" if copy.state is not None else "it is not in the copy"
        yield RowChange(copy.entry, event, copy.taken, lsn=format_lsn(copy.lsn), changed=changed, detail=detail, state=copy.state)


def _heard(key: Mapping[str, str], heard: Heard, state: State | None) -> Iterator[RowChange]:
    message, relation = heard.message, heard.relation
    if isinstance(message, Truncate) or relation is None:
        if state is not None:
            yield _change(heard, "TRUNCATE", state, None)
    elif isinstance(message, Insert):
        yield _change(heard, "INSERT", None, _known(relation, message.new, {}))
    elif isinstance(message, Delete):
        yield _change(heard, "DELETE", state, None)
    else:
        old, new = message.old, message.new
        is_new, was = is_row(key, relation, new, old), old is None or is_row(key, relation, old)
        if not is_new:
            yield _change(heard, "UPDATE", state, None, f"it is {_named(relation, new)} from here on")
            return
        told = {} if old is None or not message.full else _known(relation, old, {})
        known = _known(relation, new, {**(state or {} if was else {}), **told})
        yield _change(heard, "UPDATE", state if was else None, known, "" if was else f"it was {_named(relation, old)} before")


def _change(heard: Heard, event: str, before: State | None, after: State | None, detail: str = "") -> RowChange:
    commit = heard.commit
    changed = [name for name, _, _ in differences(before, after)] if before is not None and after is not None else []
    return RowChange(heard.seq, event, commit.time, commit.xid, format_lsn(commit.end_lsn), commit.seq, changed, detail, after)


def _known(relation: Relation, row: Row, before: Mapping[str, str | None]) -> State:
    state: State = {}
    for column, value in zip(relation.columns, row, strict=True):
        if isinstance(value, bytes) or value is None:
            state[column.name] = text_of(value)
        elif column.name in before:
            state[column.name] = before[column.name]
    return state


def _named(relation: Relation, row: Row | None) -> str:
    pairs = zip(relation.columns, row or (), strict=False)
    return ", ".join(f"{column.name}={text_of(value)}" for column, value in pairs if column.key and isinstance(value, bytes))
