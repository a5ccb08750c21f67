"""Journal runs of one database -> rows of its tables at a point, as COPY text.

    fold = DatabaseFold(schemas, limit=Limit(lsn=...))
    fold.checkpoint(snapshot)                 # the plan's CHECKPOINT
    fold.recopied(tables_snapshot)            # every PG_TABLES entry that the plan uses, oldest first
    async for placed in reader.read(...):     # runs from replay_from on, in journal order; other sources' runs left out
        if not await to_thread(fold.feed, placed):
            break                             # the point is reached
    await to_thread(fold.finish)
    for table in target_tables:
        state = fold.table(table.oid)
        output = state.output([column.attnum for column in table.columns if not column.generated])
        for part in state.base.parts if state.base else ():
            for text in output.part(decompressed_copy_text): ...   # each is COPY text, whole rows
        for text in output.rest(): ...

Pure: no I/O, no clock, no logging. Not safe for concurrent calls on one object, except that outputs of *different* tables may run in
different threads once ``finish`` returned; most of the work is done without the GIL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from archiver.journal.entry import Placed
from archiver.journal.postgres_records import Schema, Snapshot, TableRows
from archiver.replay.postgres.transactions import Commit, Limit


class Summary(msgspec.Struct, frozen=True):
    """What was folded."""

    transactions: int
    """Transactions applied (to at least no table: empty ones count too)."""
    last: Commit | None
    """The newest of them; None when there was none after the checkpoint."""
    changes: dict[int, int]
    """Row changes applied, by table oid."""
    unfinished: int
    """Transactions that had begun and not ended at the point: they are not part of the state."""
    notes: list[str]
    """What could not be known for certain, in words for the user: columns that no schema entry names."""


class DatabaseFold:
    """Folds the changes of one database up to a limit. Memory is bounded by distinct rows touched since the checkpoint."""

    def __init__(self, schemas: Sequence[Schema], *, limit: Limit | None = None, strict: bool = True) -> None:
        """``schemas``: all PG_SCHEMA entries of the plan's range, oldest first, and the first one after the point if there is one.

        ``strict``: an output whose changes contradict its baseline (an update of a row that is not there, an insert of one that is)
        ends in ``Corrupt`` instead of a count. Switch it off only to cross a gap.
        """
        raise NotImplementedError

    def checkpoint(self, snapshot: Snapshot) -> None:
        """Start from ``snapshot``: transactions whose commit record starts at or after its ``lsn`` apply. Before the first ``feed``."""
        raise NotImplementedError

    def recopied(self, snapshot: Snapshot) -> None:
        """Rows of some tables that were copied again (PG_TABLES): they replace what was known of these tables before.

        Whatever their place in the journal, transactions apply to these tables exactly if their xid is not in ``snapshot.visible``.
        Call before the first ``feed``, oldest first, only for snapshots that see nothing after the point.
        """
        raise NotImplementedError

    def feed(self, placed: Placed) -> bool:
        """Take the next run of this database; kinds that say nothing about rows are ignored. False: the limit is reached.

        Raises ``Corrupt`` for frames that break the protocol, for relations that no schema entry knows, and where
        schema entries leave open which column a value belongs to.
        """
        raise NotImplementedError

    def finish(self) -> Summary:
        """Fold what is still buffered. Unfinished transactions are dropped. ``feed`` may not be called afterwards."""
        raise NotImplementedError

    def table(self, oid: int) -> TableState:
        """The state of one table; one that no snapshot and no frame names is empty."""
        raise NotImplementedError


class TableState:
    """What the journal says about one table at the point."""

    oid: int
    base: TableRows | None
    """The snapshot rows that ``output`` needs; None when there are none or a TRUNCATE made them void."""
    changes: int
    """Row changes applied."""

    def output(self, columns: Sequence[int]) -> TableOutput:
        """The rows with these attnums, in this order. Columns that old rows lack get their stored default or NULL."""
        raise NotImplementedError


class TableOutput:
    """Writes the rows of one table: first every part of ``base``, each once and in any order, then the rest."""

    rows: int
    """Rows yielded so far; final after ``rest``."""
    contradictions: int
    """Changes that contradict the baseline; final after ``rest``. Stays 0 when ``strict``."""

    def part(self, text: bytes | memoryview) -> Iterator[memoryview]:
        """Rows that survive from one part (its COPY text, decompressed), as COPY text in pieces of some MiB, whole rows each."""
        raise NotImplementedError

    def rest(self) -> Iterator[memoryview]:
        """Rows that changed since the baseline. Then checks that every change found its row: ``Corrupt`` if not and ``strict``."""
        raise NotImplementedError
