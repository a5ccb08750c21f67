"""Latencies in buckets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.journal.latency import BOUNDS, Latencies


@given(st.lists(st.floats(-1, 1000)))
def test_every_one_is_counted_where_it_belongs(taken: list[float]) -> None:
    """Cumulative, as Prometheus wants it, with the bound itself inside; below zero is zero."""
    counted = Latencies()
    for seconds in taken:
        counted.add(seconds)
    found = dict(counted.cumulative())
    assert list(found) == [*BOUNDS, float("inf")]
    assert all(found[bound] == sum(seconds <= bound for seconds in taken) for bound in found)
    assert counted.seconds == pytest.approx(sum(max(0.0, seconds) for seconds in taken))
