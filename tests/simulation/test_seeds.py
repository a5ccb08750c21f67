"""Histories drawn from seeds. ``SIMULATION_SEED=n`` plays one; ``SIMULATION_SEEDS=n`` plays that many instead of 2 000."""

from __future__ import annotations

import os

import pytest

from archiver.journal import changed_marks, whole_segments
from archiver.maintenance import packing
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


@pytest.mark.parametrize("first", _SEEDS[:1])
def test_every_promise_holds_beside_two_that_pack(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever becomes of those that pack, and of writers beside them: what is read from packs is what was written."""
    monkeypatch.setattr(whole_segments, "_LONG_WALK", 0)
    monkeypatch.setattr(packing, "LEAST", 2)
    packs = 0
    for seed in _SEEDS[_SEEDS.index(first) :][:_CHUNK]:
        packs += simulate(seed, packers=2).packs
    assert _ONE or packs > _CHUNK
