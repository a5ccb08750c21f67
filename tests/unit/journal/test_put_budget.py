"""The token bucket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archiver.journal.put_budget import Budget


def test_a_burst_then_the_rate() -> None:
    """A full bucket gives its burst at once; after that a token takes 1/rate seconds."""
    budget = Budget(2.0, 3, 0.0)
    for _ in range(3):
        assert budget.wait(0.0) == 0.0
        budget.take(0.0)
    assert budget.wait(0.0) == 0.5
    assert budget.wait(0.25) == 0.25
    assert budget.wait(0.5) == 0.0


@given(st.floats(0.1, 100), st.integers(1, 50), st.lists(st.floats(0, 10), max_size=100))
def test_never_more_than_burst_and_rate(rate: float, burst: int, pauses: list[float]) -> None:
    """Whoever waits as told takes at most burst + rate x time tokens, and needs to wait at most 1/rate each time."""
    now = 0.0
    budget = Budget(rate, burst, now)
    for taken, pause in enumerate(pauses, 1):
        now += pause
        wait = budget.wait(now)
        assert 0 <= wait <= 1 / rate + 1e-9
        now += wait
        budget.take(now)
        assert taken <= burst + rate * now + 1e-6


def test_time_that_stands_still_gives_nothing() -> None:
    """A clock that does not move, or moves back, makes no tokens."""
    budget = Budget(1.0, 1, 10.0)
    budget.take(10.0)
    assert budget.wait(10.0) == 1.0
    assert budget.wait(5.0) == 1.0
