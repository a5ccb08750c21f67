"""A source's clock that is set back."""

from __future__ import annotations

from archiver.capture.postgres.commit_times import CommitTimes
from archiver.clock import STEP_SECONDS

STEP = int(STEP_SECONDS * 1_000_000)
NOON = 1_700_000_000_000_000


def test_a_clock_that_was_set_back_is_told_once() -> None:
    """Until commits are as new as before: then another step is another one."""
    times = CommitTimes()
    seen = [times.set_back(changed, 0) for changed in (NOON, NOON - 2 * STEP, NOON - 2 * STEP + 1, NOON + 1, NOON - 2 * STEP)]
    assert seen == [0, -2 * STEP, 0, 0, -2 * STEP - 1]


def test_small_disorder_is_none_and_no_time_says_nothing() -> None:
    """Commit times need not rise with the order of commits."""
    times = CommitTimes()
    assert [times.set_back(changed, 0) for changed in (NOON, NOON - STEP, 0)] == [0, 0, 0]


def test_a_start_compares_with_what_the_journal_has() -> None:
    """The clock may have been set back while nobody captured."""
    assert CommitTimes().set_back(NOON - 2 * STEP, NOON) == -2 * STEP
