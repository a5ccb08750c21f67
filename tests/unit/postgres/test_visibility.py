"""What a snapshot sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import Corrupt
from archiver.postgres.visibility import Visible


@given(xmax=st.integers(3, 1 << 40), running=st.sets(st.integers(0, 50), max_size=5), distance=st.integers(-100, 100))
def test_sees_by_the_low_32_bits(xmax: int, running: set[int], distance: int) -> None:
    """A transaction before xmax that was not running is seen, on either side of a wrap of the 32-bit counter."""
    still = sorted(xmax - 1 - back for back in running if xmax - 1 - back > 2)
    visible = Visible.parse(f"{min([xmax, *still])}:{xmax}:{','.join(map(str, still))}", lsn=100)
    xid = xmax + distance
    if xid > 0:
        assert visible.sees(xid & 0xFFFFFFFF, 99) == (xid < xmax and xid not in still)


@given(xmax=st.integers(3, 1 << 40), distance=st.integers(-(1 << 34), 1 << 34), lsn=st.integers(0, 300))
def test_ids_far_away_do_not_decide(xmax: int, distance: int, lsn: int) -> None:
    """What commits behind the snapshot is not in it and what committed long before is, however far their ids lie from it."""
    visible = Visible.parse(f"{xmax}:{xmax}:", lsn=200, floor=100)
    if lsn < 100 or lsn >= 200:
        assert visible.sees((xmax + distance) & 0xFFFFFFFF, lsn) == (lsn < 100)


def test_half_a_circle_later_is_not_before() -> None:
    """Two thousand million transactions after the snapshot, one is still behind it."""
    visible = Visible.parse("100:100:", lsn=50)
    assert not visible.sees(100 + (1 << 31), 50)
    assert not visible.sees_all(np.array([99, 100 + (1 << 31)]), np.array([50, 1 << 40], np.uint64)).any()


def test_a_floor_is_exclusive_and_may_be_unknown() -> None:
    """A commit that starts at the floor is told by its id; without a floor every one before the snapshot is."""
    assert [Visible.parse("100:100:", lsn=50, floor=20).sees(100, lsn) for lsn in (19, 20)] == [True, False]
    assert not Visible.parse("100:100:", lsn=50).sees(100, 1)


@pytest.mark.parametrize("text", ["", "1:2", "1:2:x", "1:2:3,", "a:2:"])
def test_other_texts_are_corrupt(text: str) -> None:
    """Only the server's own form is read."""
    with pytest.raises(Corrupt):
        Visible.parse(text, lsn=1)


@pytest.mark.parametrize("text", ["9" * 5003 + "100:200:", "1:2:" + "9" * 21, "١:2:"])
def test_what_is_no_snapshot_is_told(text: str) -> None:
    """Numbers of more digits than any id has, and digits of other scripts, are no other error."""
    with pytest.raises(Corrupt, match="is not a snapshot"):
        Visible.parse(text, lsn=5)
