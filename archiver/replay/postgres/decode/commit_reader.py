"""Runs of one database -> which transactions committed, in commit order, and which of them changed the schema. Rows are not looked at.

A plan needs no more; the fold reads the same frames for what they change (``transactions``). Both go by the same rules: a PG_STREAM
run voids unfinished transactions, and a transaction that does not end above the last one is a repetition.

Message layouts: PostgreSQL manual, "Logical Replication Message Formats".
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from archiver.errors import Corrupt
from archiver.journal.entry import Kind, Placed, Run
from archiver.postgres.announcements import PREFIX_BYTES
from archiver.postgres.replication_messages import PG_EPOCH, XLOG_HEADER
from archiver.replay.postgres.columnar.values import big_endian
from archiver.replay.postgres.decode.transactions import Commit, Limit

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

BATCH_BYTES = 8 << 20
_STREAM = np.zeros(256, np.bool_)
_STREAM[list(b"SEcA")] = True
_CONTROL = _STREAM.copy()
_CONTROL[list(b"BC")] = True


class Announced(msgspec.Struct, frozen=True):
    """A committed transaction that announced a schema change."""

    xid: int
    """32 bits, of the whole transaction."""
    seq: int
    """Number of its commit entry."""
    commit_lsn: int
    contents: list[bytes]
    """What the messages say (JSON of the event trigger)."""


@dataclass(frozen=True, slots=True)
class Commits:
    """Transactions in commit order, repetitions left out; one array element each."""

    xid: I64
    commit_lsn: U64
    end_lsn: U64
    time: I64
    seq: I64

    def __len__(self) -> int:
        return len(self.xid)

    def __getitem__(self, index: int) -> Commit:
        return Commit(
            int(self.xid[index]), int(self.commit_lsn[index]), int(self.end_lsn[index]), int(self.time[index]), int(self.seq[index])
        )

    def beyond(self, limit: Limit) -> int:
        """Index of the first one that is beyond the limit; their number when none is."""
        found = np.zeros(len(self), np.bool_)
        if limit.seq is not None:
            found |= self.seq > limit.seq
        if limit.lsn is not None:
            found |= self.end_lsn > np.uint64(limit.lsn)
        if limit.time is not None:
            found |= self.time > limit.time
        return int(np.argmax(found)) if found.any() else len(self)


@dataclass(slots=True)
class _Rows:
    """Commits being gathered."""

    xid: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    """Where in the message its three numbers begin."""
    seq: list[int] = field(default_factory=list)


class CommitReader:
    """Takes runs of one database in journal order. Pure; one caller at a time."""

    def __init__(self, *, batch_bytes: int = BATCH_BYTES) -> None:
        """``batch_bytes``: runs are gathered to about this size; results do not depend on it."""
        self.announced: list[Announced] = []
        """In commit order."""
        self._batch_bytes = batch_bytes
        self._runs: list[tuple[int, Run]] = []
        self._size = 0
        self._end = 0
        self._open: int | None = None
        """xid of the ordinary transaction whose Commit has not come."""
        self._contents: list[bytes] = []
        self._streaming: int | None = None
        self._staged: dict[int, list[tuple[int, bytes]]] = {}
        """Streamed transactions that have not ended: (xid of the subtransaction, content) of what they announced."""

    @property
    def unfinished(self) -> int:
        """Transactions that have begun and not ended."""
        return len(self._staged) + (self._open is not None)

    def feed(self, placed: Placed) -> list[Commits]:
        """Take the next run; give what is complete. Raises ``Corrupt``."""
        run = placed.run
        if run.kind is Kind.PG_STREAM:
            found = self.flush()
            self._open, self._streaming = None, None
            self._contents, self._staged = [], {}
            return found
        if run.kind is not Kind.PG_FRAMES or not run.count:
            return []
        self._runs.append((placed.first, run))
        self._size += len(run.data)
        return self.flush() if self._size >= self._batch_bytes else []

    def flush(self) -> list[Commits]:
        """Work off what was gathered."""
        if not self._runs:
            return []
        runs, self._runs, self._size = self._runs, [], 0
        lengths = np.concatenate([np.frombuffer(run.lengths, "<u4") for _, run in runs]).astype(np.int64)
        whole = runs[0][1].data if len(runs) == 1 else b"".join(run.data for _, run in runs)
        data = np.frombuffer(whole, np.uint8)
        ends = np.cumsum(lengths)
        if int(ends[-1]) != len(data) or int(lengths.min()) <= XLOG_HEADER:
            raise Corrupt(f"entry {runs[0][0]} and on: frames do not add up to their run")
        starts = ends - lengths + XLOG_HEADER
        seqs = np.concatenate([np.arange(first, first + run.count, dtype=np.int64) for first, run in runs])
        types = data[starts]
        messages = np.flatnonzero(types == ord("M")) if PREFIX_BYTES in bytes(whole) else np.zeros(0, np.int64)
        if len(messages) or self._contents or self._streaming is not None or _STREAM[types].any():
            found = self._one_by_one(data, starts, ends, types, seqs)
        else:
            found = self._at_once(data, starts, types, seqs)
        new = found.end_lsn > np.maximum.accumulate(np.concatenate([np.array([self._end], np.uint64), found.end_lsn]))[:-1]
        if len(found):
            self._end = max(self._end, int(found.end_lsn.max()))
        if not new.all():
            kept = {int(seq) for seq in found.seq[new]}
            repeated = {int(seq) for seq in found.seq} - kept
            self.announced = [each for each in self.announced if each.seq not in repeated]
            found = Commits(found.xid[new], found.commit_lsn[new], found.end_lsn[new], found.time[new], found.seq[new])
        return [found] if len(found) else []

    def _at_once(self, data: npt.NDArray[np.uint8], starts: I64, types: npt.NDArray[np.uint8], seqs: I64) -> Commits:
        """Only ordinary transactions, and none that announces anything."""
        commits = np.flatnonzero(types == ord("C"))
        xids = big_endian(data, starts[types == ord("B")] + 17, 4).astype(np.int64)
        if self._open is not None:
            xids = np.insert(xids, 0, self._open)
        if not len(commits) <= len(xids) <= len(commits) + 1:
            raise Corrupt(f"entries {seqs[0]} to {seqs[-1]}: transactions do not begin and end in turn")
        self._open = int(xids[-1]) if len(xids) > len(commits) else None
        return _commits(data, xids[: len(commits)], starts[commits] + 2, seqs[commits])

    def _one_by_one(self, data: npt.NDArray[np.uint8], starts: I64, ends: I64, types: npt.NDArray[np.uint8], seqs: I64) -> Commits:
        rows = _Rows()
        for frame in np.flatnonzero(_CONTROL[types] | (types == ord("M"))).tolist():
            kind, at, seq = int(types[frame]), int(starts[frame]), int(seqs[frame])
            if kind == ord("B"):
                self._open, self._contents = _u4(data, at + 17), []
            elif kind == ord("C"):
                if self._open is None:
                    raise Corrupt(f"entry {seq}: a transaction ends that never began")
                self._committed(rows, (self._open, at + 2, seq), self._contents, data)
                self._open, self._contents = None, []
            elif kind == ord("S"):
                self._streaming = _u4(data, at + 1)
                self._staged.setdefault(self._streaming, [])
            elif kind == ord("E"):
                self._streaming = None
            elif kind == ord("A"):
                xid, subxid = _u4(data, at + 1), _u4(data, at + 5)
                if xid == subxid:
                    self._staged.pop(xid, None)
                elif xid in self._staged:
                    self._staged[xid] = [each for each in self._staged[xid] if each[0] != subxid]
            elif kind == ord("c"):
                xid = _u4(data, at + 1)
                self._committed(rows, (xid, at + 6, seq), [content for _, content in self._staged.pop(xid, [])], data)
            else:
                self._message(bytes(data[at : int(ends[frame])]))
        return _commits(data, np.array(rows.xid, np.int64), np.array(rows.at, np.int64), np.array(rows.seq, np.int64))

    def _committed(self, rows: _Rows, place: tuple[int, int, int], contents: list[bytes], data: npt.NDArray[np.uint8]) -> None:
        xid, at, seq = place
        rows.xid.append(xid)
        rows.at.append(at)
        rows.seq.append(seq)
        if contents:
            self.announced.append(Announced(xid, seq, int(big_endian(data, np.array([at]), 8)[0]), contents))

    def _message(self, message: bytes) -> None:
        begin = 14 if self._streaming is not None else 10  # type, xid if streamed, flags, LSN
        if not message.startswith(PREFIX_BYTES, begin) or not message[begin - 9] & 1:
            return
        content = message[begin + len(PREFIX_BYTES) + 4 :]
        if self._streaming is not None:
            self._staged[self._streaming].append((int.from_bytes(message[1:5], "big"), content))
        elif self._open is not None:
            self._contents.append(content)


def _commits(data: npt.NDArray[np.uint8], xid: I64, at: I64, seq: I64) -> Commits:
    """``at``: where commit LSN, end LSN and time stand, eight bytes each."""
    time = big_endian(data, at + 16, 8).astype(np.int64) + PG_EPOCH
    return Commits(xid, big_endian(data, at, 8).astype(np.uint64), big_endian(data, at + 8, 8).astype(np.uint64), time, seq)


def _u4(data: npt.NDArray[np.uint8], at: int) -> int:
    return int.from_bytes(data[at : at + 4].tobytes(), "big")
