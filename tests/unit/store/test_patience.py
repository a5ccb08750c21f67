"""How long a call may take."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archiver.store.patience import LEAST_BYTES_PER_SECOND, Patience


@given(st.integers(0, 1 << 31), st.floats(0.1, 100), st.floats(1.0, 1000.0))
def test_every_line_that_counts_carries_every_object(size: int, given_seconds: float, factor: float) -> None:
    """Whatever the line's speed, down to the least that counts: a call that is made again long enough has the time it needs."""
    needed = size / (LEAST_BYTES_PER_SECOND * factor)
    patience, tries = Patience(), 0
    while patience.seconds(given_seconds, size) < min(needed, patience.longest(given_seconds, size)):
        patience.late()
        tries += 1
    assert patience.seconds(given_seconds, size) >= needed
    assert tries < 25


def test_the_end_of_an_outage_does_not_wait_for_long() -> None:
    """Small calls keep their time however often they were late, and calls that are quick again take the waiting back."""
    patience = Patience()
    for _ in range(100):
        patience.late()
    assert patience.seconds(30.0, 1000) < 31
    for _ in range(30):
        patience.done(30.0, 1000, 0.01)
    assert patience.seconds(30.0, 8 << 20) == 30.0
