"""How long one call may take: longer for more bytes, and longer after it was too short. Pure: sizes and seconds are handed in.

With one time for all sizes, an object that does not pass the line within it is sent again and again, and nothing behind it becomes durable.
"""

from __future__ import annotations

FREE_BYTES = 8 << 20
"""The time that a user gave is for so many bytes …"""
BYTES_PER_SECOND = 1 << 20
"""… and every second more for so many more, until a call was too slow for that."""
LEAST_BYTES_PER_SECOND = 16 << 10
"""A line that carries less is as good as none: what bounds every wait."""


class Patience:
    """What one store has learned of its line. Every call that ends late doubles it; calls that end early halve it again."""

    def __init__(self) -> None:
        self._factor = 1.0

    def seconds(self, given: float, size: int) -> float:
        """How long ``size`` bytes may take where ``given`` seconds are meant for a few."""
        learned = (given + max(0, size - FREE_BYTES) / BYTES_PER_SECOND) * self._factor
        return min(learned, self.longest(given, size))

    def longest(self, given: float, size: int) -> float:
        """What ``seconds`` never exceeds."""
        return given + size / LEAST_BYTES_PER_SECOND

    def late(self) -> None:
        """A call ended because its time was over."""
        self._factor = min(self._factor * 2, 1e6)

    def done(self, given: float, size: int, took: float) -> None:
        """A call of ``size`` bytes succeeded after ``took`` seconds."""
        if took * 4 < self.seconds(given, size):
            self._factor = max(1.0, self._factor / 2)
