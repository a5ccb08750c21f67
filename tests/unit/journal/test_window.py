"""Which times can be restored: what verify found, without the gaps of whole sources."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archiver.journal.drill_reports import DrillReport
from archiver.journal.found_gaps import FoundGap
from archiver.journal.records import Gap
from archiver.journal.restorable import Restorable
from archiver.journal.verifier import VerifyReport
from archiver.journal.window import Span, windows


def stretch(begin: int, end: int, source: str = "db") -> Restorable:
    """``end`` 0: to the journal's end."""
    return Restorable(source, begin, begin, end or 10**6, end)


def gap(begin: int, end: int | None, what: str = "all", source: str = "db") -> FoundGap:
    closed = "" if end is None else "0/1"
    return FoundGap(source, 1, Gap(what, "slot_lost", from_time=begin, to_time=end or 0, to_position=closed))


def spans(report: VerifyReport) -> list[Span]:
    [found] = windows(report, {})
    return found.restorable


def test_a_gap_of_the_source_lies_between_two_spans() -> None:
    """And an open one ends the last of them."""
    report = VerifyReport(restorable=[stretch(10, 0)], gaps=[gap(20, 30), gap(40, None)])
    assert spans(report) == [Span(10, 20), Span(30, 40)]


def test_a_gap_of_a_table_leaves_the_rest() -> None:
    """It is named beside the span that it lies in."""
    [found] = windows(VerifyReport(restorable=[stretch(10, 0)], gaps=[gap(20, None, "table public.t")]), {})
    assert found.restorable == [Span(10, None)]
    assert [(each.what, each.to_time) for each in found.gaps] == [("table public.t", None)]


def test_every_gap_of_a_stream_is_one_of_all_of_it() -> None:
    """A stream is one kind in one scope."""
    report = VerifyReport(restorable=[stretch(10, 0, "k/a@b")], gaps=[gap(20, 30, "resource a", "k/a@b")])
    assert spans(report) == [Span(10, 20), Span(30, None)]


def test_a_gap_before_the_first_baseline_takes_nothing() -> None:
    """Nothing could be restored there anyway."""
    assert spans(VerifyReport(restorable=[stretch(10, 0)], gaps=[gap(0, 10)])) == [Span(10, None)]


def test_a_source_of_which_nothing_can_be_restored_is_there() -> None:
    """With what is missing of it."""
    [found] = windows(VerifyReport(gaps=[gap(0, None)]), {"db": DrillReport(at="latest", started=1, finished=2, passed=True, point=3)})
    assert (found.source, found.restorable) == ("db", [])
    assert found.drill is not None
    assert (found.drill.passed, found.drill.point) == (True, 3)


times = st.integers(1, 40)
intervals = st.tuples(times, times).map(lambda pair: (min(pair), max(pair) + 1))


@given(st.lists(intervals, max_size=4), st.lists(intervals, max_size=4))
def test_a_time_is_in_a_span_when_it_is_in_a_stretch_and_in_no_gap(stretches: list[tuple[int, int]], gaps: list[tuple[int, int]]) -> None:
    """Whatever their order."""
    report = VerifyReport(restorable=[stretch(*each) for each in stretches], gaps=[gap(*each) for each in gaps])
    found = [span for each in windows(report, {}) for span in each.restorable]
    for time in range(45):
        inside = any(begin <= time < end for begin, end in stretches) and not any(begin <= time < end for begin, end in gaps)
        assert any(span.from_time <= time < (span.before_time or 99) for span in found) == inside
