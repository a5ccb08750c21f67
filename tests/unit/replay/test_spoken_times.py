"""Times as people say them, and those that there never were or that were twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver import clock
from archiver.errors import Invalid
from archiver.replay.points import meaning, parse_point
from archiver.replay.spoken_times import spoken_time

NOW = clock.from_text("2026-11-29T00:30:00Z")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10 minutes ago", "2026-11-29T00:20:00Z"),
        ("1 minute ago", "2026-11-29T00:29:00Z"),
        ("2h ago", "2026-11-28T22:30:00Z"),
        ("90 s ago", "2026-11-29T00:28:30Z"),
        ("3 days ago", "2026-11-26T00:30:00Z"),
        ("2 weeks ago", "2026-11-15T00:30:00Z"),
        ("@1764345600", "2025-11-28T16:00:00Z"),
        ("@1764345600.25", "2025-11-28T16:00:00.25Z"),
        ("yesterday 17:00", "2026-11-28T17:00:00Z"),
        ("today 0:05:30", "2026-11-29T00:05:30Z"),
        # At that moment the day there has begun already, or not yet.
        ("yesterday 17:00 Europe/Berlin", "2026-11-28T16:00:00Z"),
        ("today 9:00 America/New_York", "2026-11-28T14:00:00Z"),
        ("2026-07-01 17:00 Europe/Berlin", "2026-07-01T15:00:00Z"),
        ("2026-07-01T17:00 UTC", "2026-07-01T17:00:00Z"),
    ],
)
def test_each_form_is_understood(text: str, meant: str) -> None:
    """At the same moment always the same."""
    found = spoken_time(text, NOW)
    assert found is not None
    assert clock.to_text(found.moment) == clock.to_text(clock.from_text(meant))
    assert found.zoneless == (text in {"yesterday 17:00", "today 0:05:30"})


@pytest.mark.parametrize(
    "text", ["yesterday", "ago", "5 ago", "5 fortnights ago", "-5 minutes ago", "@", "@-1", "tomorrow 9:00", "today", "5 ss ago"]
)
def test_other_texts_are_none(text: str) -> None:
    """Whoever asked says which forms there are."""
    assert spoken_time(text, NOW) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-10-25 02:30 Europe/Berlin", "twice"),
        ("2026-03-29 02:30 Europe/Berlin", "never"),
        ("today 25:00", "no time of a day"),
        ("2026-02-30 12:00 Europe/Berlin", "no time of a day"),
        ("today 12:00 Europe/Nowhere", "time zone"),
        ("today 12:00 Europe/../../etc/passwd", "not a point"),
    ],
)
def test_no_time_is_guessed(text: str, said: str) -> None:
    """A restore to the wrong hour would be worse than none."""
    with pytest.raises(Invalid, match=said):
        parse_point(text, NOW)


def test_an_hour_that_was_twice_is_told_by_its_offsets() -> None:
    """Each of the two can be said."""
    with pytest.raises(Invalid) as caught:
        parse_point("2026-10-25 02:30 Europe/Berlin", NOW)
    for offered in ("2026-10-25T00:30:00+00:00", "2026-10-25T01:30:00+00:00"):
        assert offered in caught.value.hint
        assert clock.to_text(parse_point(offered).number).startswith(offered[:19])


def test_what_was_meant_is_said_before_anything_is_done() -> None:
    """In UTC and in local time."""
    assert "2026-11-29T00:20:00" in meaning(parse_point("10 minutes ago", NOW))
    assert "read as UTC" in meaning(parse_point("yesterday 17:00", NOW))


@given(st.text(max_size=40), st.integers(0, 4 * 10**15))
def test_any_text_is_understood_or_refused(text: str, now: int) -> None:
    """Nothing else is raised."""
    try:
        found = spoken_time(text, now)
    except Invalid:
        return
    assert found is None or isinstance(found.moment, int)


@given(st.integers(0, 10**9 - 1), st.sampled_from(["s", "m", "h", "d", "weeks"]), st.integers(10**15, 2 * 10**15))
def test_ago_lies_before(count: int, unit: str, now: int) -> None:
    """Never behind the moment it is said at."""
    found = spoken_time(f"{count} {unit} ago", now)
    assert found is not None
    assert found.moment <= now
