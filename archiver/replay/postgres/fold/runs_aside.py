"""Changes of one stage that were put aside: in runs, one for each time that memory was full, each cut into the same partitions."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archiver.replay.postgres.columnar.copy_text import CopyLines
from archiver.replay.postgres.columnar.key_table import KeyTable
from archiver.replay.postgres.columnar.values import pack, unpack
from archiver.replay.postgres.fold import counted_rows, keyed_rows
from archiver.replay.postgres.fold.counted_rows import Counts
from archiver.replay.postgres.fold.keyed_rows import Block, Delta, Missing
from archiver.replay.postgres.fold.partitions import cuts, partitions_of

if TYPE_CHECKING:
    from archiver.replay.postgres.decode.spill import Spill

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Array = npt.NDArray[np.uint8] | npt.NDArray[np.int64] | npt.NDArray[np.bool_]

_MERGED_BYTES = 16 << 20
"""Runs of a partition are merged when they hold so much, or twice what was left the last time."""


class _Places:
    """Where the pieces of runs are."""

    def __init__(self, spill: Spill) -> None:
        self._spill = spill
        self._runs: list[array[int]] = []

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, pieces: Iterable[bytes]) -> None:
        """One run: a piece for each partition."""
        found = array("q")
        for piece in pieces:
            found.extend((self._spill.put(piece), len(piece)))
        self._runs.append(found)

    def take(self, run: int, partition: int) -> bytes:
        """One piece."""
        place, length = self._runs[run][2 * partition : 2 * partition + 2]
        return self._spill.take(place, length)


class KeyedRuns:
    """Deltas of rows that a key identifies.

    A row that moved to another key, with values that are not known, needs what its earlier key had. Such keys are not parted: all that is
    known of them goes into one partition, which is put together at the end, because earlier runs did not know of it.
    """

    def __init__(self, spill: Spill, count: int, missing: Missing) -> None:
        self.count = count
        """Partitions; one more, the last, is of keys that are not parted."""
        self._places, self._missing = _Places(spill), missing
        self._moved: list[pa.LargeBinaryArray] = []
        self._together: KeyTable | None = None

    @property
    def together(self) -> KeyTable | None:
        """Keys that are not parted."""
        if self._together is None and self._moved:
            self._together = KeyTable(pa.concat_arrays(self._moved))
        return self._together

    def add(self, delta: Delta) -> None:
        """Put one run aside, behind those before."""
        import pyarrow.compute as pc

        for block in delta.blocks:
            if block.origins is not None:
                moved = pc.and_(pa.array(block.partial), pc.not_equal(block.keys, block.origins))
                self._moved += [block.keys.filter(moved), block.origins.filter(moved)]
                self._together = None
        self._places.add(_stored(piece) for piece in _split(delta, self.count, None))

    def merged(self, partition: int) -> Delta:
        """The effect of all runs on the keys of one partition."""
        deltas: list[Delta] = []
        limit = _MERGED_BYTES
        for run in range(len(self._places)):
            deltas.append(self._piece(run, partition))
            if sum(map(keyed_rows.held, deltas)) > limit:
                deltas = [keyed_rows.merge(deltas, self._missing)]
                limit = max(_MERGED_BYTES, 2 * keyed_rows.held(deltas[0]))
        return keyed_rows.merge(deltas, self._missing)

    def _piece(self, run: int, partition: int) -> Delta:
        if self.together is None:
            return _loaded(self._places.take(run, partition))
        if partition != self.count:
            return _split(_loaded(self._places.take(run, partition)), self.count, self.together, only=partition)[0]
        pieces = [
            _split(_loaded(self._places.take(run, each)), self.count, self.together, only=self.count)[0] for each in range(self.count)
        ]
        blocks = [block for piece in pieces for block in piece.blocks]
        # The counts stay with the pieces that they were put aside with.
        return Delta(blocks, pa.concat_arrays([piece.gone for piece in pieces]), 0)


class CountedRuns:
    """Counts of rows that only the whole row identifies."""

    def __init__(self, spill: Spill, count: int) -> None:
        self.count = count
        """Partitions; the last one more stays empty."""
        self._places = _Places(spill)

    def add(self, counts: Counts) -> None:
        """Put one run aside."""
        order, begins = cuts(partitions_of(pack(counts.lines.text, counts.lines.offsets), self.count), self.count)
        lines, net = counts.lines.take(order), counts.net[order]
        self._places.add(_stored_counts(lines, net, *cut) for cut in zip(begins[:-1].tolist(), begins[1:].tolist(), strict=True))

    def merged(self, partition: int) -> Counts:
        """The effect of all runs on the rows of one partition."""
        counts: list[Counts] = []
        limit = _MERGED_BYTES
        for run in range(len(self._places)):
            text, offsets, net = _parted(self._places.take(run, partition))
            counts.append(Counts(CopyLines(text, offsets.view(np.int64)), net.view(np.int64)))
            if sum(map(counted_rows.held, counts)) > limit:
                counts = [counted_rows.merge(counts)]
                limit = max(_MERGED_BYTES, 2 * counted_rows.held(counts[0]))
        return counted_rows.merge(counts)


def _split(delta: Delta, count: int, together: KeyTable | None, *, only: int | None = None) -> list[Delta]:
    """The delta of each partition, or of one alone. What it contradicts is counted in the first."""
    wanted = range(count + 1) if only is None else [only]
    found: list[list[Block]] = [[] for _ in wanted]
    for block in delta.blocks:
        order, begins = cuts(partitions_of(block.keys, count, together), count)
        ordered = _taken(block, order)
        for at, number in enumerate(wanted):
            begin, end = int(begins[number]), int(begins[number + 1])
            if begin < end:
                found[at].append(_part(ordered, begin, end))
    order, begins = cuts(partitions_of(delta.gone, count, together), count)
    gone = delta.gone.take(pa.array(order))
    return [
        Delta(blocks, gone.slice(int(begins[number]), int(begins[number + 1] - begins[number])), delta.contradictions if not at else 0)
        for at, (number, blocks) in enumerate(zip(wanted, found, strict=True))
    ]


def _stored_counts(lines: CopyLines, net: I64, begin: int, end: int) -> bytes:
    part = _slice(lines, begin, end)
    return _joined([part.text, part.offsets, net[begin:end]])


def _taken(block: Block, order: I64) -> Block:
    which = pa.array(order)
    origins = block.origins.take(which) if block.origins is not None else None
    return Block(block.attnums, block.lines.take(order), block.keys.take(which), block.expects[order], block.partial[order], origins)


def _part(block: Block, begin: int, end: int) -> Block:
    partial = block.partial[begin:end]
    origins = block.origins.slice(begin, end - begin) if block.origins is not None and partial.any() else None
    lines = _slice(block.lines, begin, end)
    return Block(block.attnums, lines, block.keys.slice(begin, end - begin), block.expects[begin:end], partial, origins)


def _slice(lines: CopyLines, begin: int, end: int) -> CopyLines:
    first = lines.offsets[begin]
    return CopyLines(lines.text[first : lines.offsets[end]], lines.offsets[begin : end + 1] - first)


def _stored(delta: Delta) -> bytes:
    arrays: list[Array] = [np.array([len(delta.blocks), delta.contradictions], np.int64)]
    for block in delta.blocks:
        origins = unpack(block.origins) if block.origins is not None else (np.zeros(0, np.uint8), np.zeros(0, np.int64))
        attnums = np.array(block.attnums, np.int64)
        arrays += [attnums, block.lines.text, block.lines.offsets, *unpack(block.keys), block.expects, block.partial, *origins]
    return _joined([*arrays, *unpack(delta.gone)])


def _loaded(data: bytes) -> Delta:
    arrays = iter(_parted(data))
    count, contradictions = next(arrays).view(np.int64).tolist()
    blocks = []
    for _ in range(count):
        attnums = tuple(next(arrays).view(np.int64).tolist())
        lines = CopyLines(next(arrays), next(arrays).view(np.int64))
        keys = _keys(arrays)
        expects, partial = next(arrays).view(np.bool_), next(arrays).view(np.bool_)
        origins = _keys(arrays)
        blocks.append(Block(attnums, lines, keys, expects, partial, origins if len(origins) else None))
    return Delta(blocks, _keys(arrays), contradictions)


def _keys(arrays: Iterator[U8]) -> pa.LargeBinaryArray:
    data, offsets = next(arrays), next(arrays).view(np.int64)
    return pack(data, offsets if len(offsets) else np.zeros(1, np.int64))


def _joined(arrays: Sequence[Array]) -> bytes:
    """Arrays end to end, behind how many there are and the size of each. This process alone reads it."""
    head = np.array([len(arrays), *(array.nbytes for array in arrays)], np.int64)
    return b"".join([head.tobytes(), *(array.tobytes() for array in arrays)])


def _parted(data: bytes) -> Iterator[U8]:
    count = int(np.frombuffer(data, np.int64, 1)[0])
    at = 8 * (count + 1)
    for size in np.frombuffer(data, np.int64, count, 8).tolist():
        # Copied: what lies within may begin anywhere, and numbers must not.
        yield np.frombuffer(data, np.uint8, size, at).copy()
        at += size
