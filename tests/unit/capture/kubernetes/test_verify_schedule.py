"""When a verifying list is due."""

from __future__ import annotations

from archiver.capture.kubernetes.verify_schedule import VerifySchedule


def test_a_watch_that_begins_from_a_position_is_checked_soon() -> None:
    """Long before the usual time, unless that is shorter still."""
    schedule = VerifySchedule(3600)
    assert schedule.wait(100) == float("inf")
    schedule.begin(100, 0.5)
    assert schedule.wait(100) == 30
    short = VerifySchedule(10)
    short.begin(100, 0.5)
    assert short.wait(100) == 10


def test_streams_are_spread_over_a_fifth_of_the_time() -> None:
    """Chance 0 comes a tenth early, chance 1 a tenth late."""
    waits = []
    for chance in (0.0, 1.0):
        schedule = VerifySchedule(100)
        schedule.listed(0, chance)
        waits.append(round(schedule.wait(0), 6))
    assert waits == [90, 110]


def test_a_watch_that_ended_early_hurries_the_list_and_never_puts_it_off() -> None:
    """A definition may have changed; what is due sooner stays so, and what is overdue is due now."""
    schedule = VerifySchedule(3600)
    schedule.listed(0, 0.5)
    schedule.ended_early(10)
    assert schedule.wait(10) == 2
    schedule.ended_early(11.5)
    assert schedule.wait(11.5) == 0.5
    assert schedule.wait(50) == 0


def test_watches_that_always_end_early_bring_no_storm_of_lists() -> None:
    """What stands before the server may end each of them; after a calm time the next list is soon again."""
    schedule, waits = VerifySchedule(3600), []
    for now in range(0, 600, 60):
        schedule.listed(now, 0.5)
        schedule.ended_early(now)
        waits.append(schedule.wait(now))
    assert waits[:3] == [2, 4, 8]
    assert waits[-1] == 300
    schedule.listed(2000, 0.5)
    schedule.ended_early(2000)
    assert schedule.wait(2000) == 2
