"""Which byte strings of many are equal, and where one is found among others: a hash table kept in numpy arrays.

pyarrow's own lookups build their table anew at every call; a baseline of a thousand pieces against a million changed keys would
spend nearly all its time there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archiver.replay.postgres.columnar.values import unpack

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)
_MASKS = np.array([(1 << 8 * width) - 1 for width in range(9)], np.uint64)


class KeyTable:
    """An index of keys, none of which holds a zero byte."""

    first: I64
    """For each key the index of one that equals it, the same for all that are equal; a key that is there once leads to itself."""

    def __init__(self, keys: pa.LargeBinaryArray) -> None:
        self._keys = keys
        self._hashes, self._exact = _hashes(keys)
        count = len(keys)
        self._shift = np.uint64(64 - max(1, (2 * count).bit_length()))
        self._slots = np.full(1 << (64 - int(self._shift)), -1, np.int32)
        self.first = np.empty(count, np.int64)
        rest, at = np.arange(count, dtype=np.int64), self._start(self._hashes)
        while len(rest):
            free = self._slots[at] < 0
            self._slots[at[free]] = rest[free]
            held = self._slots[at].astype(np.int64)
            same = self._hashes[held] == self._hashes[rest]
            self.first[rest[same]] = held[same]
            rest, at = rest[~same], (at[~same] + 1) & (len(self._slots) - 1)
        if not self._exact and not self._equal(np.arange(count, dtype=np.int64), keys, self.first).all():
            self._use_pyarrow()

    def __len__(self) -> int:
        return len(self.first)

    @property
    def distinct(self) -> bool:
        """No two keys are equal."""
        return bool((self.first == np.arange(len(self.first))).all())

    def find(self, keys: pa.LargeBinaryArray) -> I64:
        """For each of ``keys`` the index of one that equals it (as in ``first``), -1 where there is none."""
        found = np.full(len(keys), -1, np.int64)
        if not len(self.first) or not len(keys):
            return found
        if not len(self._slots):
            return self._find_by_pyarrow(keys)
        hashes, exact = _hashes(keys)
        rest, at = np.arange(len(keys), dtype=np.int64), self._start(hashes)
        while len(rest):
            held = self._slots[at].astype(np.int64)
            there = held >= 0
            rest, at, held = rest[there], at[there], held[there]
            same = self._hashes[held] == hashes[rest]
            found[rest[same]] = held[same]
            rest, at = rest[~same], (at[~same] + 1) & (len(self._slots) - 1)
        if not (exact and self._exact):
            hits = np.flatnonzero(found >= 0)
            if not self._equal(hits, keys, found[hits]).all():
                return self._find_by_pyarrow(keys)
        return found

    def _start(self, hashes: U64) -> I64:
        return (hashes >> self._shift).astype(np.int64)

    def _equal(self, which: I64, keys: pa.LargeBinaryArray, mine: I64) -> Bools:
        import pyarrow.compute as pc

        same: Bools = pc.equal(keys.take(pa.array(which)), self._keys.take(pa.array(mine))).to_numpy(zero_copy_only=False)
        return same

    # Two different keys have one 64-bit hash: slower, and right.

    def _use_pyarrow(self) -> None:
        import pyarrow.compute as pc

        self._slots = np.zeros(0, np.int32)
        encoded = pc.dictionary_encode(self._keys).indices.to_numpy().astype(np.int64)
        first = np.empty(int(encoded.max()) + 1, np.int64)
        first[encoded[::-1]] = np.arange(len(encoded) - 1, -1, -1, dtype=np.int64)
        self.first = first[encoded]

    def _find_by_pyarrow(self, keys: pa.LargeBinaryArray) -> I64:
        import pyarrow.compute as pc

        index = pc.index_in(keys, value_set=self._keys).fill_null(-1).to_numpy().astype(np.int64)
        return np.where(index >= 0, self.first[index], -1)


def hashes(keys: pa.LargeBinaryArray) -> U64:
    """64 bits of each key: the same for keys that are equal."""
    return _hashes(keys)[0]


def _hashes(keys: pa.LargeBinaryArray) -> tuple[U64, bool]:
    """64 bits of each key; and whether different keys are certain to differ in them."""
    data, offsets = unpack(keys)
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    words: U64 = np.ndarray((len(padded) - 7,), "<u8", padded.data, strides=(1,))
    starts, lengths = offsets[:-1], np.diff(offsets)
    longest = int(lengths.max(initial=0))
    found = _mixed(words[starts] & _MASKS[np.minimum(lengths, 8)])
    for done in range(8, longest, 8):
        longer = np.flatnonzero(lengths > done)
        word = words[starts[longer] + done] & _MASKS[np.minimum(lengths[longer] - done, 8)]
        found[longer] = _mixed((found[longer] + np.uint64(done)) ^ word)
    return found, longest <= 8


def _mixed(words: U64) -> U64:
    """One to one, so that keys of up to eight bytes cannot collide."""
    words = words ^ (words >> np.uint64(32))
    words *= _FACTOR
    words ^= words >> _SHIFT
    words *= _FACTOR
    return words
