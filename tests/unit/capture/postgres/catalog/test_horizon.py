"""The LSN before which nothing can be unseen."""

from __future__ import annotations

from archiver.capture.postgres.catalog.horizon import Horizon


def test_the_horizon_is_the_newest_look_whose_transactions_have_all_ended() -> None:
    """A commit can stand in the log before it is visible: the end of the log at a look does not bound what that look missed."""
    horizon = Horizon("0/1")
    assert horizon.floor() == "0/1"
    horizon.add("0/10", frozenset({5}), 1.0)
    assert horizon.floor() == "0/1"
    horizon.add("0/20", frozenset({6}), 2.0)
    assert horizon.floor() == "0/10"
    horizon.add("0/30", frozenset({5 + 2, 6}), 3.0)
    assert horizon.floor() == "0/10"
    horizon.add("0/40", frozenset(), 4.0)
    assert horizon.floor() == "0/40"
    assert horizon.floor_before(3.5) == "0/30"
    assert horizon.floor_before(0.5) == ""


def test_the_horizon_never_goes_back() -> None:
    """One transaction that runs through all looks leaves the horizon where it was."""
    horizon = Horizon("0/1")
    horizon.add("0/10", frozenset(), 1.0)
    for number in range(200):
        horizon.add(f"1/{number:X}", frozenset({9}), 2.0 + number)
    assert horizon.floor() == "0/10"
    # Nor is it forgotten when that was.
    assert horizon.floor_and_age(300.0) == ("0/10", 299.0)
