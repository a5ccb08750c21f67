"""What is acknowledged, and when."""

from __future__ import annotations

from archiver.capture.postgres.stream.feedback import Feedback


def test_never_beyond_durable() -> None:
    """What was received and is not durable is not acknowledged."""
    feedback = Feedback(100, 10.0, now=0.0)
    feedback.sent(100, 0.0)
    assert feedback.due(received=500, now=1.0) is None
    feedback.durable = 300
    assert feedback.due(received=500, now=1.0) == 300


def test_never_beyond_received() -> None:
    """A durable position that this stream did not deliver is not acknowledged: the server would skip to it."""
    feedback = Feedback(100, 10.0, now=0.0)
    feedback.durable = 900
    assert feedback.due(received=200, now=0.0) == 200


def test_never_backwards() -> None:
    """What was acknowledged stays acknowledged."""
    feedback = Feedback(100, 10.0, now=0.0)
    feedback.durable = 300
    feedback.sent(300, 0.0)
    assert feedback.due(received=200, now=20.0) == 300


def test_an_advance_is_reported_at_once() -> None:
    """A commit may be waiting for it."""
    feedback = Feedback(100, 10.0, now=0.0)
    feedback.sent(100, 0.0)
    feedback.durable = 101
    assert feedback.due(received=200, now=0.001) == 101


def test_the_timer_reports_without_an_advance() -> None:
    """A silent client is cut off, so the same position is reported again in time."""
    feedback = Feedback(100, 10.0, now=0.0)
    feedback.sent(100, 0.0)
    assert feedback.due(received=100, now=9.9) is None
    assert feedback.wait(9.0) == 1.0
    assert feedback.due(received=100, now=10.0) == 100
    assert feedback.by_timer(10.0)


def test_a_question_is_answered_at_once() -> None:
    """A keepalive that asks for an answer gets one, once."""
    feedback = Feedback(100, 10.0, now=0.0)
    feedback.sent(100, 0.0)
    feedback.ask()
    assert feedback.due(received=100, now=0.1) == 100
    feedback.sent(100, 0.1)
    assert feedback.due(received=100, now=0.2) is None
