"""When a change happened, by what the object says itself."""

from __future__ import annotations

from typing import Any

from archiver.clock import from_text
from archiver.kubernetes.change_time import ChangeTime, change_time

SECOND = 1_000_000


def at(second: int) -> str:
    return f"2026-11-23T10:00:{second:02d}Z"


def within(second: int) -> ChangeTime:
    return ChangeTime(from_text(at(second)), from_text(at(second)) + SECOND)


def metadata(*, created: int = 0, managers: dict[str, int] | None = None, **more: Any) -> dict[str, Any]:
    entries = [{"manager": name, "operation": "Update", "time": at(second)} for name, second in (managers or {}).items()]
    return {"creationTimestamp": at(created), "managedFields": entries} | more


def test_a_new_object_was_made_when_it_says() -> None:
    """Within that second: timestamps have whole ones."""
    assert change_time("ADDED", metadata(created=5, managers={"a": 9}), None) == within(5)


def test_a_change_is_as_new_as_the_manager_that_wrote_last() -> None:
    """Only entries that are newer than before tell."""
    before = metadata(created=1, managers={"a": 3, "b": 4})
    assert change_time("MODIFIED", metadata(created=1, managers={"a": 8, "b": 4}), before) == within(8)


def test_where_nobody_left_a_trace_only_the_earliest_time_is_known() -> None:
    """As for a deletion, which leaves none, and for an object that was not known before."""
    same = metadata(created=1, managers={"a": 3})
    since = ChangeTime(from_text(at(3)))
    assert change_time("MODIFIED", same, same) == since
    assert change_time("DELETED", same, same) == since
    assert change_time("MODIFIED", same, None) == since


def test_a_deletion_was_asked_for_before_its_grace_is_over() -> None:
    """The timestamp says when it may end."""
    before = metadata(created=1)
    after = metadata(created=1, deletionTimestamp=at(40), deletionGracePeriodSeconds=30)
    assert change_time("MODIFIED", after, before) == within(10)


def test_times_that_are_none_say_nothing() -> None:
    """Whatever somebody wrote into an object."""
    assert change_time("ADDED", {"creationTimestamp": 7}, None) == ChangeTime()
    assert change_time("MODIFIED", {"managedFields": "x", "creationTimestamp": "yesterday"}, {}) == ChangeTime()
