"""What one database's stretch of the journal holds beside rows: schemas, copies, polls, gaps, and where the point cuts its transactions.

Pure. Fed with runs in journal order from the checkpoint's beginning on, past the point for as long as its user wants to look ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from archiver.journal.entry import Kind, Placed
from archiver.journal.record_reader import read_record
from archiver.journal.records import Gap
from archiver.postgres.announcements import END_TRIGGER, read_announcement, takes_a_right
from archiver.postgres.lsn import parse_lsn, parse_position
from archiver.postgres.records import SCHEMA_UNCERTAIN, Announced, Look, Schema, Sequences, Slot, Snapshot, Stream
from archiver.postgres.schema_bodies import read_schema
from archiver.postgres.visibility import Committed, Visible
from archiver.replay.postgres.decode.commit_reader import CommitReader, Described
from archiver.replay.postgres.decode.commits import Commit, Commits, Limit
from archiver.replay.postgres.plan.plan import Ref

Record = TypeVar("Record", Schema, Sequences, Snapshot)

_ACTS_ELSEWHERE = ("TYPE", "DOMAIN", "PUBLICATION", "INDEX", "EXTENSION", "SCHEMA", "OWNED")
"""Ends of tags of changes that can change the rows, or the identity, of a table that they do not name."""


def _may_concern(content: bytes, oids: Collection[int]) -> bool:
    """Whether a change may be one of a table: ``oids`` are its own and those of the tables that it inherits from."""
    announced = read_announcement(content)
    return announced is None or announced.tag.endswith(_ACTS_ELSEWHERE) or any(map(announced.names, oids))


@dataclass(frozen=True, slots=True)
class FoundRecord(Generic[Record]):
    """A record and its entry."""

    ref: Ref
    record: Record
    announces: bool = False
    """Schema only: changes that follow it are announced in the stream."""


class Sealed(NamedTuple):
    """A transaction that announced changes in messages that nobody but our event trigger can have sent."""

    of: Committed
    seq: int
    """Number of its commit entry."""
    contents: list[bytes]
    """Of these messages."""


class Survey:
    """See the module. ``feed`` in order, then ``flush``; both raise ``Corrupt`` for frames that break the protocol."""

    def __init__(self, limit: Limit, *, from_seq: int, from_lsn: int, checkpoint: int) -> None:
        """Entries before ``from_seq`` are passed over; transactions that commit before ``from_lsn`` are in the ``checkpoint`` entry."""
        self.schemas: list[FoundRecord[Schema]] = []
        self.copies: list[FoundRecord[Snapshot]] = []
        self.polls: list[FoundRecord[Sequences]] = []
        self.gaps: list[tuple[int, Gap]] = []
        self.looks: list[tuple[int, Look]] = []
        self.streams: list[Stream] = []
        self._sealed: set[tuple[int, int, int]] = set()
        """Messages that nobody but our event trigger can have sent: xid of the transaction, its commit LSN, their own."""
        self.last: Commit | None = None
        """The last transaction of the state."""
        self.applied = 0
        self.unfinished = 0
        """At the point."""
        self.next: Commit | None = None
        """The first one behind the point that is known so far."""
        self.behind: list[Commits] = []
        """Those behind the point, in order."""
        self.broken: tuple[int, Gap] | None = None
        """The first gap of the whole source behind the checkpoint: nothing after it continues what was before."""
        self.changed = 0
        """Newest commit time before ``broken``: later ones may be missing from there on."""
        self.described: dict[int, Described] = {}
        """By table, the newest description that came with a change of it in the state."""
        self.sent = False
        """Whether the stream brought anything since the checkpoint, and before the entry that the point names, whatever became of it."""
        self._confirmed = 0
        self._position = 0
        self.reached = 0
        """Position that the stream had reached at the entry that the point names, or else as far as was read."""
        self._commits = CommitReader()
        self._limit, self._from_seq, self._checkpoint = limit, from_seq, checkpoint
        self.from_lsn = from_lsn
        self._resumed = False
        self._first_run: int | None = None
        """Last entry of the run that was fed first, if it is of frames: what is known of its transactions can stand before what is read."""

    @property
    def position(self) -> int:
        """LSN up to which the stream was read, behind the point too."""
        return self._position

    def announced(self, shows: Callable[[bytes], bool]) -> tuple[list[Committed], list[Committed]]:
        """Transactions of the state, and those behind the point as far as it was looked ahead, that announced something which ``shows``."""
        until = self.last.seq if self.last else 0
        found: tuple[list[Committed], list[Committed]] = ([], [])
        for each in self._commits.announced:
            if each.commit_lsn >= self.from_lsn and any(map(shows, each.contents)):
                found[each.seq > until].append(Committed(each.xid, each.commit_lsn))
        return found

    def sealed(self, shows: Callable[[bytes], bool]) -> list[Sealed]:
        """Those of ``announced``, on both sides of the point, where our event trigger alone can have sent a message that ``shows``.

        Without those that anybody makes it send.
        """
        found = []
        for each in self._commits.announced:
            sealed = [
                content
                for content, lsn in zip(each.contents, each.lsns, strict=True)
                if (each.xid, each.commit_lsn, lsn) in self._sealed and takes_a_right(content) and shows(content)
            ]
            if sealed and each.commit_lsn >= self.from_lsn:
                found.append(Sealed(Committed(each.xid, each.commit_lsn), each.seq, sealed))
        return found

    def may_lack_seals(self, newest: Schema, later: Schema) -> bool:
        """Whether something that one of two entries has and the other has not was announced in the run with which reading began.

        What says that it is sealed can stand before what is read. Elsewhere it cannot, so nobody gains by announcing something.
        """
        one, other = Visible.of(newest), Visible.of(later)
        return any(
            each.seq <= (self._first_run or 0)
            and not any((each.xid, each.commit_lsn, lsn) in self._sealed for lsn in each.lsns)
            and one.sees(each.xid, each.commit_lsn) != other.sees(each.xid, each.commit_lsn)
            for each in self._commits.announced
        )

    def announced_behind_only(self, lsn: int, noticed: int, oids: Collection[int]) -> bool:
        """Whether changes of table ``oids``, of publications too, were announced between ``lsn`` and what entry ``noticed`` saw, and all
        behind the point.

        With none at all the change that was noticed was not announced (event triggers can be off): it may be on either side.
        """
        if self._resumed and lsn < self.from_lsn:
            # What was announced before the folded checkpoint is not looked at: rather a gap too many than one too few.
            return False
        until = self.last.seq if self.last else 0
        bound = next((parse_lsn(found.record.lsn) for found in self.schemas if found.ref.seq > noticed), None)
        within = [each for each in self._commits.announced if each.commit_lsn >= lsn and (bound is None or each.commit_lsn < bound)]
        since = [each for each in within if any(_may_concern(content, oids) for content in each.contents)]
        return bool(since) and all(each.seq > until for each in since)

    def sees_behind(self, record: Schema | Snapshot) -> bool:
        """Whether an entry's snapshot has a transaction that is behind the point. Look ahead to its ``lsn`` first."""
        seen = Visible.of(record)
        if self.next is None or seen.lsn <= self.next.commit_lsn:
            return False
        return any(seen.sees_all(commits.xid, commits.commit_lsn).any() for commits in self.behind)

    def resume(self, changed: int) -> None:
        """The checkpoint was folded; ``changed``: the newest commit time before it. Before anything is fed."""
        self._resumed, self.changed, self._position, self.reached = True, changed, self.from_lsn, self.from_lsn

    @property
    def begun_before(self) -> int:
        """How many transactions behind the point began to be sent before its last commit."""
        return self._commits.begun_before(self.last.seq + 1) if self.last else 0

    def recall(self, placed: Placed) -> None:
        """Take a run from before ``from_seq`` that the folded checkpoint refers to. Before ``feed``, in order."""
        self._take_in(placed)

    def undercut(self, has_copy: Callable[[FoundRecord[Snapshot]], bool]) -> bool:
        """Whether a copy that counts needs transactions from before the folded checkpoint, which are not in the stretch that is read."""
        return self._resumed and any(parse_position(each.record.floor) < self.from_lsn for each in self.copies if has_copy(each))

    def feed(self, placed: Placed) -> None:
        """Take the next run of this source."""
        if self._first_run is None:
            self._first_run = placed.first + placed.run.count - 1 if placed.run.kind is Kind.PG_FRAMES else 0
        # What is known of a transaction stands before the run with its commit, of which reading may begin in the middle.
        if placed.first + placed.run.count - 1 >= self._from_seq or placed.run.kind is Kind.PG_ANNOUNCED:
            self._take_in(placed.since(self._from_seq) if self._resumed and placed.run.kind is Kind.PG_FRAMES else placed)

    def _take_in(self, placed: Placed) -> None:
        run = placed.run
        ref = Ref(placed.first, placed.segment)
        kind = run.kind
        if kind in (Kind.PG_FRAMES, Kind.PG_STREAM):
            self.sent = self.sent or (kind is Kind.PG_FRAMES and (self._limit.seq is None or placed.first <= self._limit.seq))
            self._take(self._commits.feed(placed))
            if kind is Kind.PG_STREAM:
                self.streams += [read_record(body, Stream, placed) for body in run.bodies()]
        elif kind is Kind.PG_SCHEMA:
            schema, dump = read_schema(placed)
            self.schemas.append(FoundRecord(ref, schema, END_TRIGGER.encode() in dump))
        elif kind is Kind.PG_TABLES:
            self.copies += [FoundRecord(Ref(seq, ref.segment), copy) for seq, copy in _decoded(placed, Snapshot)]
        elif kind is Kind.PG_SEQUENCES:
            self.polls += [FoundRecord(Ref(seq, ref.segment), poll) for seq, poll in _decoded(placed, Sequences)]
        elif kind is Kind.PG_ANNOUNCED:
            for _, said in _decoded(placed, Announced):
                self._sealed |= {(said.xid, parse_lsn(said.lsn), parse_lsn(lsn)) for lsn in said.messages}
        elif kind is Kind.PG_LOOK:
            self.looks += _decoded(placed, Look)
        elif kind is Kind.GAP:
            for seq, gap in _decoded(placed, Gap):
                self._gap(seq, gap)
        elif kind is Kind.PG_SLOT and placed.first > self._checkpoint:
            for seq, slot in _decoded(placed, Slot):
                if slot.action != "dropped":
                    self._gap(seq, Gap("all", "slot_lost", "a new slot was made and no gap was recorded"))
        if self.broken is None:
            self.changed = max(self.changed, run.changed)
            self._position = max(self._position, parse_position(run.position))
            if self._limit.seq is None or placed.first <= self._limit.seq:
                self.reached = self._position
            if kind is Kind.PROGRESS:
                self._confirmed = max(self._confirmed, run.observed)

    def known_until(self) -> int:
        """The time up to which every commit is known, as far as was read.

        That is the newest commit's; when the server last said that nothing else happened; and when something was read from the server at a
        position that the stream has reached since. Our own entries say nothing: the stream may be far behind them.
        """
        read: list[Schema | Snapshot | Sequences] = [found.record for found in self.schemas]
        read += [found.record for found in self.copies]
        read += [found.record for found in self.polls]
        reached = [record.taken for record in read if parse_lsn(record.lsn) <= self._position]
        return max(self.changed, self._confirmed, *reached, 0)

    def flush(self) -> None:
        """Work off what was gathered."""
        self._take(self._commits.flush())
        if self.next is None and self.broken is None:
            self.unfinished = self._commits.unfinished

    def _gap(self, seq: int, gap: Gap) -> None:
        self.gaps.append((seq, gap))
        if self.broken is None and seq > self._checkpoint and is_whole(gap):
            self.flush()
            self.broken = (seq, gap)

    def _take(self, found: list[Commits]) -> None:
        for each in found:
            ours = each.commit_lsn >= np.uint64(self.from_lsn)
            commits = each if ours.all() else each.chosen(ours)
            if not len(commits):
                continue
            cut = 0 if self.next is not None or self.broken is not None else commits.beyond(self._limit)
            if cut:
                self.applied += cut
                self.last = commits[cut - 1]
            if cut < len(commits):
                if self.next is None:
                    self.next = commits[cut]
                    self.unfinished = self._commits.unfinished
                self.behind.append(commits.chosen(slice(cut, None)))
        for described in self._commits.described:
            if described.commit_lsn >= self.from_lsn and self.last is not None and described.seq <= self.last.seq:
                self.described[described.oid] = described
        self._commits.described.clear()


def is_whole(gap: Gap) -> bool:
    """Whether all of the source is unknown, not only a table or the schema."""
    return not gap.what.startswith("table ") and gap.reason != SCHEMA_UNCERTAIN


Any_ = TypeVar("Any_", Gap, Slot, Snapshot, Sequences, Look, Announced)


def _decoded(placed: Placed, of: type[Any_]) -> list[tuple[int, Any_]]:
    return [(placed.first + number, read_record(body, of, placed)) for number, body in enumerate(placed.run.bodies())]
