"""When a tail is folded: by what a restore would take for it, and not by its age."""

from __future__ import annotations

from archiver.maintenance.cadence import ENTRIES_PER_SECOND, STORED_BYTES_PER_SECOND, TailSize, is_due, pause_after, restore_seconds


def test_what_a_restore_would_take() -> None:
    """Requests, entries and bytes each add theirs; nothing takes nothing."""
    assert restore_seconds(TailSize()) == 0
    assert restore_seconds(TailSize(entries=2 * ENTRIES_PER_SECOND)) == 2
    assert restore_seconds(TailSize(stored_bytes=3 * STORED_BYTES_PER_SECOND)) == 3
    # A store that takes 20 ms: an idle day of heartbeats every 10 s is a third of a minute of reading.
    assert 20 < restore_seconds(TailSize(segments=8640, entries=8640, request_seconds=0.02)) < 25


def test_half_of_the_objective_is_folded() -> None:
    """What arrives while the fold runs has the other half."""
    tail = TailSize(entries=30 * ENTRIES_PER_SECOND)
    assert is_due(tail, 60)
    assert not is_due(tail, 61)
    assert not is_due(TailSize(), 0.001)


def test_a_long_fold_rests_long() -> None:
    """At most a fifth of the time goes into folding; a short one waits for the next look."""
    assert pause_after(1, interval=300, rest_ratio=4) == 300
    assert pause_after(1000, interval=300, rest_ratio=4) == 4000
