"""What fails at one place for long is taken for something that stays."""

from __future__ import annotations

from archiver.capture.postgres.start.repeated_failure import RepeatedFailure


def test_only_the_same_failure_at_the_same_place_counts() -> None:
    """Another text or a position that moved begins the count anew."""
    failure = RepeatedFailure(3)
    for text, position in (("a", "0/1"), ("a", "0/1"), ("a", "0/2"), ("b", "0/2"), ("b", "0/2")):
        failure.note(text, position)
        assert failure.text == ""
    failure.note("b", "0/2")
    assert failure.text == "b"
    failure.note("b", "0/3")
    assert failure.text == ""
