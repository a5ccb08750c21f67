"""What a snapshot sees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import Corrupt
from archiver.postgres.visibility import Visible


@given(xmax=st.integers(3, 1 << 40), running=st.sets(st.integers(0, 50), max_size=5), distance=st.integers(-100, 100))
def test_sees_by_the_low_32_bits(xmax: int, running: set[int], distance: int) -> None:
    """A transaction before xmax that was not running is seen, on either side of a wrap of the 32-bit counter."""
    still = sorted(xmax - 1 - back for back in running if xmax - 1 - back > 2)
    visible = Visible.parse(f"{min([xmax, *still])}:{xmax}:{','.join(map(str, still))}")
    xid = xmax + distance
    if xid > 0:
        assert visible.sees(xid & 0xFFFFFFFF) == (xid < xmax and xid not in still)


@pytest.mark.parametrize("text", ["", "1:2", "1:2:x", "1:2:3,", "a:2:"])
def test_other_texts_are_corrupt(text: str) -> None:
    """Only the server's own form is read."""
    with pytest.raises(Corrupt):
        Visible.parse(text)
