"""History of one PostgreSQL row: every state it had, and what changed from one to the next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from archiver.errors import Invalid
from archiver.history.row_states import Copied, Heard, RowChange, State, Unknown, is_row, states, text_of
from archiver.journal.entry import Kind
from archiver.journal.postgres_records import Schema, Snapshot, TableRows
from archiver.journal.records import Gap
from archiver.replay.points import Point, settle
from archiver.replay.postgres.columns import big_endian
from archiver.replay.postgres.copytext import escape, unescape
from archiver.replay.postgres.locate import checkpoint_at, end_slot, first_checkpoint, limit_of, no_baseline, require_mark
from archiver.replay.postgres.lsn import parse_lsn
from archiver.replay.postgres.pgoutput import Delete, Insert, Relation, Truncate, Update, decode
from archiver.replay.postgres.rows import opened
from archiver.replay.postgres.survey import Found, is_whole
from archiver.replay.postgres.transactions import Chunk, Limit, TransactionReader

if TYPE_CHECKING:
    from archiver.journal.entry import Placed
    from archiver.journal.reader import Reader
    from archiver.store.protocol import Store

__all__ = ["RowChange", "RowRef", "row_log"]

_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')


class RowRef(msgspec.Struct, frozen=True):
    """One row: a table, and values of columns that identify it, as PostgreSQL prints them."""

    schema: str
    table: str
    key: dict[str, str]

    @classmethod
    def parse(cls, table: str, key: Sequence[str]) -> RowRef:
        """``public.runs`` (quoted where PostgreSQL needs it; without schema: public) and ``column=value`` texts. Raises ``Invalid``."""
        parts = [match[1].replace('""', '"') if match[1] else match[2] for match in _PART.finditer(table)]
        if not 1 <= len(parts) <= 2:
            raise Invalid(f"{table!r} does not name a table", hint="write schema.table, for example public.runs")
        pairs = [text.partition("=") for text in key]
        if not pairs or not all(sign and name for name, sign, _ in pairs):
            raise Invalid("a row is named by column=value for each column of its key", hint="for example --key id=5")
        schema, name = parts if len(parts) == 2 else ("public", parts[0])
        return cls(schema, name, {column: value for column, _, value in pairs})

    def __str__(self) -> str:
        return f"{self.schema}.{self.table} {', '.join(f'{column}={value}' for column, value in self.key.items())}"

    def names(self, schema: str, table: str) -> bool:
        """Whether this is the row's table."""
        return (schema, table) == (self.schema, self.table)


async def row_log(
    reader: Reader, source: str, ref: RowRef, *, from_point: Point | None = None, to_point: Point | None = None
) -> list[RowChange]:
    """Every change of the row, oldest first, from the journal's first baseline on, or from the newest one at or before ``from_point``:
    the row's state there comes first. Up to ``to_point``. Points are settled.

    The journal's whole stretch is read for one row. Raises ``Invalid`` when the archive has no such source or table, or the table no such
    column; ``Refused`` when ``from_point`` lies before the first baseline.
    """
    until = await settle(reader, to_point or Point("latest", "latest"))
    tail = await reader.tail()
    assert tail is not None
    for point in (until, from_point or until):
        require_mark(tail, source, point)
    last = min(await end_slot(reader, source, until), tail.slot)
    start = await _start(reader, source, from_point, tail.slot)
    log = _Log(ref, start, limit_of(until))
    async with aclosing(reader.read(await reader.find_seq(start.record.replay_from), to_slot=tail.slot)) as runs:
        async for placed in runs:
            # Behind the point, only copies that have nothing from behind it are of interest: one more segment or two.
            if log.done or placed.slot > last + 1:
                break
            if placed.run.source == source and placed.first + placed.run.count > start.record.replay_from:
                log.take(placed)
    return await log.finished(reader.store)


async def _start(reader: Reader, source: str, point: Point | None, last: int) -> Found[Snapshot]:
    if point is not None:
        return await checkpoint_at(reader, source, point, min(await end_slot(reader, source, point), last))
    found = await first_checkpoint(reader, source)
    if found is None:
        raise no_baseline(source)
    return found


class _Log:
    """Hears what is about one row in the runs of its source."""

    def __init__(self, ref: RowRef, start: Found[Snapshot], limit: Limit) -> None:
        self._ref, self._start, self._limit = ref, start, limit
        self._needle = max((value.encode() for value in ref.key.values()), key=len)
        self._transactions = TransactionReader(limit=limit, from_lsn=parse_lsn(start.record.lsn))
        self._oids: set[int] = set()
        self._columns: set[str] = set()
        self._relations: dict[int, Relation] = {}
        self._streamed: dict[int, Relation] = {}
        self._era = 0
        self._heard: list[Heard] = []
        self._copies: list[tuple[int, int, Snapshot, bool]] = []
        self._gaps: list[Unknown] = []
        # Its entry may stand behind the point.
        self._copy(start.ref.seq, start.record, baseline=True)

    @property
    def done(self) -> bool:
        """The limit is reached."""
        return self._transactions.done

    def take(self, placed: Placed) -> None:
        """The next run."""
        run = placed.run
        if run.kind in (Kind.PG_FRAMES, Kind.PG_STREAM):
            for chunk in self._transactions.feed(placed):
                self._chunk(chunk)
        elif run.kind is Kind.PG_SCHEMA:
            schema = msgspec.json.decode(next(run.bodies()), type=Schema)
            self._oids |= {table.oid for table in schema.catalog.tables if self._ref.names(table.schema, table.name)}
        elif run.kind in (Kind.PG_TABLES, Kind.CHECKPOINT):
            for entry, body in enumerate(run.bodies(), placed.first):
                if entry != self._start.ref.seq:
                    self._copy(entry, msgspec.json.decode(body, type=Snapshot), baseline=run.kind is Kind.CHECKPOINT)
        elif run.kind is Kind.GAP:
            for entry, body in enumerate(run.bodies(), placed.first):
                self._gap(entry, msgspec.json.decode(body, type=Gap))

    async def finished(self, store: Store) -> list[RowChange]:
        """All changes. ``Invalid`` when the table, or a column of the key, was never seen."""
        for chunk in self._transactions.flush():
            self._chunk(chunk)
        if not self._oids:
            raise Invalid(f"the journal has no table {self._ref.schema}.{self._ref.table}", hint="name it as a restore's plan does")
        missing = sorted(set(self._ref.key) - self._columns) if self._columns else []
        if missing:
            raise Invalid(
                f"{self._ref.schema}.{self._ref.table} has no column {missing[0]}", hint=f"its columns: {', '.join(sorted(self._columns))}"
            )
        last = max((heard.commit.commit_lsn for heard in self._heard), default=0)
        copies = []
        for era, entry, snapshot, baseline in self._copies:
            lsn = parse_lsn(snapshot.lsn)
            if entry == self._start.ref.seq or self._is_before(entry, snapshot, lsn, last):
                ours = [table for table in snapshot.tables if self._ref.names(table.schema, table.name)]
                copies += [Copied(era, entry, lsn, snapshot.taken, baseline, await self._look_up(table, store)) for table in ours]
        return states(self._ref.key, self._heard, copies, self._gaps)

    def _is_before(self, entry: int, snapshot: Snapshot, lsn: int, last: int) -> bool:
        limit = self._limit
        if limit.seq is not None:
            return entry <= limit.seq or lsn <= last
        return lsn <= limit.lsn if limit.lsn is not None else snapshot.taken <= (limit.time or 0)

    def _copy(self, entry: int, snapshot: Snapshot, *, baseline: bool) -> None:
        for table in snapshot.tables:
            if self._ref.names(table.schema, table.name):
                self._oids.add(table.oid)
                self._columns |= set(table.columns)
                self._copies.append((self._era, entry, snapshot, baseline))

    def _gap(self, entry: int, gap: Gap) -> None:
        whole = is_whole(gap)
        if not whole and gap.what != f"table {self._ref.schema}.{self._ref.table}":
            return
        if whole:
            for chunk in self._transactions.flush():
                self._chunk(chunk)
            if self.done:
                return
        text = f"{gap.what}: {gap.reason} {gap.detail}".strip()
        self._gaps.append(Unknown(self._era, entry, gap.from_time, gap.from_position, text))
        if whole:
            # What follows is another slot's stream, maybe of another system: its LSNs need not go on from here.
            self._era += 1
            self._transactions = TransactionReader(limit=self._limit)
            self._relations, self._streamed = {}, {}

    def _chunk(self, chunk: Chunk) -> None:
        body = 5 if chunk.streamed else 1
        described = {at: self._described(_raw(chunk, at), chunk) for at in np.flatnonzero(np.isin(chunk.types, _DESCRIBE)).tolist()}
        rows = np.flatnonzero(np.isin(chunk.types, _ROWS))
        oids = big_endian(chunk.data, chunk.starts[rows] + body, 4)
        ours = rows[np.isin(oids, np.fromiter(self._oids, np.int64, len(self._oids)))]
        for at in sorted([*ours.tolist(), *described]):
            if at in described:
                self._describe(described[at], chunk, at)
            elif self._needle in (raw := _raw(chunk, at)):
                self._row(raw, chunk, at)
        if chunk.streamed and chunk.complete:
            self._relations |= self._streamed
            self._streamed = {}

    def _described(self, raw: bytes, chunk: Chunk) -> Relation | Truncate:
        message = decode(raw, streamed=chunk.streamed)
        assert isinstance(message, Relation | Truncate)
        if isinstance(message, Relation) and self._ref.names(message.schema, message.name):
            self._oids.add(message.oid)
        return message

    def _describe(self, message: Relation | Truncate, chunk: Chunk, at: int) -> None:
        if isinstance(message, Truncate):
            if self._oids & set(message.oids):
                self._heard.append(Heard(self._era, int(chunk.seqs[at]), chunk.transactions[int(chunk.txn[at])], None, message))
        elif message.oid in self._oids:
            self._columns |= {column.name for column in message.columns}
            (self._streamed if chunk.streamed else self._relations)[message.oid] = message

    def _row(self, raw: bytes, chunk: Chunk, at: int) -> None:
        message = decode(raw, streamed=chunk.streamed)
        assert isinstance(message, Insert | Update | Delete)
        relation = self._streamed.get(message.oid) or self._relations.get(message.oid)
        if relation is None:
            return
        old = None if isinstance(message, Insert) else message.old
        new = None if isinstance(message, Delete) else message.new
        key = self._ref.key
        if (old is not None and is_row(key, relation, old)) or (new is not None and is_row(key, relation, new, old)):
            self._heard.append(Heard(self._era, int(chunk.seqs[at]), chunk.transactions[int(chunk.txn[at])], relation, message))

    async def _look_up(self, table: TableRows, store: Store) -> State | None:
        if not set(self._ref.key) <= set(table.columns):
            return None
        wanted = [(table.columns.index(column), bytes(escape(value.encode()))) for column, value in self._ref.key.items()]
        longest = max((value for _, value in wanted), key=len)
        for part in table.parts:
            text = opened(part, await store.get(part.key) or b"")
            at = text.find(longest)
            while 0 <= at < len(text):
                begin, end = text.rfind(b"\n", 0, at) + 1, text.index(b"\n", at)
                values = text[begin:end].split(b"\t")
                if all(values[place] == value for place, value in wanted):
                    return {column: text_of(unescape(value)) for column, value in zip(table.columns, values, strict=True)}
                at = text.find(longest, end + 1)
        return None


_ROWS = np.frombuffer(b"IUD", np.uint8)
_DESCRIBE = np.frombuffer(b"RT", np.uint8)


def _raw(chunk: Chunk, at: int) -> bytes:
    return chunk.data[chunk.starts[at] : chunk.ends[at]].tobytes()
