"""Gaps of one stream."""

from __future__ import annotations

import msgspec

from archiver.capture.kubernetes.stream_gaps import StreamGaps
from archiver.capture.kubernetes.stream_status import StreamFigures
from archiver.journal.records import Gap
from archiver.kubernetes.stream_state import UNWATCHED
from tests.unit.capture.kubernetes.handed_over import SCOPE, KeptRuns, entries
from tests.unit.capture.set_clock import SetClock


def opened(outbox: KeptRuns) -> tuple[StreamGaps, StreamFigures]:
    figures = StreamFigures(SCOPE.stream, position="7")
    gaps = StreamGaps(entries(outbox, SetClock()), figures, None)
    gaps.heard = 5
    return gaps, figures


def told(outbox: KeptRuns) -> list[Gap]:
    return [msgspec.json.decode(body, type=Gap) for run in outbox.runs for body in run.bodies()]


def test_a_gap_begins_where_the_watch_stood_unless_told_otherwise() -> None:
    """Position and time of the last word."""
    outbox = KeptRuns()
    gaps, figures = opened(outbox)
    gaps.record("watch_expired", "", to_position="9", to_time=20)
    gaps.record("events_missed", "", to_position="9", to_time=20, from_position="3", from_time=2)
    assert [(gap.from_position, gap.from_time, gap.to_position) for gap in told(outbox)] == [("7", 5, "9"), ("3", 2, "9")]
    assert figures.gaps == 2


def test_silence_is_told_once_until_something_is_heard() -> None:
    """And the status says since when."""
    outbox = KeptRuns()
    gaps, figures = opened(outbox)
    assert [gaps.unwatched("403"), gaps.unwatched("403")] == [True, False]
    unknown_since = [figures.unknown_since]
    gaps.heard_again()
    assert [*unknown_since, figures.unknown_since] == [5, None]
    assert gaps.unwatched("403")
    assert [(gap.reason, gap.detail) for gap in told(outbox)] == [(UNWATCHED, "403")] * 2
