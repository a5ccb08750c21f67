"""Changes that came late, against points within the time in which nobody watched."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.kubernetes.change_time import ChangeTime, change_time
from archiver.replay.kubernetes.late_events import Late, divide

SECOND = 1_000_000


def metadata(created: int, *, deleted: int = 0, **managed: int) -> dict[str, Any]:
    def text(second: int) -> str:
        return f"1970-01-01T00:00:{second:02}Z"

    found: dict[str, Any] = {"creationTimestamp": text(created)}
    if deleted:
        found |= {"deletionTimestamp": text(deleted), "deletionGracePeriodSeconds": 0}
    found["managedFields"] = [{"manager": name, "operation": "Update", "time": text(at)} for name, at in managed.items()]
    return found


@pytest.mark.parametrize(
    ("event", "now", "before", "since", "until"),
    [
        ("ADDED", metadata(5, a=5), None, 5, 6),
        ("MODIFIED", metadata(5, a=9), metadata(5, a=5), 9, 10),
        ("MODIFIED", metadata(5, a=5, b=7), metadata(5, a=5), 7, 8),
        # Whoever takes a label away leaves no trace.
        ("MODIFIED", metadata(5, a=5), metadata(5, a=5), 5, 0),
        ("MODIFIED", metadata(5, a=9), None, 9, 0),
        ("MODIFIED", metadata(5, a=9, deleted=20), metadata(5, a=9), 20, 21),
        ("DELETED", metadata(5, a=9), metadata(5, a=9), 9, 0),
        ("DELETED", metadata(5, a=9, deleted=20), metadata(5, a=9, deleted=20), 20, 0),
    ],
)
def test_what_an_object_says_of_its_change(event: str, now: dict[str, Any], before: dict[str, Any] | None, since: int, until: int) -> None:
    """Whole seconds where something new in it has a time; else only before when it was not."""
    assert change_time(event, now, before) == ChangeTime(since * SECOND, until * SECOND)


@pytest.mark.parametrize("strange", [{}, {"creationTimestamp": 7, "managedFields": "x"}, {"managedFields": [7, {"time": "noon"}, {}]}])
def test_strange_metadata_says_nothing(strange: dict[str, Any]) -> None:
    """Whatever stands there, nothing is made of it."""
    for event in ("ADDED", "MODIFIED", "DELETED"):
        assert change_time(event, strange, strange) == ChangeTime()


@given(
    st.lists(st.tuples(st.integers(1, 60 * SECOND), st.sampled_from(["second", "since", "nothing"])), max_size=12),
    st.integers(1, 60 * SECOND),
)
def test_nothing_certain_is_wrong(changes: list[tuple[int, str]], point: int) -> None:
    """Whenever the changes really happened: those counted before the point did, and those behind the doubtful ones did not."""
    times = sorted(time for time, _ in changes)
    told = {"second": lambda at: ChangeTime(at - at % SECOND, at - at % SECOND + SECOND), "since": lambda at: ChangeTime(at - at % SECOND)}
    events = [
        Late("", told[how](time) if how in told else ChangeTime(), 61 * SECOND) for time, (_, how) in zip(times, changes, strict=True)
    ]
    found = divide(events, 0, point)
    assert all(time <= point for time in times[: found.before])
    assert all(time > point for time in times[found.before + found.doubtful :])
    if all(how == "second" for _, how in changes):
        seconds = {time // SECOND for time in times[found.before : found.before + found.doubtful]}
        assert seconds <= {point // SECOND}
