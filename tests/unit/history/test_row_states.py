"""What was heard of one row, put in order."""

from __future__ import annotations

from archiver.history.row_states import CopiedRow, HeardChange, HistoryGap, differences, states
from archiver.replay.postgres.decode.commits import Commit
from archiver.replay.postgres.decode.pgoutput import UNCHANGED, Value
from archiver.replay.postgres.decode.row_log import DecodedChange

KEY = {"id": "5"}


def change(lsn: int, action: str, new: dict[str, Value] | None = None, old: dict[str, Value] | None = None, *, era: int = 0) -> HeardChange:
    return HeardChange(era, DecodedChange(action, old, new, Commit(lsn, lsn, lsn + 1, lsn, lsn), lsn))  # type: ignore[arg-type]


def row(note: Value, key: bytes = b"5") -> dict[str, Value]:
    return {"id": key, "note": note}


def baseline(lsn: int, entry: int, note: str | None, *, era: int = 0, first: bool = True) -> CopiedRow:
    return CopiedRow(era, entry, lsn, lsn, first, None if note is None else {"id": "5", "note": note})


def test_a_copy_stands_where_its_lsn_is_not_where_its_entry_is() -> None:
    """A baseline's entry comes when it is finished: changes that were streamed meanwhile follow it all the same."""
    heard = [change(20, "update", row(b"b")), change(30, "update", row(b"c"))]
    found = states(KEY, heard, [baseline(10, 25, "a"), baseline(24, 40, "x", first=False)], [])
    assert [(one.event, one.state and one.state["note"], one.changed) for one in found] == [
        ("BASELINE", "a", []),
        ("UPDATE", "b", ["note"]),
        ("COPIED", "x", ["note"]),
        ("UPDATE", "c", ["note"]),
    ]


def test_a_copy_that_says_what_is_known_is_no_change() -> None:
    """Nor is one of a table in which the row never was; one that lacks the row ends it."""
    copies = [
        baseline(10, 10, "a"),
        baseline(20, 20, "a", first=False),
        baseline(30, 30, None, first=False),
        baseline(40, 40, None, first=False),
    ]
    found = states(KEY, [], copies, [])
    assert [(one.event, one.state is None) for one in found] == [("BASELINE", False), ("COPIED", True)]


def test_unchanged_values_come_from_the_state_before_and_only_from_there() -> None:
    """What no message told is left out, not guessed."""
    heard = [change(20, "update", row(UNCHANGED)), change(30, "delete", None, row(None)), change(40, "update", row(UNCHANGED))]
    found = states(KEY, heard, [baseline(10, 10, "a")], [])
    assert [one.state for one in found] == [{"id": "5", "note": "a"}, {"id": "5", "note": "a"}, None, {"id": "5"}]


def test_a_row_that_moves_says_from_where_and_to_where() -> None:
    """With the values of its key."""
    away = change(20, "update", row(b"a", b"6"), {"id": b"5"})
    back = change(30, "update", row(UNCHANGED), {"id": b"6"})
    found = states(KEY, [away, back], [baseline(10, 10, "a")], [])
    assert [(one.detail, one.state) for one in found[1:]] == [("it is id=6 from here on", None), ("it was id=6 before", {"id": "5"})]


def test_what_follows_a_gap_of_the_source_never_comes_before_it() -> None:
    """Another system's LSNs may begin lower: the gap divides."""
    heard = [change(100, "insert", row(b"a")), change(5, "update", row(b"b"), era=1)]
    found = states(KEY, heard, [baseline(3, 210, "z", era=1)], [HistoryGap(0, 200, 0, "", "all: system_changed")])
    assert [(one.event, one.state and one.state["note"]) for one in found] == [
        ("INSERT", "a"),
        ("GAP", None),
        ("BASELINE", "z"),
        ("UPDATE", "b"),
    ]


def test_differences_tell_null_from_a_column_that_is_not_there() -> None:
    """Both print as nothing."""
    assert differences({"a": None, "b": "1"}, {"b": "1", "c": None}) == [("a", None, None), ("c", None, None)]
    assert differences(None, {"a": "1"}) == [("a", None, "1")]
