"""A wall clock that is held to the monotonic one."""

from __future__ import annotations

from archiver.clock import ADOPT_SECONDS, HeldClock, SystemClock

START = 1_800_000_000_000_000


class Machine(SystemClock):
    """A machine whose wall clock is ``ahead`` of what it should be."""

    def __init__(self) -> None:
        self.passed = 100.0
        self.ahead = 0.0

    def now(self) -> int:
        return START + int((self.passed + self.ahead) * 1e6)

    def monotonic(self) -> float:
        return self.passed


def test_a_step_there_and_back_changes_nothing() -> None:
    """It is told once when it comes and once when it goes; between, time goes on as before."""
    machine = Machine()
    clock = HeldClock(machine)
    for ahead in (86_400.0, -86_400.0):
        machine.passed += 10
        machine.ahead = ahead
        assert clock.now() == START + int(machine.passed * 1e6)
        assert clock.steps() == [(int(ahead * 1e6), False)]
        machine.passed += 10
        assert clock.now() == START + int(machine.passed * 1e6)
        machine.ahead = 0.2
        assert clock.steps() == [(0, False)]
        assert clock.steps() == []


def test_a_step_that_lasts_is_believed() -> None:
    """Then it was a correction."""
    machine = Machine()
    clock = HeldClock(machine)
    machine.ahead = -3600.0
    assert clock.steps() == [(-3_600_000_000, False)]
    machine.passed += ADOPT_SECONDS
    assert clock.steps() == [(-3_600_000_000, True)]
    assert clock.now() == machine.now()
    assert clock.steps() == []
