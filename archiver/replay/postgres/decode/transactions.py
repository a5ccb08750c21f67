"""Runs of one database in journal order -> its committed transactions in commit order, column-wise.

Frames are found by the stored lengths and sorted by their type byte with numpy: no Python loop runs per frame or per ordinary
transaction, only per run and per Stream Start, Stop, Commit and Abort, whose blocks are large.

Message layouts: PostgreSQL manual, "Logical Replication Message Formats"; proto_version 1 to 4, text mode, without two_phase.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from archiver.errors import Corrupt
from archiver.journal.entry import Kind, Placed
from archiver.postgres.replication_messages import XLOG_HEADER
from archiver.replay.postgres.columnar.values import big_endian
from archiver.replay.postgres.decode.commits import Commit, Commits, Limit, first_true
from archiver.replay.postgres.decode.frame_batch import IS_STREAMED, FrameBatch, RunGatherer
from archiver.replay.postgres.decode.pieces import Piece, PieceAside, consecutive, joined
from archiver.replay.postgres.decode.spill import Spill

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

BATCH_BYTES = 8 << 20
"""Runs are gathered to about this size: numpy's cost per call would otherwise rule where runs are small."""
STAGED_BYTES = 16 << 20
"""Frames of transactions that have not ended are put aside when they are more together, where there is a place for them."""

_KEPT = np.zeros(256, np.bool_)
_KEPT[list(b"IUDTRM")] = True
_TWO_PHASE = np.zeros(256, np.bool_)
_TWO_PHASE[list(b"bPKrp")] = True


@dataclass(frozen=True, slots=True)
class Transactions(Commits):
    """Transactions of a chunk in commit order; one array element each."""

    applied: Bools
    """False: a repetition, or older than the checkpoint. Then only its Relation messages are delivered: later transactions need them."""
    newest: I64
    """The newest commit time of those that were applied, up to each of them."""

    @classmethod
    def of(cls, commits: Commits, applied: Bools, newest: I64) -> Transactions:
        """``commits``, which of them are applied, and how far time has come with each."""
        return cls(commits.xid, commits.commit_lsn, commits.end_lsn, commits.time, commits.seq, applied, newest)

    def first(self) -> Transactions:
        """The first one alone."""
        return Transactions.of(self.chosen(slice(1)), self.applied[:1], self.newest[:1])


@dataclass(frozen=True, slots=True)
class Chunk:
    """Messages of committed transactions, in commit order and, within one, in the order of the changes.

    Only Insert, Update, Delete, Truncate, Relation and Message are delivered.
    """

    data: U8
    starts: I64
    """Of each message: its type byte in ``data``."""
    ends: I64
    types: U8
    seqs: I64
    """Number of each message's entry."""
    txn: I64
    """Index into ``transactions``, of each message."""
    transactions: Transactions
    streamed: bool
    """The chunk is of one streamed transaction: an xid (of the subtransaction) follows every type byte."""
    complete: bool = True
    """False: more chunks of the same streamed transaction follow."""


@dataclass(slots=True)
class _StreamedTransaction:
    """A streamed transaction that has not ended."""

    whole: bool
    began: int
    """Number of the entry with which it began."""
    pieces: list[Piece | PieceAside] = field(default_factory=list)
    aborted: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _OpenTransaction:
    """An ordinary transaction whose Commit has not come."""

    xid: int
    final_lsn: int
    began: int
    """Number of its Begin's entry."""
    pieces: list[Piece | PieceAside] = field(default_factory=list)


class TransactionReader:
    """Takes runs of one database in journal order, gives chunks. Pure; one caller at a time.

    A PG_STREAM run voids unfinished transactions; a transaction that does not end above the last one is a repetition.
    """

    def __init__(
        self,
        *,
        limit: Limit | None = None,
        from_lsn: int = 0,
        batch_bytes: int = BATCH_BYTES,
        reached: int = 0,
        newest: int = 0,
        staged_bytes: int = STAGED_BYTES,
        spill: Spill | None = None,
    ) -> None:
        """Transactions whose commit record starts before ``from_lsn`` are not applied and not held against the limit.

        The checkpoint has them, and the point lies at or after the checkpoint. ``reached`` and ``newest``: what another reader had come to
        where this one goes on. ``spill``: where frames go of transactions that have not ended, beyond ``staged_bytes``; without it all are
        in memory.
        """
        self.limit = limit or Limit()
        self.done = False
        """The limit is reached: what is fed from now on is ignored."""
        self.last: Commit | None = None
        """The newest transaction that was applied."""
        self.applied = 0
        self._from_lsn = from_lsn
        self._batch_bytes = batch_bytes
        self._runs = RunGatherer(batch_bytes)
        self.reached = reached
        """LSN at which the last transaction ended: one that does not end above it is a repetition."""
        self.newest = newest
        """The newest commit time that was applied."""
        self._open: _OpenTransaction | None = None
        self._staged: dict[int, _StreamedTransaction] = {}
        self._streaming: int | None = None
        self._spill, self._staged_bytes = spill, staged_bytes

    @property
    def unfinished(self) -> int:
        """Transactions that have begun and not ended."""
        return len(self._staged) + (self._open is not None)

    @property
    def unfinished_since(self) -> int | None:
        """The first entry of those; ``None`` when there are none. Whoever begins there, at what was reached, misses nothing."""
        began = [each.began for each in self._staged.values()] + ([self._open.began] if self._open else [])
        return min(began, default=None)

    def feed(self, placed: Placed) -> Iterator[Chunk]:
        """Take the next run; give what is complete, all of which must be taken. Mostly nothing: runs are gathered first. ``Corrupt``."""
        if self.done:
            return
        if placed.run.kind is Kind.PG_STREAM:
            yield from self.flush()
            self._open, self._streaming = None, None
            self._staged.clear()
        elif self._runs.add(placed):
            yield from self.flush()

    def flush(self) -> Iterator[Chunk]:
        """Work off what was gathered; all of it must be taken."""
        if self.done or (batch := self._runs.take()) is None:
            return
        yield from self._batch(batch)
        self._put_aside()

    def _put_aside(self) -> None:
        if self._spill is None:
            return
        lists = [staged.pieces for staged in self._staged.values()]
        if self._open is not None:
            lists.append(self._open.pieces)
        if sum(piece.size for pieces in lists for piece in pieces) > self._staged_bytes:
            for pieces in lists:
                pieces[:] = [piece.aside(self._spill) if isinstance(piece, Piece) else piece for piece in pieces]

    def _batch(self, batch: FrameBatch) -> Iterator[Chunk]:
        if _TWO_PHASE[batch.types].any():
            raise Corrupt("the journal holds frames of two-phase transactions", hint="the slot was made by something else")
        plain: list[tuple[int, int]] = []
        begin = 0
        for control in np.flatnonzero(IS_STREAMED[batch.types]).tolist():
            kind = batch.types[control]
            body = int(batch.starts[control]) + 1
            if self._streaming is not None:
                if kind != ord("E"):
                    raise Corrupt(f"entry {batch.seqs[control]}: a streamed block does not end")
                self._stage(batch, self._streaming, begin, control)
                self._streaming = None
                begin = control + 1
                continue
            if control > begin:
                plain.append((begin, control))
            begin = control + 1
            xid = int(batch.u4(body))
            if kind == ord("S"):
                self._streaming = xid
                if xid not in self._staged:
                    self._staged[xid] = _StreamedTransaction(bool(batch.data[body + 4]), int(batch.seqs[control]))
            elif kind == ord("A"):
                self._abort(xid, int(batch.u4(body + 4)))
            elif kind == ord("c"):
                yield from self._plain(batch, plain)
                plain = []
                if not self.done:
                    yield from self._stream_commit(batch, control, xid)
                if self.done:
                    return
            else:
                raise Corrupt(f"entry {batch.seqs[control]}: a streamed block ends that never began")
        if self._streaming is not None:
            self._stage(batch, self._streaming, begin, batch.count)
        elif begin < batch.count:
            plain.append((begin, batch.count))
        yield from self._plain(batch, plain)

    # Streamed transactions.

    def _stage(self, batch: FrameBatch, xid: int, begin: int, end: int) -> None:
        if begin < end:
            types = batch.types[begin:end]
            if ((types == ord("B")) | (types == ord("C"))).any():
                raise Corrupt(f"entries {batch.seqs[begin]} to {batch.seqs[end - 1]}: a streamed block does not end")
            self._staged[xid].pieces.append(Piece.cut(batch, begin, end))

    def _abort(self, xid: int, subxid: int) -> None:
        if subxid == xid:
            self._staged.pop(xid, None)
        elif xid in self._staged:
            self._staged[xid].aborted.add(subxid)

    def _stream_commit(self, batch: FrameBatch, control: int, xid: int) -> Iterator[Chunk]:
        body = int(batch.starts[control]) + 1  # xid, flags, commit LSN, end LSN, time
        where = np.array([body + 5], np.int64)
        transactions = self._accept(Commits.read(batch, np.array([xid], np.int64), where, batch.seqs[control : control + 1]))
        staged = self._staged.pop(xid, None)
        if not len(transactions.xid):
            return
        if transactions.applied[0] and (staged is None or not staged.whole):
            raise Corrupt(f"entry {batch.seqs[control]}: the beginning of transaction {xid} is missing", hint="run verify")
        if staged is None or not staged.pieces:
            return
        aborted = np.fromiter(staged.aborted, np.int64, len(staged.aborted))
        for piece, last in joined(staged.pieces, self._batch_bytes):
            starts = piece.starts + XLOG_HEADER
            types = piece.data[starts]
            relation = types == ord("R")
            kept = relation.copy()
            if transactions.applied[0]:
                subxids = big_endian(piece.data, starts + 1, 4)
                # A Relation message counts even where its subtransaction was rolled back: the server does not repeat it.
                kept |= _KEPT[types] & ~np.isin(subxids.astype(np.int64), aborted)
            yield Chunk(
                piece.data,
                starts[kept],
                (piece.starts + piece.lengths)[kept],
                types[kept],
                piece.seqs[kept],
                np.zeros(int(kept.sum()), np.int64),
                transactions,
                streamed=True,
                complete=last,
            )

    # Ordinary transactions.

    def _plain(self, batch: FrameBatch, ranges: list[tuple[int, int]]) -> Iterator[Chunk]:
        if not ranges or self.done:
            return
        if len(ranges) == 1:
            frames = np.arange(*ranges[0], dtype=np.int64)
        else:
            frames = np.concatenate([np.arange(begin, end, dtype=np.int64) for begin, end in ranges])
        types = batch.types[frames]
        is_begin, is_commit = types == ord("B"), types == ord("C")
        before = int(self._open is not None)
        # +1 after each Begin, -1 after each Commit: inside a transaction it is 1, between two 0, and nothing else is possible.
        depth = before + np.cumsum(is_begin, dtype=np.int64) - np.cumsum(is_commit, dtype=np.int64)
        inside = (depth == 1) & ~is_begin
        if ((depth != 1) & (depth != 0)).any() or (types[(depth == 0) & ~is_commit] != ord("M")).any():
            raise Corrupt(f"entries {batch.seqs[frames[0]]} to {batch.seqs[frames[-1]]}: transactions do not begin and end in turn")
        begins, commits = frames[is_begin], frames[is_commit]
        began = batch.starts[begins] + 1  # final LSN, time, xid
        xids, final = batch.u4(began + 16).astype(np.int64), batch.u8(began)
        pending = self._open
        if pending is not None:
            xids, final = np.insert(xids, 0, pending.xid), np.insert(final, 0, pending.final_lsn)
        if len(commits):
            yield from self._commits(batch, frames, inside, is_commit, (xids[: len(commits)], final[: len(commits)]))
            self._open = None
        if len(xids) > len(commits):
            if self._open is None:
                self._open = _OpenTransaction(int(xids[-1]), int(final[-1]), int(batch.seqs[begins[-1]]))
            after = frames[inside & (np.cumsum(is_commit) == len(commits))]
            for begin, end in consecutive(after):
                self._open.pieces.append(Piece.cut(batch, begin, end))

    def _commits(self, batch: FrameBatch, frames: I64, inside: Bools, is_commit: Bools, began: tuple[I64, U64]) -> Iterator[Chunk]:
        (xids, final), commits = began, frames[is_commit]
        body = batch.starts[commits] + 2  # after the flags: commit LSN, end LSN, time
        ends = Commits.read(batch, xids, body, batch.seqs[commits])
        if (ends.commit_lsn != final).any():
            raise Corrupt(f"entry {batch.seqs[commits[0]]} and on: a Commit does not belong to its Begin")
        transactions = self._accept(ends)
        count = len(transactions.xid)
        if count and self._open is not None:
            first = transactions.first()
            for piece, _ in joined(self._open.pieces, self._batch_bytes):
                starts = piece.starts + XLOG_HEADER
                yield _chunk((piece.data, starts, piece.starts + piece.lengths, piece.seqs), np.zeros(len(starts), np.int64), first)
        txn = np.cumsum(is_commit, dtype=np.int64)
        ours = inside & (txn < count)
        if ours.any():
            chosen = frames[ours]
            yield _chunk((batch.data, batch.starts[chosen], batch.ends[chosen], batch.seqs[chosen]), txn[ours], transactions)

    def _accept(self, commits: Commits) -> Transactions:
        """Cut at the limit, tell repetitions, move on."""
        reached = commits.reached(self.reached)
        applied = (commits.end_lsn > reached[:-1]) & (commits.commit_lsn >= np.uint64(self._from_lsn))
        count = first_true(commits.are_beyond(self.limit) & applied)
        self.done = count < len(commits)
        newest = np.maximum.accumulate(np.concatenate([np.array([self.newest]), np.where(applied, commits.time, 0)[:count]]))
        self.newest = int(newest[-1])
        transactions = Transactions.of(commits.chosen(slice(count)), applied[:count], newest[1:])
        self.reached = int(reached[count])
        used = np.flatnonzero(transactions.applied)
        if len(used):
            self.applied += len(used)
            self.last = transactions[int(used[-1])]
        return transactions


def _chunk(messages: tuple[U8, I64, I64, I64], txn: I64, transactions: Transactions) -> Chunk:
    data, starts, ends, seqs = messages
    types = data[starts]
    kept = _KEPT[types]
    if not transactions.applied.all():
        kept = kept & (transactions.applied[txn] | (types == ord("R")))
    if not kept.all():
        starts, ends, types, seqs, txn = starts[kept], ends[kept], types[kept], seqs[kept], txn[kept]
    return Chunk(data, starts, ends, types, seqs, txn, transactions, streamed=False)
