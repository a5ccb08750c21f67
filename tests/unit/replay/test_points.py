"""The grammar of points."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver import clock
from archiver.errors import Invalid
from archiver.replay.points import Point, meaning, parse_point, require_order


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [
        ("latest", "latest", 0),
        (" latest ", "latest", 0),
        ("42", "entry", 42),
        ("20261123", "entry", 20261123),
        ("0/1A", "lsn", 26),
        ("16/B374D848", "lsn", 0x16B374D848),
        ("2026-11-23T10:05:00Z", "time", 1795428300000000),
        ("2026-11-23 12:05:00+02:00", "time", 1795428300000000),
        ("2026-11-23T10:05:00", "time", 1795428300000000),
        ("2026-11-23T10:05:00.123456Z", "time", 1795428300123456),
        ("2026-11-23", "time", 1795392000000000),
    ],
)
def test_each_form_is_understood(text: str, kind: str, number: int) -> None:
    """Digits alone are an entry; a time without offset is UTC."""
    point = parse_point(text)
    assert (point.kind, point.number, point.text) == (kind, number, text)
    assert bool(meaning(point)) == (text in {"2026-11-23T10:05:00", "2026-11-23"})


def test_a_mark_keeps_its_name() -> None:
    """Whatever stands behind the colon."""
    assert parse_point("mark:before 2.0/x") == Point("mark:before 2.0/x", "mark", name="before 2.0/x")


@pytest.mark.parametrize("text", ["", "yesterday", "0", "-1", "mark:", "1/2/3", "123456789/1", "G/1", "10:05", "1969-01-01T00:00:00Z", "²"])
def test_anything_else_is_told_what_a_point_is(text: str) -> None:
    """The hint lists the forms."""
    with pytest.raises(Invalid, match=r"not a point|counted from 1|before 1970") as caught:
        parse_point(text)
    assert "RFC 3339" in caught.value.hint


@given(st.integers(1, 4_000_000_000_000_000))
def test_a_printed_time_is_read_back(moment: int) -> None:
    """What the program prints is a point."""
    assert parse_point(clock.to_text(moment)).number == moment


@given(st.text(max_size=30))
def test_no_text_does_anything_but_parse_or_be_invalid(text: str) -> None:
    """No other exception, no endless loop."""
    with contextlib.suppress(Invalid):
        parse_point(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.250 s"), (59.9, "59.900 s"), (60, "1 min 0 s"), (3600, "1 h 0 min"), (90_000, "1 d 1 h"), (86_400 * 400, "400 d 0 h")],
)
def test_a_length_of_time_is_said_in_two_units(seconds: float, text: str) -> None:
    """The largest two, or seconds alone."""
    assert clock.duration_text(seconds) == text


@pytest.mark.parametrize(
    ("first", "last", "backwards"),
    [
        (Point("12", "entry", 12), Point("11", "entry", 11), True),
        (Point("11", "entry", 11), Point("mark:m", "entry", 11), False),
        (Point("mark:m", "entry", 12), Point("11", "entry", 11), True),
        (Point("2026-07-01T00:00:00Z", "time", 2), Point("1 hour ago", "time", 1), True),
        (Point("1/0", "lsn", 1 << 32), Point("0/1", "lsn", 1), True),
        (Point("0/1", "lsn", 1), Point("1/0", "lsn", 1 << 32), False),
        (Point("latest", "entry", 20), Point("1 hour ago", "time", 1), True),
        (Point("latest", "entry", 20), Point("latest", "entry", 20), False),
        (Point("12", "entry", 12), Point("1 hour ago", "time", 1), False),
    ],
)
def test_points_the_wrong_way_round_are_refused(first: Point, last: Point, backwards: bool) -> None:
    """Where it is known: of one kind, or behind the journal's end."""
    refused = pytest.raises(Invalid, match="lies behind --until") if backwards else contextlib.nullcontext()
    with refused:
        require_order(first, last)
