"""What a history file counts to, as bytes."""

from __future__ import annotations

import sys

import msgspec
import numpy as np
import pytest

from archiver.errors import Corrupt
from archiver.lake.counts import Cells, Counts, Lane, same
from archiver.lake.counts_file import FORMAT, MOST_BYTES, from_counts_file, to_counts_file

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def counts(*lines: tuple[str, str, int, int, int]) -> Counts:
    found = Counts()
    for name, namespace, second, changes, deletions in lines:
        found.add(Lane("kube", name, namespace), Cells(*(np.array([each], np.int64) for each in (second, changes, deletions))))
    return found


SOME = counts(
    ("jobs.batch", "a", 1_790_000_000, 3, 1),
    ("jobs.batch", "a", 1_790_000_007, 1, 0),
    ("jobs.batch", "b", -5, 1, 1),
    ("nodes.", "", 9, 2, 0),
)


def packed(**changed: object) -> bytes:
    lane = {"name": "t", "namespace": "", "seconds": [5, 1], "changes": [1, 1], "deletions": [0, 1]}
    return zstd.compress(
        msgspec.json.encode({"format": FORMAT, "resolution": 1, "later": [1], "lanes": [{**lane, "later": {}, **changed}]})
    )


@pytest.mark.parametrize("some", [SOME, Counts()])
def test_they_come_back(some: Counts) -> None:
    """Whatever lanes there are, also none, and how fine they are."""
    data = to_counts_file(some)
    assert data is not None
    back = from_counts_file("k", data, "kube")
    assert back is not None
    assert same(back, some)
    coarse = Counts()
    coarse.coarsen(60)
    coarse.add(Lane("kube", "t"), *SOME.lanes.values())
    back = from_counts_file("k", to_counts_file(coarse) or b"", "kube")
    assert back is not None
    assert same(back, coarse)
    assert not same(back, SOME)


def test_later_fields_are_passed_over_and_later_formats_left() -> None:
    """So that a later version can add what it needs."""
    found = from_counts_file("k", packed(), "db")
    assert found is not None
    assert [each.tolist() for each in found.lanes[Lane("db", "t")]] == [[5, 6], [1, 1], [0, 1]]
    assert from_counts_file("k", zstd.compress(b'{"format":2,"lanes":7}'), "db") is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        zstd.compress(b"["),
        zstd.compress(b"7"),
        zstd.compress(bytes(MOST_BYTES + 1)),
        packed(seconds=[1]),
        packed(seconds=[1 << 62, 1 << 62]),
        packed(seconds=[1 << 63, 1]),
        packed(changes=[1, "x"]),
        packed()[:-3],
    ],
)
def test_what_cannot_be_read_is_corrupt(data: bytes) -> None:
    """With the key, and the way to make it anew."""
    with pytest.raises(Corrupt, match=r"^counts history/x cannot be read"):
        from_counts_file("history/x", data, "db")


def test_too_much_is_not_written() -> None:
    """Then the file itself is counted."""
    several = Counts()
    for number in range(20):
        several.add(Lane("kube", f"{number:03}" + "x" * (MOST_BYTES // 16)), Cells(*(np.array([1], np.int64) for _ in range(3))))
    assert to_counts_file(several) is None
