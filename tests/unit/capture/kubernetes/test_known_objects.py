"""What is known of a stream, against lists and events."""

from __future__ import annotations

from archiver.capture.kubernetes.known_objects import KnownObjects, Verification
from archiver.kubernetes.json_fields import Event, Head, Meta


def event(kind: str, name: str, uid: str, version: str) -> Event:
    return Event(kind, Head(Meta(name=name, namespace="n", uid=uid, resource_version=version)))


def test_a_name_with_another_uid_is_gone_and_new() -> None:
    """Deleted and created again shows on both sides of the difference."""
    known = KnownObjects({("n", "a"): ("u1", "5"), ("n", "b"): ("u2", "6"), ("n", "c"): ("u3", "7")})
    difference = known.compare({("n", "a"): ("u9", "8"), ("n", "b"): ("u2", "6")})
    assert difference.gone == {("n", "a"): ("u1", "5"), ("n", "c"): ("u3", "7")}
    assert difference.changed == {("n", "a"): ("u9", "8")}


def test_events_below_a_list_do_not_turn_it_back() -> None:
    """After a list at 20, what the watch repeats from before it changes nothing; what follows does."""
    known = KnownObjects()
    known.replace({("n", "a"): ("u1", "15")}, "20")
    known.event(event("MODIFIED", "a", "u1", "12"))
    known.event(event("DELETED", "a", "u1", "14"))
    known.event(event("ADDED", "b", "u2", "20"))
    assert known.objects == {("n", "a"): ("u1", "15")}
    known.event(event("ADDED", "b", "u2", "21"))
    known.event(event("DELETED", "a", "other", "22"))
    known.event(event("DELETED", "a", "u1", "23"))
    assert known.objects == {("n", "b"): ("u2", "21")}


def verification(known: dict[str, tuple[str, str]], listed: dict[str, tuple[str, str]]) -> Verification:
    """Watch at 10, list at 20."""
    difference = KnownObjects({("n", name): version for name, version in known.items()}).compare(
        {("n", name): version for name, version in listed.items()}
    )
    return Verification(difference, "10", "20", 0)


def test_no_difference_is_settled_at_once() -> None:
    """A list that agrees needs no event to confirm it."""
    assert verification({"a": ("u", "5")}, {"a": ("u", "5")}).passed("10")


def test_differences_that_events_explain_are_none() -> None:
    """New, changed, deleted and re-created between the watch and the list: once the watch has told them, nothing is left."""
    check = verification(
        {"changed": ("u1", "5"), "gone": ("u2", "5"), "again": ("u3", "5")},
        {"changed": ("u1", "12"), "new": ("u4", "13"), "again": ("u5", "15")},
    )
    assert not check.passed("10")
    for each in (
        event("MODIFIED", "changed", "u1", "11"),
        event("MODIFIED", "changed", "u1", "12"),
        event("ADDED", "new", "u4", "13"),
        event("DELETED", "gone", "u2", "13"),
        event("DELETED", "again", "u3", "14"),
        event("ADDED", "again", "u5", "15"),
    ):
        check.event(each)
    assert check.passed("15")
    assert not check.gone
    assert not check.changed


def test_what_no_event_explains_was_missed() -> None:
    """A ghost, and a state the watch had already passed, are left when the watch has passed the list; a later event does not hide it."""
    check = verification({"ghost": ("u1", "5"), "stale": ("u2", "5")}, {"stale": ("u2", "9")})
    check.event(event("MODIFIED", "stale", "u2", "18"))
    assert not check.passed("18")
    assert check.passed("21")
    assert [key for key, _ in check.gone.values()] == [("n", "ghost")]
    assert [key for key, _ in check.changed.values()] == [("n", "stale")]
