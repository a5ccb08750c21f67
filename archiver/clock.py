"""The one door through which time and chance enter; everything else is handed a ``Clock``.

Times are whole microseconds since 1970-01-01T00:00:00Z (``int``). Durations are seconds (``float``).
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """What may be asked of time and chance. Tests and the simulation bring their own."""

    def now(self) -> int:
        """Wall-clock time in microseconds; may jump in either direction."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after at least ``seconds``; cancellation leaves nothing behind."""
        ...

    def random(self) -> float:
        """A float in [0, 1), for jitter."""
        ...

    def unique(self) -> str:
        """32 hex digits that no other call returns."""
        ...


class SystemClock:
    """The machine's own clock and randomness."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def random(self) -> float:
        return random.random()

    def unique(self) -> str:
        return uuid.uuid4().hex


STEP_SECONDS = 1.0
"""A wall clock that differs by more from what the monotonic one says was set."""
ADOPT_SECONDS = 600.0
"""A set clock that keeps its new course for this long is believed."""


class HeldClock(SystemClock):
    """The machine's clock, whose wall time follows the monotonic one: a step, there and back, changes nothing that is written meanwhile.

    A step that lasts is believed in the end: then it was a correction. Every change is told once, by ``steps``.
    """

    def __init__(self, source: Clock) -> None:
        self._source = source
        self._apart = source.now() - self._elapsed()
        self._differs: tuple[int, float] | None = None
        self._steps: list[tuple[int, bool]] = []

    def now(self) -> int:
        self._compare()
        return self._apart + self._elapsed()

    def monotonic(self) -> float:
        return self._source.monotonic()

    def steps(self) -> list[tuple[int, bool]]:
        """What was noticed since the last call: by how many microseconds the wall clock differs (0: no longer); whether it is believed."""
        self._compare()
        found, self._steps = self._steps, []
        return found

    def _elapsed(self) -> int:
        return int(self._source.monotonic() * 1_000_000)

    def _compare(self) -> None:
        step = self._source.now() - self._elapsed() - self._apart
        now = self._source.monotonic()
        if abs(step) <= STEP_SECONDS * 1_000_000:
            if self._differs is not None:
                self._differs = None
                self._steps.append((0, False))
        elif self._differs is None or abs(step - self._differs[0]) > STEP_SECONDS * 1_000_000:
            self._differs = (step, now)
            self._steps.append((step, False))
        elif now - self._differs[1] >= ADOPT_SECONDS:
            self._apart, self._differs = self._apart + step, None
            self._steps.append((step, True))


def to_text(microseconds: int) -> str:
    """RFC 3339 in UTC with six decimals, which sorts as text in time order; ``-`` for zero (not known)."""
    if not microseconds:
        return "-"
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def to_local_text(microseconds: int) -> str:
    """RFC 3339 in this machine's time zone, with its name; ``-`` for zero (not known)."""
    if not microseconds:
        return "-"
    local = (_EPOCH + timedelta(microseconds=microseconds)).astimezone()
    return f"{local.isoformat(timespec='microseconds')} ({local.tzname()})"


def duration_text(seconds: float) -> str:
    """A length of time in its two largest units: ``3 d 4 h``, ``12 min 5 s``, ``0.250 s``."""
    if seconds < 60:
        return f"{seconds:.3f} s"
    whole = int(seconds)
    units = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next(place for place, (number, _) in enumerate(units) if number)
    return " ".join(f"{number} {unit}" for number, unit in units[first : first + 2])


def from_text(text: str) -> int:
    """Microseconds of an RFC 3339 or ISO 8601 time. A time without an offset is read as UTC.

    Raises ``ValueError`` when ``text`` is not a time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)
