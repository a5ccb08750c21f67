"""Runs of one database in journal order -> records of its history, column-wise. Pure.

Rows of committed transactions, what empties a table, and the entries that say what rows do not: schemas, copies, gaps. The rows of copies
are the caller's to add (``copied_rows``): they stand in objects of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archiver.errors import Corrupt
from archiver.journal.entry import Kind, Placed
from archiver.journal.record_reader import read_record
from archiver.journal.records import Gap
from archiver.journal.remedies import HISTORY_ANEW
from archiver.lake.columns import CONTROL, SCHEMA, mark_position
from archiver.lake.progress import Identity, KnownMessage, KnownTable, Progress
from archiver.lake.row_records import RowRecords, relation_rows
from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import Snapshot
from archiver.postgres.schema_bodies import read_schema
from archiver.replay.postgres.columnar.values import big_endian
from archiver.replay.postgres.decode.pgoutput import Relation, Truncate, decode
from archiver.replay.postgres.decode.spill import Spill
from archiver.replay.postgres.decode.transactions import Chunk, TransactionReader
from archiver.replay.postgres.plan.journal_survey import is_whole

_FRAMES = frozenset((Kind.PG_FRAMES, Kind.PG_STREAM))
_BATCH_BYTES = 4 << 20
_AT_ONCE = 16384
"""Rows that are taken apart at once: each is several Python objects for a moment."""
_ROWS = np.zeros(256, np.bool_)
_ROWS[list(b"IUD")] = True


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy whose rows are to be added."""

    entry: int
    segment: int
    era: int
    as_of: int
    snapshot: Snapshot


class DatabaseChanges:
    """Takes runs from ``progress.resume_entry`` on; what stands at or before ``progress.covered`` is only read for what ends behind it."""

    def __init__(self, progress: Progress, *, spill: Spill | None = None) -> None:
        """``spill``: where frames of transactions go that have not ended; without it they stay in memory."""
        self.copies: list[Copy] = []
        """Copies that were met; whoever adds their rows empties it."""
        self.tables = {table.oid: table for table in progress.tables}
        self._progress = progress
        self._source = progress.source
        self._era = progress.era
        self._relations = {each.oid: (each.entry, _relation(each.message), each.message) for each in progress.relations}
        self._streamed: dict[int, tuple[int, Relation, bytes]] = {}
        self._identities: dict[int, list[list[str] | None]] = {each.oid: list(each.keys) for each in progress.identities}
        self._spill = spill
        self._reader = TransactionReader(
            from_lsn=progress.from_lsn, reached=progress.reached, newest=progress.newest, batch_bytes=_BATCH_BYTES, spill=spill
        )

    def feed(self, placed: Placed) -> Iterator[pa.Table]:
        """Take the next run of the source; records that are complete, all of which must be taken. Raises ``Corrupt``."""
        placed = placed.since(self._progress.resume_entry)
        if placed.run.kind in _FRAMES:
            for chunk in self._reader.feed(placed):
                yield from self._chunk(chunk)
        elif placed.first > self._progress.covered:
            yield from self._entries(placed)

    def flush(self) -> Iterator[pa.Table]:
        """What is left of complete transactions, as ``feed``."""
        for chunk in self._reader.flush():
            yield from self._chunk(chunk)

    def progress(self, covered: int) -> Progress:
        """Where to go on, once all up to entry ``covered`` was fed and flushed. Its segments and chain are the caller's."""
        since = self._reader.unfinished_since
        return Progress(
            archive=self._progress.archive,
            source=self._source,
            covered=covered,
            segment=-1,
            chain="",
            resume_entry=covered + 1 if since is None else since,
            resume_segment=-1,
            era=self._era,
            from_lsn=0 if self._era else self._progress.from_lsn,
            reached=self._reader.reached,
            newest=self._reader.newest,
            baseline=self._progress.baseline,
            relations=[KnownMessage(oid, entry, message) for oid, (entry, _, message) in sorted(self._relations.items())],
            tables=[self.tables[oid] for oid in sorted(self.tables)],
            identities=[Identity(oid, keys) for oid, keys in sorted(self._identities.items())],
        )

    def identify(self, oid: int, key: list[str] | None) -> None:
        """Rows of a relation were recorded under these columns; ``None``: under all of them."""
        known = self._identities.setdefault(oid, [])
        if key not in known:
            known.append(key)

    # Rows.

    def _chunk(self, chunk: Chunk) -> Iterator[pa.Table]:
        if len(chunk.types):
            yield from self._rows(chunk)
        if chunk.streamed and chunk.complete:
            for oid, known in self._streamed.items():
                if oid not in self._relations or self._relations[oid][0] < known[0]:
                    self._relations[oid] = known
            self._streamed = {}

    def _rows(self, chunk: Chunk) -> Iterator[pa.Table]:
        body = 5 if chunk.streamed else 1
        is_row = np.flatnonzero(_ROWS[chunk.types])
        oids = _numbers(chunk.data, chunk.starts[is_row] + body)
        records = RowRecords(self._source, self._era, chunk)
        versions: dict[int, list[tuple[int, Relation]]] = {}
        for oid in np.unique(oids).tolist():
            if (before := self._streamed.get(oid) or self._relations.get(oid)) is not None:
                versions[oid] = [(-1, before[1])]
        for at in np.flatnonzero((chunk.types == ord("R")) | (chunk.types == ord("T"))).tolist():
            text = chunk.data[chunk.starts[at] : chunk.ends[at]].tobytes()
            message = decode(text, streamed=chunk.streamed)
            if isinstance(message, Relation):
                plain = text[:1] + text[5:] if chunk.streamed else text
                known = self._streamed if chunk.streamed else self._relations
                known[message.oid] = (int(chunk.seqs[at]), message, plain)
                versions.setdefault(message.oid, []).append((at, message))
            elif isinstance(message, Truncate):
                for oid in message.oids:
                    yield records.truncate(oid, self._name(oid), at)
        for oid in np.unique(oids).tolist():
            rows = is_row[oids == oid]
            if oid not in versions or rows[0] < versions[oid][0][0]:
                raise Corrupt(f"rows of relation {oid} come before its description")
            marks = [at for at, _ in versions[oid]]
            places = [*np.searchsorted(rows, marks).tolist(), len(rows)]
            for number, (_, relation) in enumerate(versions[oid]):
                if len(between := rows[places[number] : places[number + 1]]):
                    keyed = relation.identity != "f" and (oid not in self.tables or self.tables[oid].mode == "key")
                    key = [each.name for each in relation.columns if each.key] if keyed else []
                    self.identify(oid, key or None)
                    for at in range(0, len(between), _AT_ONCE):
                        part = between[at : at + _AT_ONCE]
                        yield records.rows(relation_rows(chunk, part, relation), relation, part, key)

    def _name(self, oid: int) -> str:
        if oid in self._relations:
            relation = self._relations[oid][1]
            return f"{relation.schema}.{relation.name}"
        return f"{self.tables[oid].schema}.{self.tables[oid].name}" if oid in self.tables else ""

    # Other entries.

    def _entries(self, placed: Placed) -> Iterator[pa.Table]:
        run = placed.run
        if run.kind is Kind.PG_SCHEMA:
            yield from self.flush()
            schema, _ = read_schema(placed)
            yield self._control(placed, placed.first, next(run.bodies()), schema.lsn, schema.taken)
            now = {
                each.oid: KnownTable(each.oid, each.schema, each.name, each.mode, each.key)
                for each in schema.catalog.tables
                if each.kind != "p"
            }
            yield from self._tables_changed(placed, now, parse_lsn(schema.lsn), schema.taken)
            self.tables = now
        elif run.kind in (Kind.PG_TABLES, Kind.CHECKPOINT):
            yield from self.flush()
            for entry, body in enumerate(run.bodies(), placed.first):
                snapshot = read_record(body, Snapshot, placed)
                yield self._control(placed, entry, body, snapshot.lsn, snapshot.taken)
                as_of = max(self._reader.newest, snapshot.taken)
                self.copies.append(Copy(entry, placed.segment, self._era, as_of, snapshot))
        elif run.kind is Kind.GAP:
            for entry, body in enumerate(run.bodies(), placed.first):
                gap = read_record(body, Gap, placed)
                yield from self.flush()
                yield self._control(placed, entry, body, "", gap.from_time)
                if is_whole(gap) and entry > self._progress.baseline:
                    newest = self._reader.newest
                    self._era += 1
                    self._reader = TransactionReader(newest=newest, batch_bytes=_BATCH_BYTES, spill=self._spill)

    def _tables_changed(self, placed: Placed, now: dict[int, KnownTable], lsn: int, taken: int) -> Iterator[pa.Table]:
        for oid in sorted({*self.tables, *now}):
            before, after = self.tables.get(oid), now.get(oid)
            names = [f"{each.schema}.{each.name}" if each else "" for each in (before, after)]
            if names[0] != names[1]:
                operation = "drop" if after is None else "create" if before is None else "rename"
                yield self.mark(names[1] or names[0], oid, operation, placed.first, placed.segment, (self._era, lsn), taken)

    def mark(
        self, name: str, oid: int, operation: str, entry: int, segment: int, place: tuple[int, int], taken: int, **more: Any
    ) -> pa.Table:
        """One record of a whole relation, or of none. ``place``: era and LSN."""
        era, lsn = place
        record = {
            "source": self._source, "name": name, "relation": oid, "key": "", "position": mark_position(era, lsn, entry),
            "as_of": max(self._reader.newest, taken), "committed": taken, "operation": operation, "weight": 0, "xid": 0,
            "commit_lsn": lsn, "end_lsn": lsn, "commit_entry": entry, "entry": entry, "segment": segment, **more,
        }  # fmt: skip
        return pa.Table.from_pylist([record], SCHEMA)

    def _control(self, placed: Placed, entry: int, body: bytes, lsn: str, taken: int) -> pa.Table:
        place = (self._era, parse_lsn(lsn) if lsn else self._reader.reached)
        text = body.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()
        return self.mark("", 0, CONTROL, entry, placed.segment, place, taken, key=placed.run.kind.name, row=text)


def _relation(message: bytes) -> Relation:
    found = decode(message, streamed=False)
    if not isinstance(found, Relation):
        raise Corrupt("what should describe a relation does not", hint=HISTORY_ANEW)
    return found


def _numbers(data: npt.NDArray[np.uint8], where: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return big_endian(data, where, 4).astype(np.int64)
