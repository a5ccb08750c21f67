"""When the next verifying list is due. Pure: the caller tells the time and the chance."""

from __future__ import annotations

_FIRST_SECONDS = 30.0
_CALM_SECONDS = 2.0
_LONGEST_CALM_SECONDS = 300.0
"""What stands before a server may end every watch early: no list of everything comes more often for it."""


class VerifySchedule:
    """The time of the next verifying list, in monotonic seconds; ``chance`` in [0, 1) spreads the streams."""

    def __init__(self, every: float) -> None:
        self._every = every
        self.at = float("inf")
        self._calm, self._ended_early = _CALM_SECONDS, float("-inf")

    def begin(self, now: float, chance: float) -> None:
        """A watch begins from a position alone: the first list soon after shows whether it was still the same history."""
        self._after(min(_FIRST_SECONDS, self._every), now, chance)

    def listed(self, now: float, chance: float) -> None:
        """A list is complete: the next one after the usual time."""
        self._after(self._every, now, chance)

    def ended_early(self, now: float) -> None:
        """The server ended a watch before its time: list as soon as changes have calmed down, and later when it goes on doing so."""
        again = now - self._ended_early < _LONGEST_CALM_SECONDS
        self._calm, self._ended_early = min(self._calm * 2, _LONGEST_CALM_SECONDS) if again else _CALM_SECONDS, now
        self.at = min(self.at, now + self._calm)

    def wait(self, now: float) -> float:
        """Seconds until it is due."""
        return max(0.0, self.at - now)

    def _after(self, seconds: float, now: float, chance: float) -> None:
        self.at = now + seconds * (0.9 + 0.2 * chance)
