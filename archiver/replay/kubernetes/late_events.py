"""Events that a watch brought after a time in which nobody watched, against a point within that time. Pure.

They came in the order in which they happened. Each tells by itself when that was, or not before when; what came before and after it tells
the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from archiver.kubernetes.change_time import ChangeTime


class Late(msgspec.Struct, frozen=True):
    """One event."""

    label: str
    """The object, for people."""
    own: ChangeTime
    observed: int
    """When it was received."""


class Division(msgspec.Struct, frozen=True):
    """Which of them happened before a point."""

    before: int
    """So many of the first did."""
    doubtful: int
    """Of so many after those it cannot be told."""
    since: int = 0
    until: int = 0
    """The doubtful ones happened between these times."""


def divide(events: Sequence[Late], heard: int, point: int) -> Division:
    """``events`` in their order, all received after ``point``; everything up to ``heard`` was known."""
    earliest, latest = [], []
    floor = heard
    for event in events:
        floor = max(floor, event.own.since)
        earliest.append(floor)
    ceiling = max((event.observed for event in events), default=0)
    for event in reversed(events):
        ceiling = min(ceiling, event.observed, event.own.until or ceiling)
        latest.append(ceiling)
    latest.reverse()
    before = next((number for number, time in enumerate(latest) if time > point), len(events))
    end = next((number for number, time in enumerate(earliest) if number >= before and time > point), len(events))
    if end == before:
        return Division(before, 0)
    return Division(before, end - before, earliest[before], latest[end - 1])
