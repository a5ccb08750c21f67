"""Histories drawn from seeds. ``SIMULATION_SEED=n`` plays one; ``SIMULATION_SEEDS=n`` plays that many instead of 2 000."""

from __future__ import annotations

import os

import pytest

from archiver.journal import changed_marks
from tests.simulation.world import simulate

_CHUNK = 100
_ONE = os.environ.get("SIMULATION_SEED")
_SEEDS = range(int(_ONE), int(_ONE) + 1) if _ONE else range(int(os.environ.get("SIMULATION_SEEDS", "2000")))


@pytest.mark.parametrize("first", _SEEDS[::_CHUNK])
def test_every_promise_holds(first: int) -> None:
    """Whatever fails, crashes, freezes or races: nothing acknowledged is lost, nothing is invented, the archive verifies."""
    for seed in _SEEDS[_SEEDS.index(first) :][:_CHUNK]:
        simulate(seed)


@pytest.mark.parametrize("first", _SEEDS[:1])
def test_every_promise_holds_where_headers_have_changed_marks(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The few sources of these histories would be too few for that: here they are enough, and all marks stand in every fourth segment."""
    monkeypatch.setattr(changed_marks, "FEW", 0)
    monkeypatch.setattr(changed_marks, "REACH", 4)
    based = 0
    for seed in _SEEDS[_SEEDS.index(first) :][:_CHUNK]:
        based += simulate(seed).content.based
    assert _ONE or based > _CHUNK
