"""Committed transactions as arrays, in commit order: which of them are repetitions, and where a point cuts them."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from archiver.postgres.replication_messages import PG_EPOCH
from archiver.replay.postgres.decode.frame_batch import FrameBatch

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]


class Limit(msgspec.Struct, frozen=True):
    """The point: the longest prefix of transactions, in commit order, that satisfies all that is given."""

    seq: int | None = None
    """Number of the commit entry, at most."""
    lsn: int | None = None
    """End LSN of the transaction, at most."""
    time: int | None = None
    """Commit time (microseconds since 1970), at most, of it *and every one before it*: commit times go back a little now and then."""


class Commit(msgspec.Struct, frozen=True):
    """One committed transaction."""

    xid: int
    """32 bits, as frames have it."""
    commit_lsn: int
    """Where its commit record starts."""
    end_lsn: int
    time: int
    """Commit time at the server, microseconds since 1970."""
    seq: int
    """Number of its commit entry."""


@dataclass(frozen=True, slots=True)
class Commits:
    """Transactions in commit order; one array element each."""

    xid: I64
    commit_lsn: U64
    end_lsn: U64
    time: I64
    seq: I64

    @classmethod
    def read(cls, batch: FrameBatch, xid: I64, at: I64, seq: I64) -> Commits:
        """The ends of transactions ``xid``. ``at``: where commit LSN, end LSN and time stand, eight bytes each."""
        return cls(xid, batch.u8(at), batch.u8(at + 8), batch.u8(at + 16).astype(np.int64) + PG_EPOCH, seq)

    def __len__(self) -> int:
        return len(self.xid)

    def __getitem__(self, index: int) -> Commit:
        return Commit(
            int(self.xid[index]), int(self.commit_lsn[index]), int(self.end_lsn[index]), int(self.time[index]), int(self.seq[index])
        )

    def chosen(self, which: Bools | slice) -> Commits:
        """Those that ``which`` names, in the same order."""
        return Commits(self.xid[which], self.commit_lsn[which], self.end_lsn[which], self.time[which], self.seq[which])

    def reached(self, end: int) -> U64:
        """How far the stream has come before each of them, and after the last. ``end``: before the first.

        A transaction that does not end above that is a repetition.
        """
        return np.maximum.accumulate(np.concatenate([np.array([end], np.uint64), self.end_lsn]))

    def beyond(self, limit: Limit) -> int:
        """Index of the first one that is beyond the limit; their number when none is."""
        return first_true(self.are_beyond(limit))

    def are_beyond(self, limit: Limit) -> Bools:
        """Which of them are beyond the limit, each taken alone."""
        found = np.zeros(len(self), np.bool_)
        if limit.seq is not None:
            found |= self.seq > limit.seq
        if limit.lsn is not None:
            found |= self.end_lsn > np.uint64(limit.lsn)
        if limit.time is not None:
            found |= self.time > limit.time
        return found


def first_true(found: Bools) -> int:
    """Index of the first true one; their number when none is."""
    return int(np.argmax(found)) if found.any() else len(found)
