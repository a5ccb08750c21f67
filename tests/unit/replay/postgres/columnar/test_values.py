"""Slices of foreign bytes, which pyarrow copies without looking."""

from __future__ import annotations

import numpy as np
import pytest

from archiver.errors import Corrupt
from archiver.replay.postgres.columnar.values import bytes_at, gather

DATA = np.frombuffer(b"0123456789", np.uint8)


def test_slices_are_put_end_to_end() -> None:
    """In the order of the picks; empty slices too."""
    data, offsets = gather(DATA, np.array([0, 4, 4]), np.array([2, 4, 9]), np.array([2, 0, 1]))
    assert (data.tobytes(), offsets.tolist()) == (b"4567801", [0, 5, 7, 7])


@pytest.mark.parametrize(
    ("starts", "ends"),
    [([4], [2]), ([0, 3], [5, 6]), ([5, 0], [6, 1]), ([8], [11]), ([11], [11]), ([-1], [3]), ([0], [2**40])],
    ids=["ends before it starts", "overlap", "backwards", "over the end", "behind the end", "before the beginning", "far outside"],
)
def test_no_foreign_memory_is_read(starts: list[int], ends: list[int]) -> None:
    """What a message says of its own lengths can be anything."""
    with pytest.raises(Corrupt):
        gather(DATA, np.array(starts), np.array(ends))
    with pytest.raises(Corrupt):
        bytes_at(DATA, np.array([10]))
