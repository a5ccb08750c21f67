"""Object keys."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from archiver.journal.keys import number_of, part_key, segment_key


@given(st.integers(0, 2**63), st.integers(0, 2**63))
def test_segments_sort_by_number(one: int, other: int) -> None:
    """Keys of segments sort as their numbers do and lead back to them."""
    assert number_of(segment_key(one)) == one
    assert (segment_key(one) < segment_key(other)) == (one < other)


def test_only_segments_have_numbers() -> None:
    """Everything else under ``journal/`` is a stranger."""
    for key in (
        "journal/",
        "journal/1",
        "journal/000000000000000G",
        "journal/0000000000000000.tmp",
        "parts/0000000000000000",
        "archive.json",
    ):
        assert number_of(key) is None


@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
def test_parts_of_different_sources_never_meet(one: str, other: str) -> None:
    """Any source name makes a legal key, and different names different ones."""
    key = part_key(one, "id", 0)
    assert re.fullmatch(r"parts/[A-Za-z0-9._=-]+/id/000000\.zst", key)
    assert (key == part_key(other, "id", 0)) == (one == other)
