"""When a failing stream is an unknown one."""

from __future__ import annotations

from archiver.capture.kubernetes.silence import Silence


def test_a_missing_right_is_silence_at_once() -> None:
    """It does not come back by waiting."""
    assert Silence().failed("403", 0, denied=True)


def test_everything_else_may_be_over_in_a_moment() -> None:
    """Time counts from the first of the failures that nothing interrupted."""
    silence = Silence()
    assert not silence.failed("down", 0, denied=False)
    assert not silence.failed("down", 14, denied=False)
    assert silence.failed("still down", 15, denied=False)
    assert silence.reason == "still down"
    silence.broken()
    assert silence.reason == ""
    assert not silence.failed("down", 100, denied=False)
