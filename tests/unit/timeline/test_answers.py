"""States of one row or object, within bounds."""

from __future__ import annotations

from typing import Any

import pytest

from archiver.history.objects import ObjectChange
from archiver.history.rows import RowChange
from archiver.timeline import answers
from archiver.timeline.answers import MOST_STATES, ShownState, _object_states, _row_states


@pytest.mark.parametrize("count", [0, 1, MOST_STATES, MOST_STATES + 1, 3 * MOST_STATES])
def test_the_newest_states_alone_are_made(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the oldest of them is compared with the one before it, which is not among them."""
    made = list[int]()
    make = answers._state

    def counted(entry: int, *more: Any) -> ShownState:
        made.append(entry)
        return make(entry, *more)

    monkeypatch.setattr(answers, "_state", counted)
    changes = [
        ObjectChange(entry, entry, "MODIFIED", state={"metadata": {"name": "x"}, "spec": {"old": entry // 2, "round": entry}})
        for entry in range(1, count + 1)
    ]
    found = _object_states(changes)
    assert made == [each.entry for each in found] == list(range(max(1, count - MOST_STATES + 1), count + 1))
    for each in found:
        if each.entry > 1:
            assert [(field.name, field.old.text) for field in each.fields][-1] == ("spec.round", str(each.entry - 1))
            assert len(each.fields) == 1 + (each.entry % 2 == 0)
    rows = [RowChange(entry, "UPDATE", entry, state={"old": str(entry // 2), "round": str(entry)}) for entry in range(1, count + 1)]
    made.clear()
    states = _row_states(rows)
    assert made == [each.entry for each in states] == [each.entry for each in found]
    for each in states:
        if each.entry > 1:
            assert [(field.name, field.old.text) for field in each.fields][-1] == ("round", str(each.entry - 1))
