"""How much is asked for before its turn."""

from __future__ import annotations

import pytest

from archiver.journal.reading_ahead import MOST_ASKED, ReadingAhead, fits


def window(ahead: ReadingAhead) -> list[int]:
    """What is asked for until it must wait."""
    asked: list[int] = []
    while more := ahead.asks(len(asked), sum(asked)):
        asked.append(more)
    return asked


@pytest.mark.parametrize(
    ("stored", "raw", "least", "most"),
    [
        (2_000, 5_000, 64, 64),
        (30_000, 100_000, 64, 64),
        (300_000, 8 << 20, 8, 8),
        (300_000, 1 << 20, 60, 64),
        (3 << 20, 8 << 20, 8, 8),
        (60 << 20, 1 << 30, 4, 4),
    ],
)
def test_the_smaller_they_are_the_more_are_asked_for(stored: int, raw: int, least: int, most: int) -> None:
    """Within the same room; and each of that size fits into what is asked for, but for the very largest."""
    ahead = ReadingAhead(3)
    assert window(ahead) == [MOST_ASKED] * 4
    for _ in range(40):
        ahead.met(stored, raw)
    found = window(ahead)
    assert least <= len(found) <= most
    assert sum(found) <= 4 * MOST_ASKED
    assert stored > MOST_ASKED or (stored < found[0] and fits(raw, found[0]))


def test_a_large_one_narrows_at_once() -> None:
    """And what is under way counts against the room."""
    ahead = ReadingAhead(3)
    for _ in range(40):
        ahead.met(1000, 1000)
    small = window(ahead)
    ahead.met(10 << 20, 10 << 20)
    assert ahead.asks(len(small), sum(small)) == 0
    assert window(ahead) == [MOST_ASKED] * 4


def test_one_after_the_other() -> None:
    """Ahead of nothing, one is asked for."""
    ahead = ReadingAhead(0)
    for _ in range(40):
        ahead.met(10, 10)
    assert len(window(ahead)) == 1
