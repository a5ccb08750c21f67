"""Positions that come without entries."""

from __future__ import annotations

from archiver.capture.kubernetes.position_saver import PositionSaver
from tests.unit.capture.kubernetes.handed_over import KeptRuns, entries
from tests.unit.capture.set_clock import SetClock


def test_a_quiet_stream_has_one_entry_a_heartbeat_and_one_at_the_end() -> None:
    """What another entry has is not journaled again."""
    outbox, clock = KeptRuns(), SetClock()
    saver = PositionSaver(entries(outbox, clock), clock, heartbeat_seconds=60)
    saver.moved("1")
    clock.seconds += 59
    saver.moved("2")
    clock.seconds += 1
    saver.moved("3")
    saver.save("3")
    saver.moved("4")
    saver.save("4")
    saver.moved("5")
    saver.saved()
    saver.save("5")
    assert [run.position for run in outbox.runs] == ["1", "3", "4"]
