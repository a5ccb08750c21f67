"""A clock that is set by hand."""

from __future__ import annotations

from archiver.clock import SystemClock


class SetClock(SystemClock):
    """Stands at ``seconds``, monotonic and since 1970."""

    def __init__(self, seconds: float = 1000.0) -> None:
        self.seconds = seconds

    def now(self) -> int:
        return round(self.seconds * 1_000_000)

    def monotonic(self) -> float:
        return self.seconds
