"""Counts of changes by time."""

from __future__ import annotations

import numpy as np

from archiver.journal.window import SourceWindow, WindowGap
from archiver.lake.counts import Cells, Counts, Lane, bars, merged, step_for
from archiver.timeline.counting import Counted, Uncounted
from archiver.timeline.drawing import MOST_GAPS, MOST_LANES, drawing
from archiver.timeline.questions import SpanQuestion
from archiver.timeline.windows import FoundWindows

RUNS, JOBS = Lane("db", "public.runs"), Lane("kube", "jobs.batch")
UNREAD = FoundWindows([], "", ready=False, progress=0.5)


def cells(*lines: tuple[int, int, int]) -> Cells:
    return Cells(*np.array(lines, np.int64).T)


def test_cells_add_up_in_any_order() -> None:
    """A second that is told of twice has the sum; bars have what lies in them, from the first second to before the last."""
    counts = Counts()
    counts.add(RUNS, cells((20, 1, 1), (10, 2, 0)))
    counts.add(RUNS, cells((10, 3, 1), (10, 1, 0), (29, 1, 0), (30, 9, 9)))
    assert [each.tolist() for each in counts.lanes[RUNS]] == [[10, 20, 29, 30], [6, 1, 1, 9], [1, 1, 0, 9]]
    assert bars([counts.lanes[RUNS]], 10, 30, 10) == [(0, 6, 1), (1, 2, 1)]
    assert bars([counts.lanes[RUNS]], 11, 19, 2) == []


def test_what_is_too_much_is_kept_by_the_minute_and_then_by_the_hour() -> None:
    """The sums stay what they were, and nobody is shown finer bars than are known."""
    counts = Counts(most=100)
    counts.add(RUNS, cells(*((second, 1, 0) for second in range(300))))
    assert counts.resolution == 60
    assert counts.lanes[RUNS].changes.tolist() == [60] * 5
    counts.add(JOBS, cells(*((minute * 60 + 7, 1, 1) for minute in range(200))))
    assert counts.resolution == 3600
    assert counts.lanes[JOBS].deletions.tolist() == [60, 60, 60, 20]
    fine = Counts()
    fine.add(JOBS, cells((3601, 5, 0)))
    both = merged([fine, counts])
    assert both.resolution == 3600
    assert both.lanes[JOBS].changes.tolist() == [60, 65, 60, 20]


def test_bars_have_a_width_that_people_know() -> None:
    """The smallest known step whose bars fit, and never a finer one than the counts have."""
    assert step_for(60, 240, 1) == 1
    assert step_for(241, 240, 1) == 2
    assert step_for(6 * 3600, 240, 1) == 120
    assert step_for(60, 240, 60) == 60
    assert step_for(10**10, 100, 1) == 10**8


def test_a_drawing_of_nothing_and_of_too_many_lanes() -> None:
    """Nothing known draws a minute; lanes that are too many are one for each source, and no change is lost."""
    nothing = drawing(SpanQuestion(0, 0), Counted(Counts(), [], [], 0, 0, busy=True, clusters=[]), UNREAD, "file:///x")
    assert (nothing.until - nothing.since, nothing.lanes, nothing.changes) == (60_000_000, [], 0)
    counts = Counts()
    for number in range(MOST_LANES + 5):
        counts.add(Lane("db", f"public.t{number:02}"), cells((1000 + number, 100 - number, 1)))
    found = drawing(
        SpanQuestion(0, 0), Counted(counts, [Uncounted("db", 0, 5)], ["db: x"], 10**9, 2 * 10**9, busy=False, clusters=[]), UNREAD, "s3://x"
    )
    (rest,) = [lane for lane in found.lanes if not lane.name]
    assert (rest.others, rest.changes, len(found.lanes)) == (
        5,
        sum(100 - number for number in range(MOST_LANES, MOST_LANES + 5)),
        MOST_LANES + 1,
    )
    assert found.changes == sum(lane.changes for lane in found.lanes)
    assert found.since <= 1_000_000_000
    assert found.until >= 2_000_000_000


def test_gaps_that_are_left_out_are_counted() -> None:
    """Of a source with too many the newest are drawn, and it is said how many are not."""
    gaps = [WindowGap(entry, "all", "slot_lost", entry, entry + 1, "", "") for entry in range(MOST_GAPS + 3)]
    windows = FoundWindows([SourceWindow("db", [], gaps), SourceWindow("few", [], gaps[:5])], "", ready=True, progress=1.0)
    found = drawing(SpanQuestion(0, 0), Counted(Counts(), [], [], 0, 0, busy=False, clusters=[]), windows, "file:///x")
    assert [len(each.gaps) for each in found.windows.sources] == [MOST_GAPS, 5]
    assert found.windows.sources[0].gaps[0].entry == 3
    assert found.gaps_left_out == {"db": 3}
