"""What was heard of one row -> its states in order. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from archiver.postgres.lsn import format_lsn
from archiver.replay.postgres.decode.pgoutput import UNCHANGED, Value
from archiver.replay.postgres.decode.row_log import DecodedChange

State = dict[str, str | None]
"""Column to text as PostgreSQL prints it; None for NULL. A value that is not known is left out."""


class RowChange(msgspec.Struct, frozen=True):
    """One state of the row, or its end."""

    entry: int
    """Number of the entry that says so."""
    event: str
    """BASELINE (it was there when capture began), INSERT, UPDATE, DELETE, TRUNCATE, COPIED (its table was copied again), GAP; NOTE, last:
    what is true of all of it."""
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
class HeardChange:
    """A change of a committed transaction that is about the row, or a TRUNCATE of its table."""

    era: int
    change: DecodedChange
    oid: int = 0
    """Of its table: a name can pass from one to another."""
    hidden: bool = False
    """Another table bore the name then: it is needed to know the row when the name comes to this one, and not told."""


@dataclass(frozen=True, slots=True)
class CopiedRow:
    """What a copy of the table says about the row. It has every transaction that committed before its LSN, and none after."""

    era: int
    entry: int
    lsn: int
    taken: int
    baseline: bool
    state: State | None
    oid: int = 0
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class HistoryGap:
    """A gap of the table or of its source."""

    era: int
    entry: int
    time: int
    lsn: str
    text: str


def states(
    key: Mapping[str, str], heard: Sequence[HeardChange], copies: Sequence[CopiedRow], gaps: Sequence[HistoryGap]
) -> list[RowChange]:
    """All changes, oldest first. ``heard`` in commit order; copies and gaps are put where they belong, wherever their entries stand."""
    found: list[RowChange] = []
    rows: dict[int, State | None] = {}
    told: State | None = None
    for one in _ordered(heard, copies, gaps):
        if isinstance(one, HistoryGap):
            found.append(RowChange(one.entry, "GAP", one.time, lsn=one.lsn, detail=one.text))
            continue
        if isinstance(one, CopiedRow):
            changes = list(_copied(one, rows.get(one.oid, None if one.hidden else told)))
        else:
            changes = list(_heard(key, one, rows.get(one.oid)))
        for change in changes:
            rows[one.oid] = change.state
        if not one.hidden:
            found += changes
            told = rows.get(one.oid)
    return found


def written_whole(heard: Sequence[HeardChange], copies: Sequence[CopiedRow]) -> HeardChange | CopiedRow | None:
    """What wrote all columns of the row last, as far as changes tell; ``None``: nothing did."""
    found: HeardChange | CopiedRow | None = None
    for one in _ordered(heard, copies, []):
        if isinstance(one, CopiedRow):
            found = one if one.state is not None else None
        elif isinstance(one, HeardChange) and one.change.new is not None and UNCHANGED not in one.change.new.values():
            found = one
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


def _ordered(
    heard: Sequence[HeardChange], copies: Sequence[CopiedRow], gaps: Sequence[HistoryGap]
) -> Iterator[HeardChange | CopiedRow | HistoryGap]:
    placed: list[tuple[tuple[int, int, int, int], HeardChange | CopiedRow | HistoryGap]] = []
    for number, event in enumerate(heard):
        placed.append(((event.era, event.change.commit.commit_lsn, 1, number), event))
    for number, copy in enumerate(copies):
        placed.append(((copy.era, copy.lsn, 0, number), copy))
    for number, gap in enumerate(gaps):
        # Behind everything that was heard before its entry.
        lsns = [event.change.commit.commit_lsn for event in heard if event.era == gap.era and event.change.commit.seq < gap.entry]
        lsns += [copy.lsn for copy in copies if copy.era == gap.era and copy.entry < gap.entry]
        placed.append(((gap.era, max(lsns, default=0), 2, number), gap))
    return (one for _, one in sorted(placed, key=lambda each: each[0]))


def _copied(copy: CopiedRow, state: State | None) -> Iterator[RowChange]:
    changed = [name for name, _, _ in differences(state, copy.state)] if state is not None and copy.state is not None else []
    if copy.state is None and state is None:
        return
    if copy.baseline or changed or copy.state is None or state is None:
        event = "BASELINE" if copy.baseline else "COPIED"
        detail = "" if copy.state is not None else "it is not in the copy"
        yield RowChange(copy.entry, event, copy.taken, lsn=format_lsn(copy.lsn), changed=changed, detail=detail, state=copy.state)


def _heard(key: Mapping[str, str], heard: HeardChange, state: State | None) -> Iterator[RowChange]:
    change = heard.change
    if change.action == "truncate":
        if state is not None:
            yield _change(change, state, None)
    elif change.action == "insert":
        yield _change(change, None, _known(change.new or {}, {}))
    elif change.action == "delete":
        yield _change(change, state, None)
    else:
        old, new = change.old, change.new or {}
        is_new, was = _is(key, {**new, **_told(new, old)}), old is None or _is(key, old)
        if not is_new:
            yield _change(change, state, None, f"it is {_named(key, new)} from here on")
            return
        before = (state or {}) if was else {}
        known = _known(new, {**before, **_known(old or {}, {})})
        yield _change(change, state if was else None, known, "" if was else f"it was {_named(key, old or {})} before")


def _is(key: Mapping[str, str], row: Mapping[str, Value]) -> bool:
    return all(isinstance(value := row.get(column), bytes) and text_of(value) == wanted for column, wanted in key.items())


def _told(new: Mapping[str, Value], old: Mapping[str, Value] | None) -> dict[str, Value]:
    """A TOASTed key that an update left alone is told by the old row."""
    return {column: value for column, value in (old or {}).items() if new.get(column) is UNCHANGED}


def _change(change: DecodedChange, before: State | None, after: State | None, detail: str = "") -> RowChange:
    commit = change.commit
    changed = [name for name, _, _ in differences(before, after)] if before is not None and after is not None else []
    return RowChange(
        change.seq, change.action.upper(), commit.time, commit.xid, format_lsn(commit.end_lsn), commit.seq, changed, detail, after
    )


def _known(row: Mapping[str, Value], before: Mapping[str, str | None]) -> State:
    state: State = {}
    for column, value in row.items():
        if isinstance(value, bytes) or value is None:
            state[column] = text_of(value)
        elif column in before:
            state[column] = before[column]
    return state


def _named(key: Mapping[str, str], row: Mapping[str, Value]) -> str:
    return ", ".join(f"{column}={text_of(value)}" for column in key if isinstance(value := row.get(column), bytes))
