"""Frames of transactions that have not ended, kept beyond their batch; aside, where memory has no room for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archiver.postgres.replication_messages import XLOG_HEADER
from archiver.replay.postgres.decode.frame_batch import FrameBatch
from archiver.replay.postgres.decode.spill import Spill

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Piece:
    """Frames of one unfinished transaction, copied out of their batch. ``starts`` points at frames, with their headers."""

    data: U8
    starts: I64
    lengths: I64
    seqs: I64

    @classmethod
    def cut(cls, batch: FrameBatch, begin: int, end: int) -> Piece:
        """Frames ``begin`` to ``end``, copied, so that the batch can go."""
        first = int(batch.starts[begin]) - XLOG_HEADER
        starts = batch.starts[begin:end] - XLOG_HEADER
        data = batch.data[first : int(batch.ends[end - 1])].copy()
        return cls(data, starts - first, batch.ends[begin:end] - starts, batch.seqs[begin:end].copy())

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return len(self.data) + 8 * (len(self.starts) + len(self.lengths) + len(self.seqs))

    def aside(self, spill: Spill) -> PieceAside:
        """The same frames, put aside."""
        numbers = np.concatenate([self.starts, self.lengths, self.seqs])
        return PieceAside(spill, spill.put(self.data.data), len(self.data), spill.put(numbers.data), len(self.starts))


@dataclass(frozen=True, slots=True)
class PieceAside:
    """A ``Piece`` that was put aside."""

    spill: Spill
    place: int
    length: int
    numbers: int
    """Where its three arrays are."""
    count: int
    size: int = 0
    """Bytes in memory."""

    def fetched(self) -> Piece:
        """The piece."""
        data = np.frombuffer(self.spill.take(self.place, self.length), np.uint8)
        numbers = np.frombuffer(self.spill.take(self.numbers, 24 * self.count), np.int64)
        return Piece(data, *np.split(numbers, 3))


def joined(pieces: list[Piece | PieceAside], limit: int) -> Iterator[tuple[Piece, bool]]:
    """``pieces`` in order, put together to pieces of about ``limit`` bytes, and whether each is the last one.

    ``pieces`` is emptied on the way: what was given need not stay in memory.
    """
    groups = _grouped(pieces, limit)
    pieces.clear()
    for number, group in enumerate(groups):
        piece = _join(group)
        group.clear()
        yield piece, number == len(groups) - 1


def consecutive(indices: I64) -> Iterator[tuple[int, int]]:
    """Consecutive numbers of a sorted array, as half-open ranges."""
    if len(indices):
        cuts = np.flatnonzero(np.diff(indices) != 1) + 1
        for part in np.split(indices, cuts):
            yield int(part[0]), int(part[-1]) + 1


def _grouped(pieces: list[Piece | PieceAside], limit: int) -> list[list[Piece | PieceAside]]:
    groups: list[list[Piece | PieceAside]] = []
    size = limit
    for piece in pieces:
        if size >= limit:
            groups.append([])
            size = 0
        groups[-1].append(piece)
        size += piece.length if isinstance(piece, PieceAside) else len(piece.data)
    return groups


def _join(stored: list[Piece | PieceAside]) -> Piece:
    pieces = [piece.fetched() if isinstance(piece, PieceAside) else piece for piece in stored]
    if len(pieces) == 1:
        return pieces[0]
    bases = np.cumsum([0] + [len(piece.data) for piece in pieces])
    return Piece(
        np.concatenate([piece.data for piece in pieces]),
        np.concatenate([piece.starts + base for piece, base in zip(pieces, bases, strict=False)]),
        np.concatenate([piece.lengths for piece in pieces]),
        np.concatenate([piece.seqs for piece in pieces]),
    )
