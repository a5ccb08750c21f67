"""Keys: what the journal writes is accepted, what leads elsewhere is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import Invalid
from archiver.store.keys import checked, checked_prefix

PARTS = st.from_regex(r"[A-Za-z0-9._=-]{1,20}", fullmatch=True).filter(lambda part: part not in (".", ".."))


@given(st.lists(PARTS, min_size=1, max_size=6))
def test_keys_and_their_beginnings_pass(parts: list[str]) -> None:
    """A key of allowed parts passes, and so does everything that it begins with, as a prefix."""
    key = "/".join(parts)
    assert checked(key) == key
    for length in range(len(key) + 1):
        prefix = key[:length]
        if prefix.rpartition("/")[2] not in (".", ".."):
            assert checked_prefix(prefix) == prefix


@given(st.text(max_size=30))
def test_what_passes_stays_inside(text: str) -> None:
    """Whatever passes has no empty, ``.`` or ``..`` part and no character outside the alphabet."""
    try:
        checked(text)
    except Invalid:
        return
    assert all(part not in ("", ".", "..") for part in text.split("/"))
    assert text.isascii()
    assert text.isprintable()
    assert "~" not in text


@pytest.mark.parametrize("prefix", ["/", "a//", "../", "a/../b", "..\n", "~", "a b"])
def test_prefixes_that_lead_elsewhere(prefix: str) -> None:
    """A prefix that no key begins with is refused."""
    with pytest.raises(Invalid):
        checked_prefix(prefix)
