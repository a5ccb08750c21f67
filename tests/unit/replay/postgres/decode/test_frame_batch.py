"""Frames are found in their runs by the stored lengths."""

from __future__ import annotations

from array import array

import pytest

from archiver.errors import Corrupt
from archiver.journal.entry import Kind, Placed, Run
from archiver.replay.postgres.decode.frame_batch import FrameBatch, RunGatherer
from tests.unit.postgres.frames import begin, commit, insert

ONE, TWO = [begin(100), insert(b"a"), commit(100, 120)], [begin(200, 8)]


def run(frames: list[bytes]) -> Run:
    return Run.of("db", Kind.PG_FRAMES, frames, observed=0)


def test_frames_of_several_runs_keep_their_entry_numbers() -> None:
    """Numbers may jump between runs: other sources' entries stand there."""
    batch = FrameBatch.of([(5, run(ONE)), (20, run(TWO))])
    assert batch.seqs.tolist() == [5, 6, 7, 20]
    assert bytes(batch.types) == b"BICB"
    assert [bytes(batch.data[start - 25 : end]) for start, end in zip(batch.starts, batch.ends, strict=True)] == ONE + TWO
    assert batch.count == 4
    assert int(batch.u8(batch.starts[3] + 1)) == 200
    assert int(batch.u4(batch.starts[3] + 17)) == 8


@pytest.mark.parametrize("lengths", [[100], [10, 46]])
def test_lengths_that_do_not_fit_are_refused(lengths: list[int]) -> None:
    """More bytes than there are, and a frame that is shorter than its header."""
    broken = Run("db", Kind.PG_FRAMES, 0, array("I", lengths).tobytes(), bytes(56), 0, "")
    with pytest.raises(Corrupt, match="entry 5"):
        FrameBatch.of([(5, broken)])


def test_runs_are_gathered_to_a_size() -> None:
    """What holds no frames is passed over; nothing gathered is no batch."""
    size = len(run(ONE).data) + len(run(ONE).lengths)
    gatherer = RunGatherer(2 * size)
    assert gatherer.take() is None
    assert not gatherer.add(Placed(1, 0, 1, 0, Run.of("db", Kind.PG_SCHEMA, [b"x" * 1000], observed=0)))
    assert not gatherer.add(Placed(2, 0, 1, 0, run(ONE)))
    assert gatherer.add(Placed(5, 0, 1, 0, run(ONE)))
    batch = gatherer.take()
    assert batch is not None
    assert batch.seqs.tolist() == [2, 3, 4, 5, 6, 7]
    assert gatherer.take() is None
