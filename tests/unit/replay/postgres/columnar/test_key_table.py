"""The key table against a dict."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from archiver.replay.postgres.columnar import key_table
from archiver.replay.postgres.columnar.key_table import KeyTable

KEYS = st.lists(
    st.binary(max_size=20).map(lambda key: key.replace(b"\0", b"")) | st.sampled_from([b"", b"a", b"abcdefgh", b"abcdefgh1", b"x" * 40])
)


def check(known: list[bytes], asked: list[bytes]) -> None:
    table = KeyTable(pa.array(known, pa.large_binary()))
    groups: dict[bytes, set[int]] = {}
    for key, first in zip(known, table.first.tolist(), strict=True):
        assert known[first] == key
        groups.setdefault(key, set()).add(first)
    assert all(len(group) == 1 for group in groups.values())
    assert table.distinct == (len(set(known)) == len(known))
    found = table.find(pa.array(asked, pa.large_binary())).tolist()
    assert found == [next(iter(groups[key])) if key in groups else -1 for key in asked]


@given(known=KEYS, asked=KEYS)
def test_finds_what_a_dict_finds(known: list[bytes], asked: list[bytes]) -> None:
    """Equal keys share one index, and lookups lead to it or to nothing."""
    check(known, asked + known)


@given(known=KEYS, asked=KEYS)
def test_colliding_hashes_do_not_matter(known: list[bytes], asked: list[bytes]) -> None:
    """Different keys with one hash are still told apart."""

    def poor(array: pa.LargeBinaryArray) -> tuple[np.ndarray, bool]:
        return np.array([len(key.as_py()) % 3 for key in array], np.uint64), False

    with mock.patch.object(key_table, "_hashes", poor):
        check(known, asked + known)


@given(known=KEYS)
def test_slices_are_read_where_they_lie(known: list[bytes]) -> None:
    """An array that begins in the middle of another is indexed as itself."""
    array = pa.array([b"before", *known], pa.large_binary()).slice(1)
    assert KeyTable(array).find(array).tolist() == KeyTable(pa.array(known, pa.large_binary())).first.tolist()
