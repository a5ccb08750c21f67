"""A database that exists only row by row, in dicts: what a server would send for its changes, and what its tables hold after each commit.

It is the oracle of the column-wise fold, so it is as simple as can be: no arrays, no batches.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from archiver.journal.entry import Kind, Placed, Run
from archiver.postgres.lsn import format_lsn
from archiver.postgres.records import Catalog, Column, Schema, Snapshot, Table, TableRows
from archiver.replay.postgres.columnar.copy_text import escape, unescape
from tests.unit.replay.postgres import wire

Row = dict[int, bytes | None]
"""By attnum."""
ALPHABET = [b"a", b"b", b"N", b"U", b"\\", b"\t", b"\n", b"\r", b"\b", b"\v", b"\f", b"\xff", b"\xc3\xa9", b"."]


@dataclass
class Part:
    attnum: int
    name: str
    type_oid: int = 25
    missing: bytes | None = None
    generated: str = ""


@dataclass
class Relation:
    oid: int
    parts: list[Part]
    key: list[int]
    """attnums; empty: rows may repeat."""
    identity: str
    rows: list[Row] = field(default_factory=list)
    next_attnum: int = 10

    @property
    def name(self) -> str:
        return f"t{self.oid}"

    @property
    def mode(self) -> str:
        return "full" if self.identity == "f" else "key" if self.identity != "n" else "insert"

    def key_of(self, row: Row) -> tuple[bytes | None, ...]:
        return tuple(row[attnum] for attnum in self.key)


@dataclass
class State:
    """After a commit (or at the beginning)."""

    seq: int
    end_lsn: int
    time: int
    xid: int
    tables: dict[int, Relation]


@dataclass
class Stream:
    """A transaction that is sent while it runs."""

    xid: int
    prefix: bytes
    tables: dict[int, Relation]
    """Its own view: rows with its prefix only."""
    sent: set[int] = field(default_factory=set)
    started: bool = False


@dataclass
class Copy:
    """Rows of some tables copied again while streaming."""

    state: int
    """Index of the newest state that the copy may know of."""
    snapshot: Snapshot
    texts: dict[int, bytes]


class World:
    """Everything random comes from ``random``."""

    def __init__(self, random: Random, *, first_xid: int = 1000) -> None:
        self.random = random
        self.lsn = 0x10000
        self.time = 1_800_000_000_000_000
        self.xid = first_xid
        self.seq = 1
        self.placed: list[Placed] = []
        self.tables: dict[int, Relation] = {}
        self.schemas: list[Schema] = []
        self.states: list[State] = []
        self.repeatable: list[tuple[list[bytes], dict[int, bytes], set[int]]] = []
        """Messages, how the tables would have been described then, tables whose definition changed."""
        self.known: set[int] = set()
        self.streams: list[Stream] = []
        self.counter = 0
        self.copies: list[Copy] = []
        self.far_lsn = 0
        """Where the stream was when ids became ``far`` last."""

    # The journal.

    def put(self, kind: Kind, bodies: Sequence[bytes]) -> int:
        run = Run.of("db", kind, bodies, observed=0)
        self.placed.append(Placed(self.seq, 0, 1, 0, run))
        self.seq += len(bodies)
        return self.seq - 1

    def send(self, messages: Sequence[bytes]) -> int:
        """Frames, in runs of random length; the number of the last."""
        rest = [wire.frame(message) for message in messages]
        last = self.seq - 1
        while rest:
            count = self.random.randint(1, len(rest))
            last = self.put(Kind.PG_FRAMES, rest[:count])
            rest = rest[count:]
        return last

    def schema(self, cause: str = "ddl") -> None:
        tables = [
            Table(
                oid=table.oid, schema="public", name=table.name, kind="r", persistence="p", identity=table.identity, filenode=table.oid,
                mode=table.mode,  # type: ignore[arg-type]
                key=table.key if table.mode == "key" else [],
                columns=[
                    Column(
                        part.attnum, part.name, "text", part.type_oid, generated=part.generated,
                        missing=None if part.missing is None else part.missing.decode("utf-8", "surrogateescape"),
                    )
                    for part in table.parts
                ],
            )
            for table in self.tables.values()
        ]  # fmt: skip
        self.schemas.append(Schema(format_lsn(self.lsn), self.visible(), 0, cause, 160000, "", Catalog(tables), floor=self.floor(self.lsn)))

    def far(self) -> None:
        """Very many transactions of other databases: every id so far lies half a circle back, or more."""
        self.xid += self.random.choice([1 << 31, (1 << 31) + 7, 3 << 30, (1 << 32) - 1])
        self.far_lsn = self.lsn

    def floor(self, until: int) -> str:
        """No transaction that is not seen commits before it; ``until`` at the latest. Ids alone serve only what is near."""
        return format_lsn(self.random.choice([min(self.far_lsn, until), until]))

    def visible(self, *, without: Sequence[int] = ()) -> str:
        running = sorted({stream.xid for stream in self.streams} | set(without))
        return f"{min([self.xid, *running])}:{self.xid}:{','.join(map(str, running))}"

    def record(self, xid: int, seq: int) -> None:
        self.states.append(State(seq, self.lsn, self.time, xid, copy.deepcopy(self.tables)))

    # Values.

    def value(self) -> bytes:
        return b"".join(self.random.choices(ALPHABET, k=self.random.choice([0, 1, 2, 2, 5, 20])))

    def cell(self) -> bytes | None:
        return None if self.random.random() < 0.15 else self.value()

    def new_row(self, table: Relation, prefix: bytes) -> Row:
        row: Row = {part.attnum: self.cell() for part in table.parts if not part.generated}
        taken = {table.key_of(other) for other in table.rows}
        while table.key:
            for attnum in table.key:
                row[attnum] = prefix + self.random.choice([b"", b"1", b"2", b"3", b"\t", b"\\", b"4"]) + self.random.choice([b"", b"x"])
            if table.key_of(row) not in taken:
                break
            self.counter += 1
            row[table.key[0]] = prefix + b"n%d" % self.counter
            break
        if not table.key:
            row = {attnum: self.random.choice([None, prefix + b"p", prefix + b"\t"]) for attnum in row}
            row[min(row)] = prefix + self.random.choice([b"q", b"r"])
        return row

    # Changes: what is sent, and what the table holds then.

    def describe(self, table: Relation, sent: set[int], xid: int | None) -> list[bytes]:
        if table.oid in sent and self.random.random() < 0.9:
            return []
        sent.add(table.oid)
        return [self.description(table, xid)]

    def description(self, table: Relation, xid: int | None) -> bytes:
        columns = [
            (part.name, part.type_oid, table.identity == "f" or (table.identity != "n" and part.attnum in table.key))
            for part in table.parts
            if not part.generated
        ]
        return wire.relation(table.oid, table.name, table.identity, columns, xid)

    def change(self, table: Relation, sent: set[int], prefix: bytes, xid: int | None) -> list[bytes]:
        messages = self.describe(table, sent, xid)
        mine = [row for row in table.rows if (row[table.key[0]] if table.key else row[min(row)] or b"").startswith(prefix)]  # type: ignore[union-attr]
        what = self.random.choice(["insert", "insert", "update", "update", "move", "delete"])
        if what == "insert" or not mine or table.mode == "insert":
            row = self.new_row(table, prefix)
            table.rows.append(row)
            return [*messages, wire.insert(table.oid, self.cells(table, row), xid)]
        row = self.random.choice(mine)
        if what == "delete":
            table.rows.remove(row)
            return [*messages, wire.delete(table.oid, self.old(table, row), full=table.mode == "full", xid=xid)]
        after = self.new_row(table, prefix)
        for attnum in after:
            if (attnum in table.key and what == "update") or (attnum not in table.key and self.random.random() < 0.6):
                after[attnum] = row[attnum]
        changed_key = table.key_of(after) != table.key_of(row)
        cells = self.cells(table, after)
        old_sent = table.mode == "full" or changed_key
        for place, part in enumerate(part for part in table.parts if not part.generated):
            same = after[part.attnum] == row[part.attnum] and row[part.attnum] is not None
            if same and self.random.random() < 0.5:
                if part.attnum in table.key and table.mode == "key":
                    old_sent = True  # the server logs the old key when the unchanged one is out of line
                cells[place] = wire.UNCHANGED
        table.rows[next(place for place, other in enumerate(table.rows) if other is row)] = after
        old = self.old(table, row) if old_sent else None
        return [*messages, wire.update(table.oid, cells, old, full=table.mode == "full", xid=xid)]

    def cells(self, table: Relation, row: Row) -> list[wire.Cell]:
        return [row[part.attnum] for part in table.parts if not part.generated]

    def old(self, table: Relation, row: Row) -> list[wire.Cell]:
        whole = table.mode == "full"
        return [row[part.attnum] if whole or part.attnum in table.key else None for part in table.parts if not part.generated]

    # Transactions.

    def clock(self) -> None:
        self.lsn += self.random.randint(1, 50)
        self.time += self.random.choice([-3, 1, 5, 1000])
        self.xid += 1

    def transaction(self, changes: int | None = None) -> None:
        xid, messages = self.xid, []
        for _ in range(self.random.randint(0, 6) if changes is None else changes):
            table = self.random.choice(list(self.tables.values()))
            roll = self.random.random()
            if roll < 0.04 and not self.streams:
                chosen = self.random.sample(list(self.tables.values()), self.random.randint(1, min(2, len(self.tables))))
                for one in chosen:
                    messages += self.describe(one, self.known, None)
                    one.rows.clear()
                messages.append(wire.truncate([one.oid for one in chosen]))
            elif roll < 0.08:
                messages.append(wire.logical_message("audit", b"\0x"))
            else:
                messages += self.change(table, self.known, b"m", None)
        self.commit(xid, messages)

    def commit(self, xid: int, content: list[bytes], changed: set[int] | None = None) -> None:
        commit_lsn = self.lsn + 1
        self.lsn += 2
        self.clock()
        messages = [wire.begin(xid, commit_lsn, self.time), *content, wire.commit(commit_lsn, self.lsn, self.time)]
        if self.random.random() < 0.1:
            messages.insert(0, wire.logical_message("outside", b"", transactional=False))
        seq = self.send(messages)
        described = {oid: self.description(table, None) for oid, table in self.tables.items()}
        self.repeatable.append((messages, described, changed or set()))
        self.record(xid, seq)

    def stream_begin(self) -> None:
        self.counter += 1
        prefix = b"s%d" % self.counter
        self.streams.append(Stream(self.xid, prefix, {oid: copy.deepcopy(table) for oid, table in self.tables.items()}))
        for table in self.streams[-1].tables.values():
            table.rows.clear()
        self.xid += 1

    def stream_block(self, stream: Stream) -> None:
        messages = [wire.stream_start(stream.xid, first=not stream.started)]
        stream.started = True
        aborts = []
        for _ in range(self.random.randint(0, 3)):
            if self.random.random() < 0.3:
                before = copy.deepcopy(stream.tables)
                subxid = self.xid
                self.xid += 1
                messages += self.stream_changes(stream, subxid)
                if self.random.random() < 0.5:
                    stream.tables = before
                    aborts.append(wire.stream_abort(stream.xid, subxid, with_lsn=self.random.random() < 0.5))
            else:
                messages += self.stream_changes(stream, stream.xid)
            if aborts:
                break
        self.send([*messages, wire.stream_stop(), *aborts])

    def stream_changes(self, stream: Stream, xid: int) -> list[bytes]:
        messages = []
        for _ in range(self.random.randint(1, 4)):
            table = self.random.choice(list(stream.tables.values()))
            messages += self.change(table, stream.sent, stream.prefix, xid)
        return messages

    def stream_end(self, stream: Stream) -> None:
        self.streams.remove(stream)
        if not stream.started:
            return
        if self.random.random() < 0.25:
            self.send([wire.stream_abort(stream.xid, stream.xid)])
            return
        for oid, table in stream.tables.items():
            self.tables[oid].rows += table.rows
        self.known |= stream.sent
        commit_lsn = self.lsn + 1
        self.lsn += 2
        self.clock()
        seq = self.send([wire.stream_commit(stream.xid, commit_lsn, self.lsn, self.time)])
        self.record(stream.xid, seq)

    def reconnect(self) -> None:
        """The server forgets what it described, drops what it had not finished, and repeats a few transactions as it decodes them anew."""
        self.streams.clear()
        self.known.clear()
        self.put(Kind.PG_STREAM, [b"{}"])
        count = self.random.randint(0, 3)
        for messages, described, changed in self.repeatable[-count:] if count else []:
            self.known -= changed
            again = []
            for message in messages:
                oid = int.from_bytes(message[1:5], "big") if message[:1] in b"IUD" else 0
                if oid and oid not in self.known:
                    again.append(described[oid])
                    self.known.add(oid)
                again.append(message)
            self.send(again)

    # Changes of the schema: between transactions, while nothing is streamed.

    def ddl(self) -> None:
        table = self.random.choice(list(self.tables.values()))
        others = [part for part in table.parts if part.attnum not in table.key]
        what = self.random.choice(["add", "add", "drop", "rename", "swap", "identity"])
        if what == "add":
            missing = self.random.choice([None, b"", b"d\t\\", b"x"])
            part = Part(table.next_attnum, f"c{self.random.randint(0, 3)}", missing=missing)
            if any(other.name == part.name for other in table.parts):
                part.name = f"c{part.attnum}"
            table.next_attnum += 1
            table.parts.append(part)
            for row in table.rows:
                row[part.attnum] = missing
        elif what == "drop" and len(others) > 1:
            part = self.random.choice(others)
            table.parts.remove(part)
            for row in table.rows:
                row.pop(part.attnum, None)
        elif what == "rename" and others:
            self.counter += 1
            self.random.choice(others).name = f"r{self.counter}"
        elif what == "swap" and len(others) > 1:
            one, two = self.random.sample(others, 2)
            one.name, two.name = two.name, one.name
        elif what == "identity":
            table.identity = self.random.choice(["d", "f", "i"] if table.key else ["f", "n"])
        self.known.discard(table.oid)
        xid = self.xid
        self.commit(xid, [wire.logical_message("archiver/ddl", b'{"objects": [{"oid": %d}]}' % table.oid)], {table.oid})
        self.schema()

    # What restore starts from.

    def snapshot(
        self, oids: Sequence[int], tables: dict[int, Relation], visible: str, *, floor: int | None = None
    ) -> tuple[Snapshot, dict[int, bytes]]:
        rows = [
            TableRows(
                oid, "public", tables[oid].name, tables[oid].mode,  # type: ignore[arg-type]
                [part.name for part in tables[oid].parts if not part.generated],
                [part.attnum for part in tables[oid].parts if not part.generated], [],
            )
            for oid in oids
        ]  # fmt: skip
        texts = {oid: copy_text(tables[oid], [part.attnum for part in tables[oid].parts if not part.generated]) for oid in oids}
        known = self.floor(self.lsn if floor is None else floor)
        return Snapshot(format_lsn(self.lsn + 1), visible, 0, 0, rows, floor=known), texts

    def copy_again(self) -> None:
        """A snapshot now, or one that does not see the newest transaction although that was sent already."""
        oids = self.random.sample(list(self.tables), self.random.randint(1, len(self.tables)))
        late = self.random.random() < 0.4 and len(self.states) > 1 and self.states[-1].xid not in (0, self.states[-2].xid)
        if late and self.definitions(self.states[-1]) == self.definitions(self.states[-2]):
            visible = self.visible(without=[self.states[-1].xid])
            snapshot, texts = self.snapshot(oids, self.states[-2].tables, visible, floor=self.states[-2].end_lsn)
        else:
            snapshot, texts = self.snapshot(oids, self.tables, self.visible())
        self.copies.append(Copy(len(self.states) - 1, snapshot, texts))

    def definitions(self, state: State) -> list[object]:
        return [(table.parts, table.identity) for table in state.tables.values()]


def copy_text(table: Relation, attnums: Sequence[int]) -> bytes:
    """The rows as COPY TO writes them."""
    lines = []
    for row in table.rows:
        values = (row[attnum] for attnum in attnums)
        lines.append(b"\t".join(b"\\N" if value is None else bytes(escape(value)) for value in values) + b"\n")
    return b"".join(lines)


def parse(text: bytes) -> list[tuple[bytes | None, ...]]:
    """Rows of COPY text, sorted; one by one."""
    rows = [tuple(unescape(value) for value in line.split(b"\t")) for line in text.split(b"\n")[:-1]]
    return sorted(rows, key=lambda row: [(value is not None, value or b"") for value in row])
