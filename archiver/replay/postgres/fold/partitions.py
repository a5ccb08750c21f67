"""Rows cut into partitions by what identifies them, so that each can be worked on alone.

What memory has no room for is put aside partition by partition; the last step then needs one partition at a time, and rows from before the
changes are put aside in the same way until their partition's turn has come. Nothing is decided by the order of partitions.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archiver.replay.postgres.columnar.copy_text import CopyLines
from archiver.replay.postgres.columnar.key_table import KeyTable, hashes
from archiver.replay.postgres.fold.passes import CopyText, Pass

if TYPE_CHECKING:
    from archiver.replay.postgres.decode.spill import Spill

I64 = npt.NDArray[np.int64]

PARTITIONS = 256
"""How many there are. One more, the last, holds what must not be parted, whatever its keys."""
_TAKEN_BYTES = 4 << 20
"""Rows that were put aside are taken again in pieces of about this size."""


def partitions_of(keys: pa.LargeBinaryArray, count: int, together: KeyTable | None = None) -> I64:
    """Which of ``count`` partitions each key is in; ``together``: keys that must not be parted, and are in partition ``count``."""
    found = ((hashes(keys) >> np.uint64(24)) % np.uint64(count)).astype(np.int64)
    if together is not None:
        found[together.find(keys) >= 0] = count
    return found


def cuts(partitions: I64, count: int) -> tuple[I64, I64]:
    """An order that sorts by partition, and where in it each of ``count`` and one more begins (and the last ends)."""
    order = np.argsort(partitions, kind="stable").astype(np.int64)
    return order, np.searchsorted(partitions[order], np.arange(count + 2, dtype=np.int64))


class PartitionedPass:
    """A ``Pass`` of a stage that was put aside.

    ``route`` says of rows from before the stage which columns they have, their lines, and the partition of each; ``opened`` gives the pass
    of one partition.
    """

    def __init__(
        self,
        spill: Spill,
        count: int,
        route: Callable[[CopyText], tuple[tuple[int, ...], CopyLines, I64]],
        opened: Callable[[int], Pass],
    ) -> None:
        self.contradictions = 0
        self._spill, self._count, self._route, self._opened = spill.another(), count, route, opened
        self._shapes: list[tuple[int, ...]] = []
        self._aside = [array("q") for _ in range(count + 1)]
        """Of each partition: shape, place and length of what was put aside, by turns."""

    def part(self, rows: CopyText) -> Iterator[CopyText]:
        """Nothing yet: what is left of ``rows`` comes with the rest."""
        attnums, lines, partitions = self._route(rows)
        if attnums not in self._shapes:
            self._shapes.append(attnums)
        shape = self._shapes.index(attnums)
        order, begins = cuts(partitions, self._count)
        chosen = lines.take(order)
        place = self._spill.put(chosen.text.data)
        ends = chosen.offsets[begins]
        for number in np.flatnonzero(np.diff(ends)).tolist():
            self._aside[number].extend((shape, place + int(ends[number]), int(ends[number + 1] - ends[number])))
        yield from ()

    def rest(self) -> Iterator[CopyText]:
        """One partition after the other: what is left of earlier rows, then those that came in the stage."""
        for number in range(self._count + 1):
            one = self._opened(number)
            for rows in self._taken(number):
                yield from one.part(rows)
            yield from one.rest()
            self.contradictions += one.contradictions

    def _taken(self, number: int) -> Iterator[CopyText]:
        places = np.array(self._aside[number], np.int64).reshape(-1, 3)
        texts: list[bytes] = []
        size, before = 0, -1
        for shape, place, length in places.tolist():
            if texts and (shape != before or size + length > _TAKEN_BYTES):
                yield self._joined(before, texts)
                texts, size = [], 0
            texts.append(self._spill.take(place, length))
            size, before = size + length, shape
        if texts:
            yield self._joined(before, texts)

    def _joined(self, shape: int, texts: list[bytes]) -> CopyText:
        return CopyText(self._shapes[shape], np.frombuffer(b"".join(texts), np.uint8))
