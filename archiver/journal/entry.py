"""The vocabulary of the journal: what a source hands in and what a reader hands out.

An **entry** is one opaque body: a pgoutput frame, a watch line, a JSON document of ours. Entries of one source and
kind that arrived together travel and are stored as one **run**, so that framing costs far less than a microsecond each.
Every entry has a **sequence number**, 1, 2, 3, … without holes over the whole archive: that is the journal's total order
and what ``--at POSITION`` means.

Times are microseconds since 1970 UTC; 0 means not known.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator
from enum import IntEnum

import msgspec

from archiver.untrusted import Unreadable, decode_untrusted


class Kind(IntEnum):
    """What the bodies of a run are. Numbers are stored: they are never reused or changed."""

    SESSION = 1  # journal.records.Session: a writer's fence, the first entry of its first segment
    CLOSE = 2  # journal.records.Close: the writer ended in order; the next one need not wait
    GAP = 3  # journal.records.Gap: history that is not known
    PROGRESS = 4  # nothing happened at the source up to this run's position; empty, or kubernetes.records.Verified
    MARK = 5  # journal.records.Mark: a name that a user gave to this place
    CHECKPOINT = 6  # a complete state of the source: postgres.records.Snapshot or kubernetes.records.Listing
    CLOCK = 7  # journal.records.ClockStep: the archiver's wall clock was set

    PG_STREAM = 16  # postgres.records.Stream: replication started here; unfinished transactions before it are void
    PG_FRAMES = 17  # CopyData bodies as received: XLogData header ('w', 25 bytes) and the pgoutput message
    PG_SCHEMA = 18  # two bodies: postgres.records.Schema, then pg_dump --format=custom --schema-only as it came
    PG_SEQUENCES = 19  # postgres.records.Sequences
    PG_TABLES = 20  # postgres.records.Snapshot of some tables, taken while streaming
    PG_SLOT = 21  # postgres.records.Slot: about to create, created or dropped; says what is ours to drop
    PG_LOOK = 22  # postgres.records.Look: the schema was still that of the newest PG_SCHEMA
    PG_ANNOUNCED = 23  # postgres.records.Announced: of a transaction that commits in the frames that follow

    K8S_WATCH = 32  # kubernetes.records.Watch: list or watch started; which cluster, which resource, which epoch
    K8S_ITEM = 33  # one object of a list, its JSON as the API server sent it
    K8S_EVENT = 34  # one watch line as the API server sent it
    K8S_ABSENT = 35  # kubernetes.records.Absent: deleted while nobody watched


class Run(msgspec.Struct, frozen=True):
    """Entries of one source and kind that arrived together.

    ``lengths`` holds the length of each body as unsigned 32-bit little-endian; ``data`` the bodies end to end.
    """

    source: str
    """Stream name: ``db`` for a PostgreSQL source, ``cluster/group/resource[@namespace]`` for Kubernetes, ``""`` for the journal."""
    kind: Kind
    observed: int
    """When the last body was received."""
    lengths: bytes
    data: bytes | memoryview
    changed: int = 0
    """The newest time that the source itself gives for these entries (commit time)."""
    position: str = ""
    """Where capture resumes at the source once this run is durable: an LSN, a resourceVersion. Empty: unchanged."""

    @classmethod
    def of(
        cls,
        source: str,
        kind: Kind,
        bodies: Iterable[bytes],
        *,
        observed: int,
        changed: int = 0,
        position: str = "",
    ) -> Run:
        """Pack ``bodies`` (each under 4 GiB) into a run."""
        bodies = list(bodies)
        lengths = array("I", map(len, bodies))
        if sys.byteorder == "big":
            lengths.byteswap()
        return cls(source, kind, observed, lengths.tobytes(), b"".join(bodies), changed, position)

    @property
    def count(self) -> int:
        """How many entries the run holds."""
        return len(self.lengths) // 4

    def bodies(self) -> Iterator[bytes]:
        """The bodies in order, each copied out. Column-wise readers use ``lengths`` and ``data`` instead."""
        lengths = array("I", self.lengths)
        if sys.byteorder == "big":
            lengths.byteswap()
        view, start = memoryview(self.data), 0
        for length in lengths:
            yield bytes(view[start : start + length])
            start += length


class Placed(msgspec.Struct, frozen=True):
    """A run where it stands in the journal."""

    first: int
    """Sequence number of the run's first entry."""
    segment: int
    """Number of the segment that holds it."""
    epoch: int
    """Epoch of the writer's session."""
    time: int
    """Journal time of the segment: when it was sealed; strictly increasing from segment to segment."""
    run: Run

    def since(self, seq: int) -> Placed:
        """The same run without entries before number ``seq``, which it holds or which come before it."""
        skipped = seq - self.first
        if skipped <= 0:
            return self
        run = self.run
        lengths = array("I", run.lengths[: 4 * skipped])
        if sys.byteorder == "big":
            lengths.byteswap()
        size = sum(lengths)
        rest = msgspec.structs.replace(run, lengths=run.lengths[4 * skipped :], data=memoryview(run.data)[size:])
        return msgspec.structs.replace(self, first=seq, run=rest)


class SourceMark(msgspec.Struct, frozen=True, array_like=True):
    """Where one source stands after a segment. Cumulative: what came before it is in it.

    ``array_like``: fields are only ever appended, each with a default.
    """

    position: str = ""
    """Newest non-empty ``Run.position``: where capture resumes."""
    changed: int = 0
    """Running maximum of ``Run.changed``: monotonic, so that a time is found by bisection."""
    observed: int = 0
    """Newest ``Run.observed``: running maximum as well."""
    checkpoint: int = 0
    """Sequence number of the newest CHECKPOINT entry; 0 for none."""
    checkpoint_segment: int = -1
    """The segment that holds it; -1 for none."""
    control: int = 0
    """Sequence number of the newest PG_SLOT or K8S_WATCH entry; a PostgreSQL baseline is complete when ``checkpoint > control``."""
    control_segment: int = -1
    """The segment that holds it; -1 for none."""
    stream_segment: int = -1
    """The segment with the newest PG_STREAM entry; -1 for none."""
    schema_segment: int = -1
    """The segment with the newest PG_SCHEMA entry, against which a new start compares the catalog; -1 for none."""
    newest_segment: int = -1
    """The segment with its newest entry, of whatever kind; -1: not known, the mark is of a program that did not say."""
    gap: str = ""
    """Reason of the gap that is its newest entry. Empty: another entry is, or it is not known."""
    changed_segment: int = -1
    """The first segment whose mark has this ``changed``; -1: there is none, or the mark is of a program that did not say."""


class _Reason(msgspec.Struct):
    """What counts here of a ``records.Gap``."""

    reason: str = ""


_LONGEST_REASON = 64
_LONGEST_GAP = 1 << 20


def _gap_of(run: Run) -> str:
    """Of its last entry; empty for one that cannot be read, which is told where gaps are read."""
    *_, last = run.bodies()
    try:
        return decode_untrusted(last, _Reason, most=_LONGEST_GAP).reason[:_LONGEST_REASON]
    except Unreadable:
        return ""


def advance(mark: SourceMark, run: Run, first: int, segment: int) -> SourceMark:
    """The mark of ``run.source`` after ``run``, whose first entry is number ``first`` in segment ``segment``."""
    last = first + run.count - 1
    checkpoint = run.kind is Kind.CHECKPOINT
    control = run.kind in (Kind.PG_SLOT, Kind.K8S_WATCH)
    return SourceMark(
        position=run.position or mark.position,
        changed=max(run.changed, mark.changed),
        observed=max(run.observed, mark.observed),
        checkpoint=last if checkpoint else mark.checkpoint,
        checkpoint_segment=segment if checkpoint else mark.checkpoint_segment,
        control=last if control else mark.control,
        control_segment=segment if control else mark.control_segment,
        stream_segment=segment if run.kind is Kind.PG_STREAM else mark.stream_segment,
        schema_segment=segment if run.kind is Kind.PG_SCHEMA else mark.schema_segment,
        newest_segment=segment,
        gap=_gap_of(run) if run.kind is Kind.GAP else "",
        changed_segment=segment if run.changed > mark.changed else mark.changed_segment,
    )
