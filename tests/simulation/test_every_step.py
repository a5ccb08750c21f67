"""One good history, with one thing going wrong at every place where something can."""

from __future__ import annotations

import pytest

from tests.simulation.network import Outcome
from tests.simulation.world import Calm, Judgement, World

SEED = 13
"""Its calm history has three servers and some thirty calls."""


class At:
    """``outcome`` at call number ``call`` of the whole history; everything else is fine."""

    def __init__(self, call: int, outcome: Outcome) -> None:
        self._call = call
        self._outcome = outcome
        self.calls = 0

    def next(self, verb: str, call: int) -> Outcome:
        self.calls += 1
        return self._outcome if self.calls == self._call + 1 else Outcome.OK


def _play(faults: At | Calm, kill_at_step: int | None = None) -> World:
    world = World(SEED, faults=faults, lives=False)
    world.loop.kill_at_step = kill_at_step
    world.run()
    return world


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.OK])
def test_every_call_may_fail(outcome: Outcome) -> None:
    """Each call to the store in turn fails, loses its answer, lands late, or takes its caller with it: every promise holds."""
    count = At(-1, Outcome.OK)
    _play(count)
    assert count.calls > 30
    for call in range(count.calls):
        try:
            _play(At(call, outcome))
        except Judgement as judgement:
            pytest.fail(f"call {call} {outcome.value}: {judgement}")


def test_every_step_may_be_the_last() -> None:
    """The process dies at every step of the event loop in turn, and starts again: every promise holds."""
    steps = _play(Calm()).loop.steps
    assert steps > 200
    for step in range(1, steps):
        try:
            _play(Calm(), kill_at_step=step)
        except Judgement as judgement:
            pytest.fail(f"killed at step {step}: {judgement}")
