"""Runs of frames -> batches, cut by the stored lengths: where each message stands, what type it is of, and the number of its entry.

Everything that reads frames reads them here, so all agree on what a frame is. Message layouts: PostgreSQL manual, "Logical Replication
Message Formats".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archiver.errors import Corrupt
from archiver.journal.entry import Kind, Placed, Run
from archiver.postgres.replication_messages import XLOG_HEADER
from archiver.replay.postgres.columnar.values import big_endian

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

IS_STREAMED = np.zeros(256, np.bool_)
"""By type: Stream Start, Stop, Commit and Abort."""
IS_STREAMED[list(b"SEcA")] = True


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Frames of several runs. ``starts`` points at type bytes, behind the XLogData header."""

    whole: bytes | memoryview
    data: U8
    """The same bytes as ``whole``."""
    starts: I64
    ends: I64
    types: U8
    seqs: I64
    """Number of each frame's entry."""

    @classmethod
    def of(cls, runs: list[tuple[int, Run]]) -> FrameBatch:
        """The frames of ``runs``, each with the number of its first entry. Raises ``Corrupt``."""
        lengths = np.concatenate([np.frombuffer(run.lengths, "<u4") for _, run in runs]).astype(np.int64)
        whole = runs[0][1].data if len(runs) == 1 else b"".join(run.data for _, run in runs)
        data = np.frombuffer(whole, np.uint8)
        ends = np.cumsum(lengths)
        if int(ends[-1]) != len(data) or int(lengths.min()) <= XLOG_HEADER:
            raise Corrupt(f"entry {runs[0][0]} and on: frames do not add up to their run")
        starts = ends - lengths + XLOG_HEADER
        counts = np.array([run.count for _, run in runs], np.int64)
        firsts = np.array([first for first, _ in runs], np.int64)
        seqs = np.repeat(firsts - (np.cumsum(counts) - counts), counts) + np.arange(len(lengths), dtype=np.int64)
        return cls(whole, data, starts, ends, data[starts], seqs)

    @property
    def count(self) -> int:
        """How many frames there are."""
        return len(self.starts)

    def u4(self, where: npt.ArrayLike) -> npt.NDArray[np.uint32]:
        """Four-byte numbers at ``where``."""
        return big_endian(self.data, np.asarray(where, np.int64), 4).astype(np.uint32)

    def u8(self, where: npt.ArrayLike) -> U64:
        """Eight-byte numbers at ``where``."""
        return big_endian(self.data, np.asarray(where, np.int64), 8).astype(np.uint64)


class RunGatherer:
    """Gathers runs of frames until they are worth a batch: numpy's cost per call would otherwise rule where runs are small."""

    def __init__(self, batch_bytes: int) -> None:
        self._batch_bytes = batch_bytes
        self._runs: list[tuple[int, Run]] = []
        self._size = 0

    def add(self, placed: Placed) -> bool:
        """Take a run; what holds no frames is passed over. Return whether there is enough for a batch."""
        run = placed.run
        if run.kind is not Kind.PG_FRAMES or not run.count:
            return False
        self._runs.append((placed.first, run))
        self._size += len(run.data) + len(run.lengths)
        return self._size >= self._batch_bytes

    def take(self) -> FrameBatch | None:
        """What was gathered since the last call; ``None`` when that is nothing. Raises ``Corrupt``."""
        if not self._runs:
            return None
        runs, self._runs, self._size = self._runs, [], 0
        return FrameBatch.of(runs)
