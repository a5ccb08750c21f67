"""How long something took, counted in fixed buckets: what it costs does not grow with how often it is done."""

from __future__ import annotations

from bisect import bisect_left

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds up to which each bucket counts; one more has what took longer."""


class Latencies:
    """Counts by bucket, and the sum. Both only grow."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        """Of everything that was counted."""

    def add(self, seconds: float) -> None:
        """Count one; what a clock that went back makes negative counts as nothing."""
        seconds = max(0.0, seconds)
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def cumulative(self) -> list[tuple[float, int]]:
        """(bound, how many took at most so long), the last bound without end."""
        total, found = 0, []
        for bound, count in zip((*BOUNDS, float("inf")), self._counts, strict=True):
            total += count
            found.append((bound, total))
        return found
