"""Runs of one database in journal order -> what changed in it, in commit order. Pure.

Uncommitted and rolled back changes are never told, and a transaction that is sent again is told once, as everywhere
(``decode.transactions``). What a row was before is known where its message says so, or from what was heard or copied of it earlier, within
``KnownValues``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from archiver.errors import Corrupt
from archiver.history.row_states import State, text_of
from archiver.history.span.bounds import Bounds, Mark, Told
from archiver.history.span.changes import Change, Field, key_label
from archiver.history.span.known_values import KnownValues
from archiver.history.span.table_changes import is_redefined, name_of, table_changes
from archiver.history.span.unknown_stretches import UnknownStretches
from archiver.journal.entry import Kind, Placed
from archiver.journal.record_reader import read_record
from archiver.journal.records import ClockStep, Gap
from archiver.postgres.announcements import PREFIX, DescribedChange, read_described
from archiver.postgres.lsn import format_lsn, parse_lsn
from archiver.postgres.records import Schema, Slot, Snapshot, Table, TypeShape, redacted_text
from archiver.postgres.schema_bodies import read_schema
from archiver.replay.postgres.columnar.values import big_endian
from archiver.replay.postgres.decode.commits import Commit
from archiver.replay.postgres.decode.pgoutput import Delete, Insert, Message, Relation, Row, Truncate, Unchanged, Update, decode
from archiver.replay.postgres.decode.spill import Spill
from archiver.replay.postgres.decode.transactions import Chunk, TransactionReader
from archiver.replay.postgres.plan.journal_survey import is_whole

_FRAMES = frozenset((Kind.PG_FRAMES, Kind.PG_STREAM))
_BATCH_BYTES = 4 << 20
_ROWS = np.frombuffer(b"IUD", np.uint8)
_CELL = 120
"""Bytes that Python takes for a value besides its text."""
_LEVELS = 32
"""Of partitions of partitions."""
_NAMED = 3
"""Objects of an announcement that are named."""


@dataclass(frozen=True, slots=True)
class DatabaseBeginning:
    """From where on a database is read, and what has to be known there."""

    entry: int = 0
    """The first that counts."""
    segment: int = 0
    from_lsn: int = 0
    """What commits before it stands in the copy that reading begins with."""
    newest: int = 0
    """The newest commit time up to there."""
    copy: int = 0
    """Entry of that copy; 0: there is none."""
    taken: int = 0
    relations: Mapping[int, tuple[int, Relation]] = field(default_factory=dict)
    """How the stream had described tables, by oid, and where."""
    tables: Mapping[int, Table] | None = None
    """Its catalog there; ``None``: a schema entry that follows brings it."""


class DatabaseChanges:
    """Takes the runs of ``source`` from where it begins; gives what changed, each with its place. One caller at a time."""

    def __init__(
        self,
        source: str,
        beginning: DatabaseBeginning,
        known: KnownValues[State],
        *,
        wanted: Callable[..., bool] = lambda *_: True,
        keyed: Callable[[Sequence[str]], bool] = lambda _: True,
        spill: Spill | None = None,
    ) -> None:
        """``wanted``: tables, by their names and those that they are within, of whose rows is told; ``keyed``: of them, those that are
        identified by these columns.

        ``spill``: where transactions go that have not ended, and are large.
        """
        self.source, self.beginning = source, beginning
        self.unknown = UnknownStretches()
        self.tables: dict[int, Table] | None = None if beginning.tables is None else dict(beginning.tables)
        self.partly: dict[str, str] = {}
        """Tables of which not everything is captured, and what is not."""
        self.names: set[str] = set()
        """Of all tables so far."""
        self.heard = 0
        """Time up to which every commit is known."""
        self.has_copy = bool(beginning.copy)
        self._known, self._wanted, self._keyed_so, self._spill = known, wanted, keyed, spill
        self._relations: dict[int, tuple[int, Relation]] = dict(beginning.relations)
        self._streamed: dict[int, tuple[int, Relation]] = {}
        self._types: dict[int, TypeShape] = {}
        self._broken = False
        self._reader = self._new_reader(beginning.from_lsn, beginning.newest)
        self._note_tables()

    def feed(self, placed: Placed) -> Iterator[Told]:
        """Take the next run of the source; all that it gives must be taken. Raises ``Corrupt``."""
        run = placed.run
        if placed.first + run.count <= self.beginning.entry:
            return
        placed = placed.since(self.beginning.entry)
        if run.kind in _FRAMES:
            for chunk in self._reader.feed(placed):
                yield from self._chunk(chunk)
            return
        if run.kind is Kind.PROGRESS:
            self.heard = max(self.heard, run.observed)
            return
        yield from self.flush()
        if run.kind is Kind.PG_SCHEMA:
            yield from self._schema(placed)
            return
        for entry, body in enumerate(placed.run.bodies(), placed.first):
            match run.kind:
                case Kind.CHECKPOINT | Kind.PG_TABLES:
                    yield from self._copied(entry, read_record(body, Snapshot, placed), baseline=run.kind is Kind.CHECKPOINT)
                case Kind.GAP:
                    yield from self._gap(entry, run.observed, read_record(body, Gap, placed))
                case Kind.PG_SLOT if self.has_copy and not self._broken and entry > self.beginning.copy:
                    if read_record(body, Slot, placed).action != "dropped":
                        yield from self._gap(entry, run.observed, Gap("all", "slot_lost", "a new slot was made and no gap was recorded"))
                case Kind.CLOCK:
                    step = read_record(body, ClockStep, placed)
                    detail = f"the server's clock was set: a commit is {abs(step.step) / 1e6:.3f} s older than one before it"
                    yield self._line(entry, step.time, "clock", detail=detail)
                case _:
                    pass

    def flush(self) -> Iterator[Told]:
        """What is left of complete transactions."""
        for chunk in self._reader.flush():
            yield from self._chunk(chunk)

    def remember(self, oid: int, key: str, row: State) -> None:
        """The copy that reading begins with has this row. Before the first ``feed``; ``key`` as ``key_of`` gives it."""
        self._keep(oid, key, row)

    @property
    def newest(self) -> int:
        """The newest commit time so far."""
        return self._reader.newest

    def is_wanted(self, oid: int) -> bool:
        """Whether rows of this table are told."""
        return self._wanted(self._name(oid), *self._within(oid))

    def doubts(self, bounds: Bounds) -> list[str]:
        """What is not known of a span, and may be of what is wanted: by any name that its table had, at the gap or later.

        A table that no catalog has had may be any.
        """
        return [each.text for each in self.unknown.reaching(bounds) if each.concerns is not False]

    def is_known_until(self, time: int) -> bool:
        """Whether every commit up to ``time`` was told, or never will be."""
        return max(self.newest, self.heard) > time or self._broken

    # Rows.

    def _new_reader(self, from_lsn: int, newest: int) -> TransactionReader:
        return TransactionReader(from_lsn=from_lsn, newest=newest, batch_bytes=_BATCH_BYTES, spill=self._spill)

    def _chunk(self, chunk: Chunk) -> Iterator[Told]:
        is_row = np.isin(chunk.types, _ROWS)
        oids = np.zeros(len(chunk.types), np.int64)
        oids[is_row] = big_endian(chunk.data, chunk.starts[is_row] + (5 if chunk.streamed else 1), 4)
        messages = zip(oids.tolist(), chunk.starts.tolist(), chunk.ends.tolist(), chunk.seqs.tolist(), chunk.txn.tolist(), strict=True)
        index = -1
        commit: Commit | None = None
        relation: Relation | None = None
        for oid, start, end, entry, number in messages:
            if commit is None or number != index:
                commit, index = chunk.transactions[number], number
            if oid:
                relation = self._described(oid)
                if relation is None:
                    raise Corrupt(f"entry {entry} of {self.source}: rows of relation {oid} come before its description")
                if not self._wanted(f"{relation.schema}.{relation.name}", *self._within(oid)):
                    continue
            message = decode(chunk.data[start:end].tobytes(), streamed=chunk.streamed)
            mark = Mark(commit.seq, entry, int(chunk.transactions.newest[number]), commit.end_lsn)
            match message:
                case Relation():
                    self._describe(message, entry, streamed=chunk.streamed)
                case Insert() | Update() | Delete():
                    assert relation is not None
                    yield self._row(mark, commit, relation, message)
                case Truncate():
                    for emptied in message.oids:
                        self._known.forget((self.source, emptied))
                        name = self._name(emptied)
                        cascade = "with the tables that refer to it" if message.cascade else ""
                        if self._wanted(name, *self._within(emptied)):
                            more = {"table": name, "within": self._within(emptied), "detail": cascade}
                            yield Told(mark, self._change(mark, commit, "truncate", **more))
                case Message() if message.prefix == PREFIX:
                    yield from self._announced(mark, commit, read_described(message.content))
                case _:
                    pass
        if chunk.streamed and chunk.complete:
            for described, known in self._streamed.items():
                if described not in self._relations or self._relations[described][0] < known[0]:
                    self._relations[described] = known
            self._streamed = {}

    def _describe(self, described: Relation, entry: int, *, streamed: bool) -> None:
        relation = _readable(described)
        self.names.add(f"{relation.schema}.{relation.name}")
        self._judge_renamed(relation)
        before = self._described(relation.oid)
        if before is not None and not (set(before.columns) <= set(relation.columns) and before.identity == relation.identity):
            self._known.forget((self.source, relation.oid))
        (self._streamed if streamed else self._relations)[relation.oid] = (entry, relation)

    def _described(self, oid: int) -> Relation | None:
        known = self._streamed.get(oid) or self._relations.get(oid)
        return known[1] if known else None

    def _row(self, mark: Mark, commit: Commit, relation: Relation, message: Insert | Update | Delete) -> Told:
        oid, keyed = relation.oid, self._keyed(relation)
        of = {"table": f"{relation.schema}.{relation.name}", "within": self._within(oid)}
        if isinstance(message, Insert):
            new = _told(relation, message.new)
            key = {column: new.get(column) for column in keyed}
            self._keep(oid, key_of(key), new)
            fields = [Field(column, new=value) for column, value in new.items()]
            return Told(mark, self._change(mark, commit, "insert", **of, key=key, fields=fields))
        said = _told(relation, message.old, key_only=not message.full) if message.old is not None else {}
        if isinstance(message, Delete):
            key = {column: said.get(column) for column in keyed} or said
            before = said if message.full else {**(self._take(oid, key_of(key)) or {}), **said}
            fields = [Field(column.name, old=before[column.name]) for column in relation.columns if column.name in before]
            left = [column.name for column in relation.columns if column.name not in before]
            detail = f"not known what was in {', '.join(left)}" if left else ""
            return Told(mark, self._change(mark, commit, "delete", **of, key=key, fields=fields, detail=detail))
        new = _told(relation, message.new)
        # A TOASTed key that was left alone is told by the old row.
        was = {column: {**new, **said}[column] for column in keyed if column in new or column in said}
        key = {column: {**said, **new}[column] for column in was} or said
        # Where no old key is sent, the key is the one before.
        before = said if message.full else {**(self._take(oid, key_of(was)) or {}), **was, **said}
        fields = [
            Field(column, before[column], value) if column in before else Field(column, new=value, old_known=False)
            for column, value in new.items()
            if column not in before or before[column] != value
        ]
        now = {**{column.name: before[column.name] for column in relation.columns if column.name in before}, **new}
        self._keep(oid, key_of({column: now.get(column) for column in keyed}), now)
        moved = f"its key was {key_label(was)}" if keyed and was != key else ""
        return Told(mark, self._change(mark, commit, "update", **of, key=key, fields=fields, detail=moved))

    def _within(self, oid: int) -> list[str]:
        """The names of the tables that a table is a partition of, or inherits from, the nearest first."""
        found = list[str]()
        table = (self.tables or {}).get(oid)
        while table is not None and table.parent and len(found) < _LEVELS:
            table = (self.tables or {}).get(table.parent)
            found += [name_of(table)] if table is not None else []
        return found

    def _keyed(self, relation: Relation) -> list[str]:
        """The columns that identify a row; none: nothing does."""
        table = (self.tables or {}).get(relation.oid)
        if relation.identity == "f" or (table is not None and table.mode != "key"):
            return []
        return [column.name for column in relation.columns if column.key]

    def _keep(self, oid: int, key: str, row: State) -> None:
        if key != _NO_KEY:
            size = sum(_CELL + len(value or "") for value in row.values())
            self._known.put((self.source, oid), key, row, size + len(key))

    def _take(self, oid: int, key: str) -> State | None:
        group = (self.source, oid)
        found = self._known.get(group, key)
        self._known.drop(group, key)
        return found

    def _change(self, mark: Mark, commit: Commit, operation: str, **more: object) -> Change:
        lsn = format_lsn(commit.end_lsn)
        return Change(mark.entry, mark.at, commit.time, self.source, operation, transaction=commit.xid, lsn=lsn, **more)  # type: ignore[arg-type]

    # What is not about rows.

    def _announced(self, mark: Mark, commit: Commit, described: DescribedChange | None) -> Iterator[Told]:
        objects = described.objects if described is not None else []
        if described is None or described.may_concern_all:
            self._forget_all()
        for each in objects:
            if described is not None and not described.leaves_rows(each.oid):
                self._known.forget((self.source, each.oid))
        if described is None:
            detail = "a schema change was announced, and the message cannot be read"
        else:
            named = ", ".join(f"{each.type} {each.identity}".strip() for each in objects[:_NAMED])
            more = f" and {len(objects) - _NAMED} more" if len(objects) > _NAMED else ""
            detail = f"{described.tag or 'a schema change'}: {named}{more}"
        tables = [each.identity for each in objects if each.type in ("table", "table column")]
        yield Told(mark, self._change(mark, commit, "ddl", table=tables[0] if len(tables) == 1 else "", detail=detail))

    def _schema(self, placed: Placed) -> Iterator[Told]:
        schema, _ = read_schema(placed)
        now = {table.oid: table for table in schema.catalog.tables}
        if self.tables is not None:
            for each in table_changes(self.tables, now):
                yield self._line(placed.first, schema.taken, each.operation, table=each.name, detail=each.detail, lsn=schema.lsn)
            shapes = {each.oid: each for each in schema.catalog.types}
            types = {oid for oid in {*shapes, *self._types} if shapes.get(oid) != self._types.get(oid)}
            for oid, table in self.tables.items():
                if oid not in now or is_redefined(table, now[oid]) or not types.isdisjoint(table.types):
                    self._known.forget((self.source, oid))
        self.tables = now
        self._types = {each.oid: each for each in schema.catalog.types}
        self._note_tables()
        yield from self._judge_anew(placed.first, schema)

    def _judge_anew(self, entry: int, schema: Schema) -> Iterator[Told]:
        """A table is told of behind the gap with which its capture begins, and may be renamed, detached or dropped behind it."""
        for stretch in self.unknown:
            if stretch.is_told and stretch.concerns:
                continue
            known = self._may_concern(stretch.gap)
            stretch.concerns = stretch.concerns if known is None else stretch.concerns or known
            if stretch.concerns and not stretch.is_told:
                stretch.is_told = True
                yield self._line(entry, schema.taken, "gap", detail=stretch.text, lsn=schema.lsn)

    def _judge_renamed(self, relation: Relation) -> None:
        """A name, or a key, that a table had between two schema entries."""
        for stretch in self.unknown:
            if not stretch.concerns and stretch.gap.relation == relation.oid:
                key = [column.name for column in relation.columns if column.key]
                named = self._wanted(f"{relation.schema}.{relation.name}", *self._within(relation.oid))
                stretch.concerns = (named and (not key or self._keyed_so(key))) or stretch.concerns

    def _note_tables(self) -> None:
        for table in (self.tables or {}).values():
            self.names.add(name_of(table))
            if table.mode == "insert" and table.kind != "p":
                self.partly[name_of(table)] = "it has no key, so its updates and deletions are not captured" + (
                    f"; {told}" if (told := redacted_text(table)) else ""
                )
            elif table.mode == "excluded":
                self.partly[name_of(table)] = "its rows are not captured"
            elif told := redacted_text(table):
                self.partly[name_of(table)] = told

    def _copied(self, entry: int, snapshot: Snapshot, *, baseline: bool) -> Iterator[Told]:
        if entry == self.beginning.copy:
            return
        here = self._here(entry, snapshot.taken)._replace(lsn=max(self._reader.reached, parse_lsn(snapshot.lsn)))
        rows = {table.oid: sum(part.rows for part in table.parts) for table in snapshot.tables}
        for table in snapshot.tables:
            self._known.forget((self.source, table.oid))
        if baseline:
            self._forget_all()
            self.has_copy, self._broken = True, False
            self.unknown.end(here)
            detail = f"a baseline: {sum(rows.values())} rows of {len(rows)} tables were copied"
            yield self._line(entry, snapshot.taken, "baseline", detail=detail, lsn=snapshot.lsn)
            return
        for table in snapshot.tables:
            name = f"{table.schema}.{table.name}"
            self.unknown.end(here, lambda gap, table=table: gap.names(table.oid, table.schema, table.name))  # type: ignore[misc]
            if self._wanted(name, *self._within(table.oid)):
                detail = f"its {rows[table.oid]} rows were copied again ({snapshot.cause})"
                yield self._line(entry, snapshot.taken, "copied", table=name, detail=detail, lsn=snapshot.lsn)

    def _gap(self, entry: int, observed: int, gap: Gap) -> Iterator[Told]:
        known = Mark(entry, entry, max(self.newest, self.heard), self._reader.reached)
        concerns = self._may_concern(gap)
        stretch = self.unknown.begin(gap, known, self._here(entry, observed), concerns=concerns)
        if concerns or (concerns is None and self._wanted(gap.table)):
            stretch.is_told = True
            yield self._line(entry, gap.from_time or observed, "gap", detail=stretch.text, lsn=gap.from_position)
        if is_whole(gap):
            if entry > self.beginning.copy:
                # Another slot's stream follows, whose LSNs need not go on.
                self._reader, self._broken = self._new_reader(0, self.newest), True
            self._forget_all()
        else:
            for oid, table in (self.tables or {}).items():
                if gap.what == "schema" or gap.names(oid, table.schema, table.name):
                    self._known.forget((self.source, oid))

    def _may_concern(self, gap: Gap) -> bool | None:
        """Whether rows that are wanted may be missing. ``None``: it is of one table, which the catalog has not."""
        if not gap.what.startswith("table "):
            return True
        known = list(self._tables_of(gap))
        if not known:
            return None
        return any(self._wanted(gap.table, name_of(table), *self._within(table.oid)) and self._may_be_keyed(table) for table in known)

    def _tables_of(self, gap: Gap) -> Iterator[Table]:
        tables = self.tables or {}
        named = [tables[gap.relation]] if gap.relation in tables else [] if gap.relation else tables.values()
        return (table for table in named if gap.names(table.oid, table.schema, table.name))

    def _may_be_keyed(self, table: Table) -> bool:
        return table.mode != "key" or self._keyed_so([column.name for column in table.columns if column.attnum in table.key])

    def _forget_all(self) -> None:
        for oid in {*(self.tables or {}), *self._relations}:
            self._known.forget((self.source, oid))

    def _name(self, oid: int) -> str:
        if (relation := self._described(oid)) is not None:
            return f"{relation.schema}.{relation.name}"
        table = (self.tables or {}).get(oid)
        return name_of(table) if table else f"oid {oid}"

    def _here(self, entry: int, time: int) -> Mark:
        return Mark(entry, entry, max(self.newest, time), self._reader.reached)

    def _line(self, entry: int, time: int, operation: str, *, table: str = "", detail: str = "", lsn: str = "") -> Told:
        mark = self._here(entry, time)
        if lsn:
            mark = mark._replace(lsn=max(mark.lsn, parse_lsn(lsn)))
        return Told(mark, Change(entry, entry, time, self.source, operation, table=table, detail=detail, lsn=lsn))


_NO_KEY = "{}"


def key_of(key: Mapping[str, str | None]) -> str:
    """The text under which a row is remembered."""
    return msgspec.json.encode(key).decode()


def _told(relation: Relation, row: Row, *, key_only: bool = False) -> State:
    """What a message says of a row; values that it leaves out are left out."""
    if len(row) != len(relation.columns):
        raise Corrupt(f"a row does not have the {len(relation.columns)} columns of its relation")
    return {
        column.name: text_of(value)
        for column, value in zip(relation.columns, row, strict=True)
        if not isinstance(value, Unchanged) and (column.key or not key_only)
    }


def _readable(relation: Relation) -> Relation:
    """With names that are text: what is not UTF-8 in them is shown as such."""
    columns = tuple(msgspec.structs.replace(column, name=_shown(column.name)) for column in relation.columns)
    return msgspec.structs.replace(relation, schema=_shown(relation.schema), name=_shown(relation.name), columns=columns)


def _shown(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
