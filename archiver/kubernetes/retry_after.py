"""How long a server wants to be left alone. It is heeded within a bound: what stands before a server may ask for a year."""

from __future__ import annotations

MOST_SECONDS = 60.0


def bounded(seconds: float) -> float:
    """``seconds`` as they are heeded."""
    return min(max(0.0, seconds), MOST_SECONDS)


def of_header(text: str) -> float:
    """What a header ``Retry-After`` says; 0 where it says no seconds."""
    return bounded(float(text)) if text.isascii() and text.isdigit() else 0.0
