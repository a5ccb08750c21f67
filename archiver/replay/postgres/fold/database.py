"""Journal runs of one database -> rows of its tables at a point, as COPY text.

    fold = DatabaseFold(schemas, limit=Limit(lsn=...))
    fold.checkpoint(snapshot)                 # the plan's CHECKPOINT
    fold.recopied(tables_snapshot)            # every PG_TABLES entry that the plan uses, oldest first
    async for placed in reader.read(...):     # in journal order, from the PG_STREAM entry at or before replay_from on;
                                              # other sources' runs left out
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

import itertools
from collections.abc import Collection, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from archiver.errors import Bug, Corrupt
from archiver.journal.entry import Placed
from archiver.postgres.announcements import PREFIX
from archiver.postgres.checkpoint_records import KnownRelation
from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import Schema, Snapshot
from archiver.postgres.visibility import Committed, Visible
from archiver.replay.postgres.columnar.values import big_endian, gather
from archiver.replay.postgres.decode.commits import Commit, Limit
from archiver.replay.postgres.decode.pgoutput import Message, Relation, Truncate, decode
from archiver.replay.postgres.decode.relations import Catalogs, Layout
from archiver.replay.postgres.decode.spill import Spill
from archiver.replay.postgres.decode.transactions import Chunk, TransactionReader
from archiver.replay.postgres.fold.row_messages import Changes
from archiver.replay.postgres.fold.table import Sizes, TableOutput, TableState

__all__ = ["DatabaseFold", "Limit", "Sizes", "Summary", "TableOutput", "TableState"]

I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_OMITTED = Layout(width=0, attnums=(), positions=(), mode="insert")
"""Of a relation that no schema entry knows: its rows are left out."""

_ROW = np.zeros(256, np.bool_)
_ROW[list(b"IUD")] = True


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
    """Folds the changes of one database up to a limit.

    With ``spill`` memory is bounded, whatever was changed (``docs/design/0005-postgres-fold.md``); without, by distinct rows touched.
    """

    def __init__(
        self,
        schemas: Sequence[Schema],
        *,
        limit: Limit | None = None,
        strict: bool = True,
        sizes: Sizes | None = None,
        spill: Spill | None = None,
        only: Collection[int] | None = None,
    ) -> None:
        """``schemas``: all PG_SCHEMA entries of the plan's range, oldest first, and the first one after the point if there is one.

        ``strict``: an output whose changes contradict its baseline (an update of a row that is not there, an insert of one that is)
        ends in ``Corrupt`` instead of a count. Switch it off only to cross a gap.

        ``only``: changes of other tables (oids) are passed over, and nobody may ask for those.
        """
        self._only = None if only is None else np.array(sorted(only), np.int64)
        self._sizes, self._spill = sizes or Sizes(), spill
        self._limit, self._strict = limit or Limit(), strict
        self._catalogs = Catalogs(schemas)
        self._reader: TransactionReader | None = None
        self._from_lsn = 0
        self._tables: dict[int, TableState] = {}
        self._relations: dict[int, tuple[int, Layout | None]] = {}
        self._streamed: dict[int, tuple[int, Layout | None]] = {}
        self._pending = 0
        self._notes: dict[str, None] = {}
        self._finished = False

    def checkpoint(self, snapshot: Snapshot) -> None:
        """Start from ``snapshot``: transactions whose commit record starts at or after its ``lsn`` apply. Before the first ``feed``."""
        self._from_lsn = parse_lsn(snapshot.lsn)
        for rows in snapshot.tables:
            self.table(rows.oid).start_from(rows, None)

    def describe(self, relations: Sequence[KnownRelation]) -> None:
        """Relations that were described before the first run that will be fed: a folded checkpoint has them. Before the first ``feed``."""
        for each in relations:
            layout = Layout(each.width, each.attnums, each.positions, each.mode, each.key, each.key_positions)
            self._relations[each.oid] = (each.entry, _OMITTED if layout == _OMITTED else layout)

    def described(self) -> list[KnownRelation]:
        """What a fold that goes on from here must know. Once finished, with nothing unfinished.

        ``Corrupt`` when rows of a relation cannot be read as it was described last.
        """
        found = []
        for oid, (seq, layout) in sorted(self._relations.items()):
            if layout is None:
                continue
            if layout.unreadable is not None:
                raise layout.unreadable
            found.append(
                KnownRelation(oid, seq, layout.width, layout.attnums, layout.positions, layout.mode, layout.key, layout.key_positions)
            )
        return found

    def recopied(self, snapshot: Snapshot) -> None:
        """Rows of some tables that were copied again (PG_TABLES): they replace what was known of these tables before.

        Whatever their place in the journal, transactions apply to these tables exactly if the snapshot does not see them.
        Call before the first ``feed``, oldest first, only for snapshots that see nothing after the point.
        """
        visible = Visible.of(snapshot)
        for rows in snapshot.tables:
            self.table(rows.oid).start_from(rows, visible)

    def feed(self, placed: Placed) -> bool:
        """Take the next run of this database; kinds that say nothing about rows are ignored. False: the limit is reached.

        Raises ``Corrupt`` for frames that break the protocol and for changes of a relation that was never described. Where schema entries
        leave open which column a value belongs to, the *table's* output raises: rows that nobody asks for, or that a later copy has,
        are no reason to restore nothing.
        """
        if self._finished:
            raise Bug("a finished fold was fed")
        reader = self._opened()
        for chunk in reader.feed(placed):
            self._apply(chunk)
        return not reader.done

    def finish(self) -> Summary:
        """Fold what is still buffered. Unfinished transactions are dropped. ``feed`` may not be called afterwards."""
        reader = self._opened()
        for chunk in reader.flush():
            self._apply(chunk)
        self._fold_pending()
        self._finished = True
        changes = {oid: state.changes for oid, state in self._tables.items() if state.changes}
        return Summary(reader.applied, reader.last, changes, reader.unfinished, list(self._notes))

    def table(self, oid: int) -> TableState:
        """The state of one table; one that no snapshot and no frame names is empty."""
        if oid not in self._tables:
            self._tables[oid] = TableState(oid, self._catalogs.missing(oid), strict=self._strict, sizes=self._sizes)
        return self._tables[oid]

    def _opened(self) -> TransactionReader:
        if self._reader is None:
            self._reader = TransactionReader(
                limit=self._limit,
                from_lsn=self._from_lsn,
                batch_bytes=self._sizes.batch_bytes,
                staged_bytes=self._sizes.staged_bytes,
                spill=self._spill,
            )
        return self._reader

    def _apply(self, chunk: Chunk) -> None:
        """Sort a chunk's messages by table; relations and truncations cut a table's changes apart."""
        body = 5 if chunk.streamed else 1
        cuts, emptied = self._control(chunk)
        rows = np.flatnonzero(_ROW[chunk.types])
        oids = big_endian(chunk.data, chunk.starts[rows] + body, 4).astype(np.int64)
        if self._only is not None:
            chosen = np.isin(oids, self._only)
            rows, oids = rows[chosen], oids[chosen]
        if len(oids) and (oids != oids[0]).any():
            order = np.argsort(oids, kind="stable")
            rows, oids = rows[order], oids[order]
        rows, oids = self._wanted(chunk, rows, oids, emptied)
        bounds = np.append(np.flatnonzero(np.diff(oids, prepend=-1)), len(oids)).tolist()
        data, offsets = gather(chunk.data, chunk.starts + body + 4, chunk.ends, rows)
        types = chunk.types[rows]
        for begin, end in itertools.pairwise(bounds):
            oid = int(oids[begin])
            layouts = cuts.get(oid) or [(-1, self._described(oid))]
            places = [begin + int(np.searchsorted(rows[begin:end], position)) for position, _ in layouts] + [end]
            for (_, layout), (first, last) in zip(layouts, itertools.pairwise(places), strict=True):
                if first == last or layout is _OMITTED:
                    continue
                if layout is not None and layout.unreadable is not None:
                    self.table(oid).spoil(layout.unreadable)
                    continue
                if layout is None:
                    raise Corrupt(f"rows of relation {oid} come before its description", hint="replay starts after its PG_STREAM entry")
                text = data[offsets[first] : offsets[last]]
                # A view would keep the whole chunk alive for the sake of a few rows.
                text = text if 2 * len(text) > len(data) else text.copy()
                self._pending += self.table(oid).add(Changes(types[first:last], text, offsets[first : last + 1] - offsets[first]), layout)
        if self._pending > self._sizes.pending_bytes:
            self._fold_pending()
        self._put_aside()
        if chunk.streamed and chunk.complete:
            for oid, (seq, layout) in self._streamed.items():
                # Later transactions rely on the description that came last, whatever was committed first.
                if oid not in self._relations or self._relations[oid][0] < seq:
                    self._relations[oid] = (seq, layout)
            self._streamed.clear()

    def _put_aside(self) -> None:
        if self._spill is None or sum(table.held for table in self._tables.values()) <= self._sizes.held_bytes:
            return
        for table in sorted(self._tables.values(), key=lambda table: -table.held):
            # Many changes of few rows need no room once they are one.
            table.compact()
            if table.held > self._sizes.held_bytes // 4:
                table.put_aside(self._spill)
            if 2 * sum(each.held for each in self._tables.values()) <= self._sizes.held_bytes:
                break
        else:
            for table in self._tables.values():
                table.put_aside(self._spill)

    def _wanted(self, chunk: Chunk, rows: I64, oids: I64, emptied: dict[int, int]) -> tuple[I64, I64]:
        """Without changes that a table's snapshot has already, and without those that a TRUNCATE made void."""
        special = [oid for oid, state in self._tables.items() if oid in emptied or state.visible is not None]
        wanted = np.ones(len(rows), np.bool_)
        for oid in special:
            begin, end = np.searchsorted(oids, [oid, oid + 1])
            state, mine = self.table(oid), rows[begin:end]
            if oid in emptied:
                self._pending -= state.empty()
                wanted[begin:end] &= mine > emptied[oid]
            if state.visible is not None and len(mine):
                seen = state.visible.sees_all(chunk.transactions.xid, chunk.transactions.commit_lsn)
                wanted[begin:end] &= ~seen[chunk.txn[mine]]
        return (rows, oids) if wanted.all() else (rows[wanted], oids[wanted])

    def _control(self, chunk: Chunk) -> tuple[dict[int, list[tuple[int, Layout | None]]], dict[int, int]]:
        """By oid: the layouts in this chunk with the message from which each holds, and the last TRUNCATE."""
        cuts: dict[int, list[tuple[int, Layout | None]]] = {}
        emptied: dict[int, int] = {}
        for at in np.flatnonzero(~_ROW[chunk.types]).tolist():
            message = decode(chunk.data[chunk.starts[at] : chunk.ends[at]].tobytes(), streamed=chunk.streamed)
            transaction = chunk.txn[at]
            within = Committed(int(chunk.transactions.xid[transaction]), int(chunk.transactions.commit_lsn[transaction]))
            if isinstance(message, Relation):
                layout = self._layout(message, within)
                cuts.setdefault(message.oid, [(-1, self._described(message.oid))]).append((at, layout or _OMITTED))
                known = self._streamed if chunk.streamed else self._relations
                known[message.oid] = (int(chunk.seqs[at]), layout or _OMITTED)
            elif isinstance(message, Truncate):
                for oid in message.oids:
                    visible = self.table(oid).visible
                    if visible is None or not visible.sees(*within):
                        emptied[oid] = at
            elif isinstance(message, Message) and message.prefix == PREFIX:
                self._catalogs.ddl(within, message.content)
        return cuts, emptied

    def _layout(self, relation: Relation, within: Committed) -> Layout | None:
        try:
            layout, notes = self._catalogs.layout(relation, within)
        except Corrupt as error:
            return Layout(width=0, attnums=(), positions=(), mode="insert", unreadable=error)
        self._notes.update(dict.fromkeys(notes))
        return layout

    def _described(self, oid: int) -> Layout | None:
        known = self._streamed.get(oid) or self._relations.get(oid)
        return known[1] if known else None

    def _fold_pending(self) -> None:
        for state in self._tables.values():
            self._pending -= state.fold_pending()
