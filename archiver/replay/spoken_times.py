"""Times as people say them -> microseconds. Pure, but for the time zones that this machine knows.

10 minutes ago        2h ago                          back from now
yesterday 17:00       today 9:05:30                   of the day in the zone that is named, else in UTC
yesterday 17:00 Europe/Berlin                         2026-11-28 17:00 Europe/Berlin
@1764345600           @1764345600.25                  seconds since 1970
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from archiver.errors import Invalid

_WORDS = {"second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3600, "day": 86400, "week": 604800}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, **_WORDS, **{f"{word}s": seconds for word, seconds in _WORDS.items()}}
_AGO = re.compile(r"([0-9]{1,9}) ?([a-z]+) ago", re.ASCII)
_EPOCH = re.compile(r"@([0-9]{1,11})(?:\.([0-9]{1,6}))?", re.ASCII)
_DAY = re.compile(
    r"(?P<day>today|yesterday|[0-9]{4}-[0-9]{2}-[0-9]{2})[ T](?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?"
    r"(?: (?P<zone>[A-Za-z][A-Za-z0-9_+/-]*))?",
    re.ASCII,
)


class SpokenTime(NamedTuple):
    """What was meant."""

    moment: int
    """Microseconds since 1970."""
    zoneless: bool
    """A time of day without a zone, read as UTC."""


def spoken_time(text: str, now: int) -> SpokenTime | None:
    """What ``text`` means at ``now``; ``None`` when it has none of these forms.

    ``Invalid`` when it has, and there is no such time: an unknown zone, an hour that the zone's clocks leap over, or one that they show
    twice.
    """
    if ago := _AGO.fullmatch(text):
        seconds = _SECONDS.get(ago[2])
        return SpokenTime(now - int(ago[1]) * seconds * 1_000_000, zoneless=False) if seconds else None
    if epoch := _EPOCH.fullmatch(text):
        return SpokenTime(int(epoch[1]) * 1_000_000 + int((epoch[2] or "").ljust(6, "0")), zoneless=False)
    if of_day := _DAY.fullmatch(text):
        return _of_day(text, of_day, now)
    return None


def _of_day(text: str, found: re.Match[str], now: int) -> SpokenTime:
    zone = _zone(text, found["zone"])
    today = datetime.fromtimestamp(now // 1_000_000, zone).date()
    try:
        day = {"today": today, "yesterday": today - timedelta(days=1)}.get(found["day"]) or datetime.fromisoformat(found["day"]).date()
        local = datetime(day.year, day.month, day.day, int(found["hour"]), int(found["minute"]), int(found["second"] or 0), tzinfo=zone)
    except ValueError:
        raise Invalid(f"{text!r} is no time of a day", hint="hours go to 23, minutes and seconds to 59") from None
    first, second = local.replace(fold=0).astimezone(UTC), local.replace(fold=1).astimezone(UTC)
    if first != second:
        # Either the clocks are put back and show it twice, or they are put forward and never show it.
        twice = first.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None)
        said = "was shown twice there, as the clocks were put back" if twice else "was never shown there: the clocks were put forward"
        raise Invalid(f"{text!r} {said}", hint=f"say the offset: {first.isoformat()} or {second.isoformat()}")
    return SpokenTime(int(first.timestamp()) * 1_000_000, zoneless=not found["zone"])


def _zone(text: str, name: str | None) -> tzinfo:
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(
            f"{text!r} names a time zone that this machine does not know",
            hint="a zone is called as Europe/Berlin; or say the offset: +01:00",
        ) from None
