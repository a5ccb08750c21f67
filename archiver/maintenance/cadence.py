"""When a tail is long enough to be folded. Pure.

What a restore needs for the tail behind the newest checkpoint is estimated: it fetches every segment, of all sources, and goes through
all entries. How long one request takes is measured at the store itself. The rates are a third of what was
measured on one core with changes of 100 bytes (400 000 entries a second) and of 4 KB that hardly compress (25 MiB a second): rather too
low than too high.
"""

from __future__ import annotations

import msgspec

ENTRIES_PER_SECOND = 120_000
STORED_BYTES_PER_SECOND = 10 << 20
_AT_ONCE = 8
"""Segments that a reader asks for at a time; of small ones it asks for more."""


class TailSize(msgspec.Struct, frozen=True):
    """What a restore to the journal's end would read behind the newest checkpoint of one source."""

    segments: int = 0
    entries: int = 0
    stored_bytes: int = 0
    request_seconds: float = 0.0
    """How long the store takes for one request."""


def restore_seconds(tail: TailSize) -> float:
    """What reading and folding ``tail`` would take, as far as can be said beforehand."""
    waiting = tail.segments * tail.request_seconds / _AT_ONCE
    return waiting + tail.entries / ENTRIES_PER_SECOND + tail.stored_bytes / STORED_BYTES_PER_SECOND


def is_due(tail: TailSize, objective: float) -> bool:
    """Whether ``tail`` should be folded now. Half of the objective, in seconds, is left for what arrives until the fold is done."""
    return restore_seconds(tail) >= objective / 2


def pause_after(spent: float, *, interval: float, rest_ratio: float) -> float:
    """Seconds until the next fold after one that took ``spent``."""
    return max(interval, rest_ratio * spent)
