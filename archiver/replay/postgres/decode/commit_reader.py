"""Runs of one database -> which transactions committed, in commit order, which changed the schema, and which relations they describe.

Rows are not looked at.

A plan needs no more; the fold reads the same frames for what they change (``transactions``). Both go by the same rules: a PG_STREAM
run voids unfinished transactions, and a transaction that does not end above the last one is a repetition.

Message layouts: PostgreSQL manual, "Logical Replication Message Formats".
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np

from archiver.errors import Corrupt
from archiver.journal.entry import Kind, Placed
from archiver.postgres.announcements import PREFIX_BYTES
from archiver.replay.postgres.decode.commits import I64, Commit, Commits
from archiver.replay.postgres.decode.frame_batch import IS_STREAMED, FrameBatch, RunGatherer
from archiver.replay.postgres.decode.pgoutput import Relation, decode

BATCH_BYTES = 8 << 20
_IS_CONTROL = IS_STREAMED.copy()
_IS_CONTROL[list(b"BC")] = True


class AnnouncingCommit(msgspec.Struct, frozen=True):
    """A committed transaction that announced a schema change."""

    xid: int
    """32 bits, of the whole transaction."""
    seq: int
    """Number of its commit entry."""
    commit_lsn: int
    contents: list[bytes]
    """What the messages say (JSON of the event trigger)."""
    lsns: list[int]
    """Of each, where it stands, as it says itself."""


class Described(msgspec.Struct, frozen=True):
    """A Relation message of a committed transaction: a change of this relation follows it."""

    oid: int
    xid: int
    """32 bits, of the whole transaction."""
    seq: int
    """Number of its commit entry."""
    commit_lsn: int
    message: bytes
    """From its type byte on, without the xid that streamed ones have."""

    @property
    def relation(self) -> Relation:
        """The message, decoded. Raises ``Corrupt``."""
        found = decode(self.message, streamed=False)
        assert isinstance(found, Relation)
        return found


@dataclass(slots=True)
class _GatheredCommits:
    """Commits being gathered."""

    xid: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    """Where in the message its three numbers begin."""
    seq: list[int] = field(default_factory=list)


class CommitReader:
    """Takes runs of one database in journal order. Pure; one caller at a time."""

    def __init__(self, *, batch_bytes: int = BATCH_BYTES) -> None:
        """``batch_bytes``: runs are gathered to about this size; results do not depend on it."""
        self.announced: list[AnnouncingCommit] = []
        """In commit order."""
        self.described: list[Described] = []
        """In commit order; whoever reads it may empty it."""
        self._runs = RunGatherer(batch_bytes)
        self._end = 0
        self._open: int | None = None
        """xid of the ordinary transaction whose Commit has not come."""
        self._contents: list[tuple[int, bytes]] = []
        self._relations: list[bytes] = []
        """What that transaction described."""
        self._streaming: int | None = None
        self._staged: dict[int, list[tuple[int, bytes, int | None]]] = {}
        """Streamed transactions that have not ended: (xid of the subtransaction, content, LSN) of what they announced, (xid, message,
        ``None``) of what they described."""
        self._began: dict[int, int] = {}
        """Number of the entry with which each of them began."""
        self._ended: list[tuple[int, int]] = []
        """Of those that ended: numbers of the first and the last entry."""

    @property
    def unfinished(self) -> int:
        """Transactions that have begun and not ended."""
        return len(self._staged) + (self._open is not None)

    def begun_before(self, seq: int) -> int:
        """How many transactions were sent in part before entry ``seq`` and in part behind it, as far as was read."""
        return sum(begin < seq <= end for begin, end in self._ended) + sum(begin < seq for begin in self._began.values())

    def feed(self, placed: Placed) -> list[Commits]:
        """Take the next run; give what is complete. Raises ``Corrupt``."""
        if placed.run.kind is Kind.PG_STREAM:
            found = self.flush()
            for xid in list(self._began):
                self._end_streamed(xid, placed.first)
            self._open, self._streaming = None, None
            self._contents, self._relations, self._staged = [], [], {}
            return found
        return self.flush() if self._runs.add(placed) else []

    def flush(self) -> list[Commits]:
        """Work off what was gathered."""
        batch = self._runs.take()
        if batch is None:
            return []
        messages = (batch.types == ord("M")).any() and PREFIX_BYTES in bytes(batch.whole)
        if messages or self._contents or self._streaming is not None or IS_STREAMED[batch.types].any():
            found = self._one_by_one(batch)
        else:
            found = self._at_once(batch)
        reached = found.reached(self._end)
        self._end = int(reached[-1])
        new = found.end_lsn > reached[:-1]
        if not new.all():
            repeated = {int(seq) for seq in found.seq[~new]}
            self.announced = [each for each in self.announced if each.seq not in repeated]
            self.described = [each for each in self.described if each.seq not in repeated]
            found = found.chosen(new)
        return [found] if len(found) else []

    def _at_once(self, batch: FrameBatch) -> Commits:
        """Only ordinary transactions, and none that announces anything."""
        commits = np.flatnonzero(batch.types == ord("C"))
        xids = batch.u4(batch.starts[batch.types == ord("B")] + 17).astype(np.int64)
        if self._open is not None:
            xids = np.insert(xids, 0, self._open)
        if not len(commits) <= len(xids) <= len(commits) + 1:
            raise Corrupt(f"entries {batch.seqs[0]} to {batch.seqs[-1]}: transactions do not begin and end in turn")
        self._open = int(xids[-1]) if len(xids) > len(commits) else None
        found = Commits.read(batch, xids[: len(commits)], batch.starts[commits] + 2, batch.seqs[commits])
        self._describe(batch, commits, found)
        return found

    def _describe(self, batch: FrameBatch, commits: I64, found: Commits) -> None:
        """Take the Relation messages of a batch in which only ordinary transactions end, at the frames ``commits``."""
        pending, self._relations = self._relations, []
        if pending and len(found):
            self._keep(found[0], pending)
        elif pending:
            self._relations = pending
        relations = np.flatnonzero(batch.types == ord("R"))
        for frame, within in zip(relations.tolist(), np.searchsorted(commits, relations).tolist(), strict=True):
            message = bytes(batch.data[int(batch.starts[frame]) : int(batch.ends[frame])])
            if within < len(found):
                self._keep(found[within], [message])
            else:
                self._relations.append(message)

    def _keep(self, commit: Commit, messages: list[bytes]) -> None:
        for message in messages:
            oid = int.from_bytes(message[1:5], "big")
            self.described.append(Described(oid, commit.xid, commit.seq, commit.commit_lsn, message))

    def _one_by_one(self, batch: FrameBatch) -> Commits:
        rows = _GatheredCommits()
        for frame in np.flatnonzero(_IS_CONTROL[batch.types] | (batch.types == ord("M")) | (batch.types == ord("R"))).tolist():
            kind, at, seq = int(batch.types[frame]), int(batch.starts[frame]), int(batch.seqs[frame])
            if kind == ord("B"):
                self._open, self._contents, self._relations = int(batch.u4(at + 17)), [], []
            elif kind == ord("C"):
                if self._open is None:
                    raise Corrupt(f"entry {seq}: a transaction ends that never began")
                self._committed(rows, (self._open, at + 2, seq), (self._contents, self._relations), batch)
                self._open, self._contents, self._relations = None, [], []
            elif kind == ord("S"):
                self._streaming = int(batch.u4(at + 1))
                self._staged.setdefault(self._streaming, [])
                self._began.setdefault(self._streaming, seq)
            elif kind == ord("E"):
                self._streaming = None
            elif kind == ord("A"):
                xid, subxid = int(batch.u4(at + 1)), int(batch.u4(at + 5))
                if xid == subxid:
                    self._staged.pop(xid, None)
                    self._end_streamed(xid, seq)
                elif xid in self._staged:
                    self._staged[xid] = [each for each in self._staged[xid] if each[0] != subxid]
            elif kind == ord("c"):
                xid = int(batch.u4(at + 1))
                self._end_streamed(xid, seq)
                staged = self._staged.pop(xid, [])
                said = [(lsn, content) for _, content, lsn in staged if lsn is not None]
                self._committed(rows, (xid, at + 6, seq), (said, [message for _, message, lsn in staged if lsn is None]), batch)
            elif kind == ord("R"):
                self._relation(bytes(batch.data[at : int(batch.ends[frame])]))
            else:
                self._message(bytes(batch.data[at : int(batch.ends[frame])]))
        return Commits.read(batch, np.array(rows.xid, np.int64), np.array(rows.at, np.int64), np.array(rows.seq, np.int64))

    def _end_streamed(self, xid: int, seq: int) -> None:
        if (began := self._began.pop(xid, None)) is not None:
            self._ended.append((began, seq))

    def _committed(
        self, rows: _GatheredCommits, place: tuple[int, int, int], said: tuple[list[tuple[int, bytes]], list[bytes]], batch: FrameBatch
    ) -> None:
        (xid, at, seq), (contents, relations) = place, said
        rows.xid.append(xid)
        rows.at.append(at)
        rows.seq.append(seq)
        if contents:
            lsns, texts = [lsn for lsn, _ in contents], [content for _, content in contents]
            self.announced.append(AnnouncingCommit(xid, seq, int(batch.u8(at)), texts, lsns))
        if relations:
            self._keep(Commit(xid, int(batch.u8(at)), 0, 0, seq), relations)

    def _message(self, message: bytes) -> None:
        begin = 14 if self._streaming is not None else 10  # type, xid if streamed, flags, LSN
        if not message.startswith(PREFIX_BYTES, begin) or not message[begin - 9] & 1:
            return
        content, lsn = message[begin + len(PREFIX_BYTES) + 4 :], int.from_bytes(message[begin - 8 : begin], "big")
        if self._streaming is not None:
            self._staged[self._streaming].append((int.from_bytes(message[1:5], "big"), content, lsn))
        elif self._open is not None:
            self._contents.append((lsn, content))

    def _relation(self, message: bytes) -> None:
        if self._streaming is not None:
            self._staged[self._streaming].append((int.from_bytes(message[1:5], "big"), message[:1] + message[5:], None))
        elif self._open is not None:
            self._relations.append(message)
