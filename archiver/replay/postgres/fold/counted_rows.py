"""What changes did to rows that only the whole row identifies (REPLICA IDENTITY FULL): how many more or fewer of each distinct row.

Equal rows cannot be told apart, so it does not matter which of them goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archiver.replay.postgres.columnar.copy_text import CopyLines, concat_lines
from archiver.replay.postgres.columnar.key_table import KeyTable
from archiver.replay.postgres.columnar.values import pack
from archiver.replay.postgres.decode.relations import Layout
from archiver.replay.postgres.fold.row_messages import Changes, Rows

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Counts:
    """Net number of each distinct row; never 0."""

    lines: CopyLines
    net: I64

    def __len__(self) -> int:
        return len(self.net)


def held(counts: Counts) -> int:
    """Bytes that they take in memory."""
    return counts.lines.text.nbytes + counts.lines.offsets.nbytes + counts.net.nbytes


def fold(changes: Changes, layout: Layout) -> Counts:
    """The effect of a batch of changes. ``Corrupt`` for messages that break the protocol."""
    rows = Rows(changes, layout)
    new = rows.new_lines(np.arange(len(rows.new_changes), dtype=np.int64))
    old = rows.old_lines()
    return _net(concat_lines([new, old]), np.repeat(np.array([1, -1]), [len(new), len(old)]))


def merge(counts: Sequence[Counts]) -> Counts:
    """The effect of all of them."""
    if len(counts) == 1:
        return counts[0]
    return _net(concat_lines([one.lines for one in counts]), np.concatenate([one.net for one in counts]))


def _net(lines: CopyLines, weights: I64) -> Counts:
    first = KeyTable(pack(lines.text, lines.offsets)).first
    net = np.zeros(len(first), np.int64)
    np.add.at(net, first, weights)
    left = np.flatnonzero(net)
    return Counts(lines.take(left), net[left])
