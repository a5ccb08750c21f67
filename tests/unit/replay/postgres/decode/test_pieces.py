"""Frames that outlive their batch."""

from __future__ import annotations

import numpy as np
import pytest

from archiver.journal.entry import Kind, Run
from archiver.replay.postgres.decode.frame_batch import FrameBatch
from archiver.replay.postgres.decode.pieces import Piece, PieceAside, consecutive, joined
from tests.unit.postgres.frames import begin, insert
from tests.unit.replay.postgres.memory_spill import MemorySpill

FRAMES = [begin(100), insert(b"a"), insert(b"bc"), insert(b"")]


def frames(piece: Piece) -> list[bytes]:
    return [bytes(piece.data[start : start + length]) for start, length in zip(piece.starts, piece.lengths, strict=True)]


@pytest.mark.parametrize("aside", [False, True])
@pytest.mark.parametrize(("limit", "count"), [(1, 3), (1 << 20, 1)])
def test_pieces_are_joined_in_order_up_to_a_size(limit: int, count: int, aside: bool) -> None:
    """Nothing is lost or moved, the last one says so, and what was given is let go."""
    batch = FrameBatch.of([(5, Run.of("db", Kind.PG_FRAMES, FRAMES, observed=0))])
    pieces: list[Piece | PieceAside] = [Piece.cut(batch, begin, end) for begin, end in ((0, 1), (1, 3), (3, 4))]
    if aside:
        spill = MemorySpill()
        pieces[1:] = [piece.aside(spill) for piece in pieces[1:] if isinstance(piece, Piece)]
        assert [piece.size > 0 for piece in pieces] == [True, False, False]
    found = list(joined(pieces, limit))
    assert [each for piece, _ in found for each in frames(piece)] == FRAMES
    assert [seq for piece, _ in found for seq in piece.seqs.tolist()] == [5, 6, 7, 8]
    assert [last for _, last in found] == [False] * (count - 1) + [True]
    assert pieces == []


def test_consecutive_numbers_become_ranges() -> None:
    """Half-open, in order; none of nothing."""
    assert list(consecutive(np.array([3, 4, 5, 9, 11, 12], np.int64))) == [(3, 6), (9, 10), (11, 13)]
    assert list(consecutive(np.zeros(0, np.int64))) == []
