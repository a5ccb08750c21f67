"""A token bucket: how many PUTs a second the journal may cost. Pure: time is handed in."""

from __future__ import annotations


class Budget:
    """``rate`` tokens a second gather, up to ``burst``."""

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = float(max(1, burst))
        self._tokens = self._burst
        self._at = now

    def wait(self, now: float) -> float:
        """Seconds until a token is there; 0 when one is."""
        self._gather(now)
        return max(0.0, (1.0 - self._tokens) / self._rate)

    def take(self, now: float) -> None:
        """Use one token, or what there is of it."""
        self._gather(now)
        self._tokens = max(0.0, self._tokens - 1.0)

    def _gather(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
