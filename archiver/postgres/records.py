"""JSON bodies about a PostgreSQL source. Capture writes them, replay reads them; the pgoutput frames stay as they came.

LSNs are text in the server's own form (``16/B374D848``). ``visible`` is the text of ``pg_current_snapshot()``
(``xmin:xmax:xip,…``; manual 9.27.8): around a snapshot's LSN a transaction is inside it or not by its xid alone, which places a
snapshot taken while streaming exactly between transactions.

Evolution: as in ``records``.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from archiver.journal.parts import Part

SCHEMA_UNCERTAIN = "schema_uncertain"
"""Reason of a gap of the schema alone."""
UPDATES_NOT_PUBLISHED = "updates_not_published"
"""Reason of the gap of a table without a key, whose rows may have been updated or deleted."""

Mode = Literal["key", "full", "insert", "excluded"]
"""How a table is captured: by key; by the whole old row (REPLICA IDENTITY FULL); inserts and truncates only; not at all."""

NOT_COUNTED = -1
"""Stands for a number of updates and deletes that is not known."""


class Slot(msgspec.Struct, frozen=True):
    """What this archive did or is about to do with its replication slot."""

    action: Literal["creating", "created", "dropped"]
    name: str
    system_id: str
    timeline: int
    database: str
    consistent_point: str = ""
    """LSN from which the slot delivers; known once created."""


class Stream(msgspec.Struct, frozen=True):
    """Replication started. Transactions that were unfinished before it are void: the server sends them again, whole."""

    slot: str
    system_id: str
    timeline: int
    database: str
    server_version: int
    start: str
    """LSN asked for: every transaction whose commit record starts at or after it follows."""
    protocol: int
    streaming: bool
    publications: list[str]
    settings: dict[str, str]
    """Output settings pinned on the connection (DateStyle, TimeZone, …)."""


class TableRows(msgspec.Struct, frozen=True):
    """All rows of one table under one snapshot."""

    oid: int
    schema: str
    name: str
    mode: Mode
    columns: list[str]
    """In COPY order; generated and dropped columns are left out."""
    attnums: list[int]
    """Of ``columns``; what survives a rename."""
    parts: list[Part]


class SequenceValue(msgspec.Struct, frozen=True):
    """One sequence as ``pg_sequences`` and ``pg_class`` show it."""

    oid: int
    schema: str
    name: str
    last_value: int | None
    """None: nothing was handed out since it was made, restarted or set."""
    increment: int = 1
    owner_oid: int = 0
    """Table that owns it (serial or identity column); 0 for none."""
    owner_attnum: int = 0
    next_value: int | None = None
    """What it gives next when ``last_value`` is None (RESTART WITH, ``setval`` with false); None: its start value, or not known."""


class Snapshot(msgspec.Struct, frozen=True):
    """Rows of tables under one snapshot: all captured tables (kind CHECKPOINT) or some (kind PG_TABLES).

    For a CHECKPOINT, replay starts at entry ``replay_from`` and applies every transaction whose commit record starts at or after
    ``lsn``. For PG_TABLES, rows of its tables known before are dropped, and a transaction is applied to them if it commits at or
    after ``lsn``, and not if it commits before ``floor``. In between its xid decides (applied only if it is not in ``visible``), wherever
    it stands: a commit can be streamed before it is visible (it may still wait for a synchronous standby). ``lsn`` is an upper bound:
    every transaction in ``visible`` commits before it, so the snapshot serves points at or after ``lsn``.
    """

    lsn: str
    visible: str
    taken: int
    """Server time, microseconds."""
    replay_from: int
    tables: list[TableRows]
    cause: str = "baseline"
    """baseline, table_added, table_rewritten, updates_not_published."""
    floor: str = ""
    """As in ``Schema``: xids wrap, so they say nothing of what committed long before the snapshot."""


class Column(msgspec.Struct, frozen=True):
    """One column of ``pg_attribute``."""

    attnum: int
    name: str
    type: str
    """``format_type(atttypid, atttypmod)``."""
    type_oid: int
    not_null: bool = False
    generated: str = ""
    """``s`` stored, ``v`` virtual, empty for neither: generated columns carry no data in COPY or in frames."""
    identity: str = ""
    missing: str | None = None
    """``attmissingval``: the value of rows older than ``ADD COLUMN … DEFAULT constant``, as text."""


class RedactedColumn(msgspec.Struct, frozen=True):
    """A column whose values are kept out of the journal."""

    attnum: int
    line: str
    """Of the settings, which hides it for as long as it stands there, whatever the column is called."""


class Table(msgspec.Struct, frozen=True):
    """One relation that can hold rows, as the catalog showed it."""

    oid: int
    schema: str
    name: str
    kind: str
    """``pg_class.relkind``: r table, p partitioned (holds no rows itself)."""
    persistence: str
    """p permanent, u unlogged."""
    identity: str
    """``relreplident``: d, n, f, i."""
    filenode: int
    """``relfilenode``: changes when the table is rewritten (and on TRUNCATE, CLUSTER, VACUUM FULL)."""
    mode: Mode
    columns: list[Column]
    key: list[int]
    """attnums that identify a row in UPDATE and DELETE; empty for FULL and for insert-only tables."""
    parent: int = 0
    """Partitioned table or inheritance parent; 0 for none."""
    version: str = ""
    """Changes whenever a column's definition was touched, even if it reads the same afterwards (``ALTER … TYPE same USING``)."""
    types: list[int] = []
    """Enum and composite types that the columns hold, directly or nested: when one changes, the text of old rows does."""
    copied_writes: int = NOT_COUNTED
    """Insert-only tables: updates and deletes that the server had counted when rows were last copied."""
    known_until: str = ""
    """Insert-only tables: LSN up to which rows are known although updates are not published; empty for not known."""
    natts: int = 0
    """``relnatts``: the highest attnum ever given, dropped columns included; 0 for not known."""
    member: str = ""
    """Another one after it left our publications and came back; empty for not known."""
    naming: list[int] = []
    """attnums of columns whose values show other objects by the name of the moment: reg… and aclitem, directly or nested. An older archiver
    wrote none."""
    redacted: list[RedactedColumn] = []
    """Columns whose values are neither copied nor published: rows in the journal do not have them, as they have no generated ones."""
    listed: bool = False
    """Published by a list of columns: one that was added since is not sent until the list has it."""

    @property
    def hidden(self) -> frozenset[int]:
        """Attnums of ``redacted``."""
        return frozenset(each.attnum for each in self.redacted)

    @property
    def carried(self) -> list[Column]:
        """The columns that copies and the stream have: neither generated nor redacted."""
        hidden = self.hidden
        return [column for column in self.columns if not column.generated and column.attnum not in hidden]


def redacted_text(table: Table) -> str:
    """Which columns of ``table`` are redacted, in words; empty: none is."""
    names = [column.name for column in table.columns if column.attnum in table.hidden]
    return f"{', '.join(names)} redacted: values are kept out of the archive" if names else ""


class TypeShape(msgspec.Struct, frozen=True):
    """What decides how values of an enum or composite type are written."""

    oid: int
    labels: dict[str, str] = {}
    """Enum: oid of ``pg_enum`` to label."""
    attributes: list[list[int]] = []
    """Composite: attnum and type oid of each attribute."""


class Extension(msgspec.Struct, frozen=True):
    """One extension as it was installed."""

    name: str
    version: str
    schema: str


class UserPublication(msgspec.Struct, frozen=True):
    """One publication that is not the archiver's: pg_dump is told to leave publications out."""

    name: str
    owner: str
    sql: str
    """The statements that make it and its comment, names quoted; the last without its semicolon."""


class Outside(msgspec.Struct, frozen=True):
    """An object of a schema that is not captured, which captured ones need."""

    schema: str
    name: str
    """Kind and identity: ``type shared.mood``."""


class Catalog(msgspec.Struct, frozen=True):
    """What replay needs from the catalog beside the dump."""

    tables: list[Table]
    roles: list[str] = []
    """Owners and grantees that the dump names."""
    materialized: list[str] = []
    """Quoted names of materialized views that were populated, in dependency order: refreshed at the end of a restore."""
    computed: list[str] = []
    """Stored generated columns, ``schema.table.column``, whose expressions somebody can change without writing to a row: by another
    function, operator or text search configuration of the same name."""
    extensions: list[str] = []
    types: list[TypeShape] = []
    installed: list[Extension] = []
    """``extensions`` with version and schema; empty for not known."""
    publications: list[UserPublication] | None = None
    """None for not known. Where only some schemas are captured: those that have nothing of others."""
    outside: list[Outside] = []
    """Where only some schemas are captured: what they need of others, extensions and their members aside."""
    pending: list[int] = []
    """Captured tables (oids) whose rows, as of this entry, the journal does not have: a CHECKPOINT lacks them, and a PG_TABLES
    entry that brings them follows."""


class Sealing(msgspec.Struct, frozen=True):
    """Announcements of schema changes were sealed by the same keys at every look up to this one, and their seals were judged."""

    since: str
    """LSN: by transactions that began at or behind it. A trigger can be off for a while between two looks."""
    keys: str
    """Names the keys, which it does not tell."""


class Schema(msgspec.Struct, frozen=True):
    """The schema under one snapshot; the entry's second body is the dump itself."""

    lsn: str
    visible: str
    taken: int
    cause: str
    """baseline, ddl, poll, start."""
    server_version: int
    dump_version: str
    """First line of ``pg_dump --version``."""
    catalog: Catalog
    floor: str = ""
    """LSN: every transaction that ``visible`` does not see commits at or after it. Empty for not known."""
    fingerprint: str = ""
    """Of the catalogs that a dump depends on, as ``capture`` computes it; equal only if nothing changed."""
    since: str = ""
    """LSN: what differs from the entry before was changed by transactions that commit at or after it. Empty for not known."""
    sealing: Sealing | None = None
    """``None``: not in force, or not known."""


class Look(msgspec.Struct, frozen=True):
    """The catalog was looked at, and said what the newest Schema of the source says. One is journaled every now and then."""

    floor: str
    """LSN: what committed before it is in that Schema. Empty: not known."""
    taken: int
    """Server time, microseconds: so is what committed before it; 0 for not known."""
    counted: str = ""
    """LSN: by the server's counts no row of an insert-only table was updated or deleted between its last copy and there, but for tables
    that have a gap. Empty: not known, or there is no such table."""
    counted_at: int = 0
    """Server time, microseconds: so it is of what committed before it."""
    end: str = ""
    """LSN: the look saw nothing that committed at or behind it. Empty: not known."""
    visible: str = ""
    """The snapshot of the look, as in ``Schema``: ``floor`` stands still as long as any transaction that may write is open. Empty: not
    known."""


class Announced(msgspec.Struct, frozen=True):
    """A transaction announced changes of the schema, and nobody but our event trigger can have sent these messages of it.

    Journaled before the frames that end it. What else a transaction announces may be anybody's.
    """

    xid: int
    """The low 32 bits, of the whole transaction."""
    lsn: str
    """LSN: where its commit record starts."""
    time: int
    """Of its commit, microseconds."""
    messages: list[str]
    """LSNs of the messages, as they say themselves."""
    tags: list[str] = []
    """Commands that it ran, each once, the first few: ``ALTER TABLE``."""


class Sequences(msgspec.Struct, frozen=True):
    """Sequence values read together. They are not replicated, so they are known only at these moments."""

    lsn: str
    taken: int
    values: list[SequenceValue]
