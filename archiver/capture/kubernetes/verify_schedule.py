"""When the next verifying list is due. Pure: the caller tells the time and the chance."""

from __future__ import annotations

_FIRST_SECONDS = 30.0
_CALM_SECONDS = 2.0


class VerifySchedule:
    """The time of the next verifying list, in monotonic seconds; ``chance`` in [0, 1) spreads the streams."""

    def __init__(self, every: float) -> None:
        self._every = every
        self.at = float("inf")

    def begin(self, now: float, chance: float) -> None:
        """A watch begins from a position alone: the first list soon after shows whether it was still the same history."""
        self._after(min(_FIRST_SECONDS, self._every), now, chance)

    def listed(self, now: float, chance: float) -> None:
        """A list is complete: the next one after the usual time."""
        self._after(self._every, now, chance)

    def ended_early(self, now: float) -> None:
        """The server ended a watch before its time: list as soon as changes have calmed down."""
        self.at = min(self.at, now + _CALM_SECONDS)

    def wait(self, now: float) -> float:
        """Seconds until it is due."""
        return max(0.0, self.at - now)

    def _after(self, seconds: float, now: float, chance: float) -> None:
        self.at = now + seconds * (0.9 + 0.2 * chance)
