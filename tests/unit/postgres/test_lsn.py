"""LSNs as text and as numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import Invalid
from archiver.postgres.lsn import format_lsn, format_position, match_lsn, parse_lsn, parse_position


@given(st.integers(0, 2**64 - 1))
def test_text_and_number_are_the_same(lsn: int) -> None:
    """In both directions."""
    assert parse_lsn(format_lsn(lsn)) == lsn


def test_the_text_is_the_servers() -> None:
    """Two halves in hexadecimal without leading zeros."""
    assert format_lsn(0x16_B374D848) == "16/B374D848"
    assert parse_lsn("16/b374d848") == 0x16_B374D848


@pytest.mark.parametrize("text", ["", "16", "16/", "/1", "16/B374D8488", "16/xyz", " 16/1", "16/1\n"])
def test_anything_else_is_no_lsn(text: str) -> None:
    """A user is told what one looks like."""
    assert match_lsn(text) is None
    with pytest.raises(Invalid):
        parse_lsn(text)


def test_a_position_may_be_missing() -> None:
    """Then it is empty as text and 0 as a number; nonsense is not missing."""
    assert (parse_position(""), format_position(0)) == (0, "")
    assert format_position(parse_position("0/10")) == "0/10"
    with pytest.raises(ValueError, match="not an LSN"):
        parse_position("?")
