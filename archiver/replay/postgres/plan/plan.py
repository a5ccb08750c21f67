"""What a restore of one database will do: values that can be printed, kept and carried out."""

from __future__ import annotations

import msgspec

from archiver import clock
from archiver.postgres.captured_systems import CapturedDatabase
from archiver.postgres.records import Extension
from archiver.replay.points import PointKind


class Ref(msgspec.Struct, frozen=True):
    """An entry and where it is."""

    seq: int
    segment: int = msgspec.field(name="slot")
    """Number of the segment that holds it."""


class Moment(msgspec.Struct, frozen=True):
    """The point, and what it is in this database's history."""

    asked: str
    kind: PointKind
    entry: int
    """Number of the last commit entry that belongs to the state; 0: the checkpoint is the state."""
    lsn: str
    """Where that transaction ends; the checkpoint's position when there is none."""
    time: int
    """Its commit time; when the checkpoint was taken if there is none."""
    asked_time: int = 0
    """Of a point in time; 0 for others."""
    transactions: int = 0
    """Applied on top of the checkpoint."""
    unfinished: int = 0
    """Had begun by then and not ended: not part of the state."""
    begun_before: int = 0
    """How many that are not part of the state were sent in part before ``entry``: whoever begins to read behind it misses those."""
    silent: bool = False
    """The source sent nothing at all between the checkpoint and the point."""

    @property
    def distance_seconds(self) -> float | None:
        """From the last commit to the asked time; None for other kinds of points."""
        return (self.asked_time - self.time) / 1e6 if self.asked_time else None


class Start(msgspec.Struct, frozen=True):
    """The checkpoint that rows are taken from."""

    ref: Ref
    lsn: str
    taken: int
    cause: str
    replay_from: int
    rows: int
    size: int
    """Bytes to read."""
    key: str = ""
    """Of a folded checkpoint: its object. Empty: the entry is a copy of the source."""
    sha256: str = ""
    """Of that object, hex."""


class Range(msgspec.Struct, frozen=True):
    """Segments that the changes are read from."""

    first: int
    last: int
    count: int
    size: int
    """Bytes to read."""


class SchemaLine(msgspec.Struct, frozen=True):
    """The schema at the point."""

    ref: Ref
    lsn: str
    taken: int
    cause: str
    server_version: int
    dump_version: str
    certain: bool
    reason: str
    """Why it is this one, or why it is not certain."""
    announced: int = 0
    """Schema changes between checkpoint and point that the stream announced."""
    known_until: str = ""
    """LSN up to which it is known, where nobody announces changes and no look from behind the point tells; empty otherwise."""


class TableLine(msgspec.Struct, frozen=True):
    """One table that will exist."""

    oid: int
    schema: str
    name: str
    mode: str
    rows: int = 0
    """In the snapshot that it starts from; the state may have more or fewer."""
    size: int = 0
    copied: str = ""
    """LSN of that snapshot; empty: it has none."""
    note: str = ""


class GapLine(msgspec.Struct, frozen=True):
    """History that is not known and that the state depends on."""

    seq: int
    what: str
    reason: str
    detail: str = ""
    from_position: str = ""
    to_position: str = ""
    from_time: int = 0
    to_time: int = 0
    relation: int = 0
    """Oid of the one table that it is about; 0: of more than one, or of something else."""

    @property
    def text(self) -> str:
        """One sentence for people."""
        return f"{self.what}: {self.reason} {self.detail}".rstrip()


class RestorePlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides what a restore writes; carrying it out twice gives the same, whatever was captured in between."""

    archive: str
    source: str
    system_id: str
    """Of the server it was captured from."""
    database: str
    point: Moment
    checkpoint: Start
    segments: Range
    schema: SchemaLine
    tables: list[TableLine]
    gaps: list[GapLine] = []
    """Not empty: refused unless gaps are allowed."""
    approximations: list[str] = []
    not_included: list[str] = []
    otherwise: list[str] = []
    """What comes back otherwise than it was: computed anew, in another order."""
    extensions: list[str] = []
    installed: list[Extension] = []
    publications: list[str] = []
    roles: list[str] = []
    materialized: list[str] = []
    schemas: list[Ref] = []
    """Schema entries that decoding needs, oldest first."""
    recopies: list[Ref] = []
    """Table snapshots that replace the checkpoint's, oldest first."""
    sequences_before: Ref | None = None
    sequences_after: Ref | None = None
    captured: list[CapturedDatabase] = []
    """All that the archive was ever made from: none of them is restored into."""
    ahead: list[Ref] = []
    """Copies and readings of sequences that were written before the entry that names the point, and are of behind it."""

    @property
    def gap_texts(self) -> list[str]:
        """A sentence for each gap."""
        return [gap.text for gap in self.gaps]

    @property
    def doubts(self) -> list[str]:
        """A sentence for each gap, and for each thing that is as near as is known."""
        return [*(f"gap: {text}" for text in self.gap_texts), *(f"approximate: {text}" for text in self.approximations)]

    @property
    def limit(self) -> int:
        """Commit entries up to this number are applied."""
        return self.point.entry

    def facts(self) -> list[tuple[str, str]]:
        """For a table of names and values."""
        point, checkpoint, schema = self.point, self.checkpoint, self.schema
        distance = point.distance_seconds
        apart = "" if distance is None else f", {distance:.6f} s before the asked time"
        found = [
            ("source", f"{self.source} (database {self.database}, system {self.system_id})"),
            ("asked", point.asked),
            (
                "point",
                f"transaction that ends at {point.lsn}, entry {point.entry}, committed {clock.to_text(point.time)}{apart}"
                if point.entry
                else f"the checkpoint itself at {point.lsn}, taken {clock.to_text(point.time)}{apart}",
            ),
            ("checkpoint", f"entry {checkpoint.ref.seq} at {checkpoint.lsn}, taken {clock.to_text(checkpoint.taken)} ({checkpoint.cause})"),
            ("rows to copy", f"{checkpoint.rows} in {checkpoint.size} bytes"),
            ("changes to apply", f"{point.transactions} transactions"),
            ("segments", f"{self.segments.first} to {self.segments.last}: {self.segments.count}, {self.segments.size} bytes"),
            ("schema", f"entry {schema.ref.seq} at {schema.lsn}: {'certain' if schema.certain else 'UNCERTAIN'}, {schema.reason}"),
        ]
        if point.unfinished:
            found.append(("unfinished", f"{point.unfinished} transactions had begun and not ended: not part of the state"))
        known = {each.name: f"{each.name} {each.version} in schema {each.schema}" for each in self.installed}
        found += [("extension", known.get(name, name)) for name in self.extensions]
        found += [("publication", name) for name in self.publications]
        found += [("role", name) for name in self.roles]
        found += [("gap", gap.text) for gap in self.gaps]
        found += [("approximate", text) for text in self.approximations]
        found += [("otherwise", text) for text in self.otherwise]
        found += [("not included", text) for text in self.not_included]
        return found

    def table_rows(self) -> list[tuple[str, str, str, str, str]]:
        """For a table of tables: ``TABLE_COLUMNS``."""
        return [
            (f"{table.schema}.{table.name}", table.mode, str(table.rows), table.copied or "-", table.note or "-") for table in self.tables
        ]


TABLE_COLUMNS = ("table", "captured by", "rows at checkpoint", "copied at", "note")


class RestoredTable(msgspec.Struct, frozen=True):
    """One table as it was written."""

    schema: str
    name: str
    rows: int
    changes: int = 0
    """Row changes that were folded in."""
    size: int = 0
    """Bytes of COPY text."""


class LeftOutItem(msgspec.Struct, frozen=True):
    """One thing of the plan that the target has not, or not as it was at the source."""

    name: str
    reason: str
    sql: str = ""
    """Makes it by hand, once the reason is gone; empty for rows, which stand in the file alone."""
    rows: int = 0
    """How many rows were set aside."""

    def __str__(self) -> str:
        rows = f"{self.rows} rows of " if self.rows else ""
        return f"{rows}{self.name}: {self.reason}"


class RestoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore wrote. Times in seconds."""

    source: str
    point: Moment
    target: str
    """Without password."""
    tables: list[RestoredTable]
    rows: int
    sequences: int = 0
    materialized: int = 0
    dropped: list[str] = []
    """What stood in the way and was dropped, as allowed."""
    constraints_not_valid: list[str] = []
    """As at the source: NOT VALID."""
    seconds: float = 0.0
    steps: dict[str, float] = {}
    """Seconds by step: read, schema, rows, indexes, …"""
    notes: list[str] = []
    """What could not be known for certain."""
    not_included: list[str] = []
    """As in the plan: what a restore leaves out or makes anew."""
    files: list[str] = []
    """Restore into a folder: what it holds."""
    left_out: list[LeftOutItem] = []
    """What is missing or weaker than it was; empty for a whole restore, and always where it was asked to be strict."""
    left_out_file: str = ""
    """The same as SQL, with the rows that were set aside; empty when nothing was left out."""

    @property
    def problems(self) -> list[str]:
        """What was left out."""
        return [str(each) for each in self.left_out]
