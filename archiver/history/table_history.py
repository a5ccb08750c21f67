"""What a database's journal says about the table of one row, and what its frames say of the row itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

from archiver.errors import Invalid
from archiver.history.row_ref import RowRef
from archiver.history.row_states import CopiedRow, HeardChange, HistoryGap, RowChange, State, text_of
from archiver.journal.entry import Kind
from archiver.journal.parts import fetch_part, opened
from archiver.journal.record_reader import read_record
from archiver.journal.records import Gap
from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import Column, Schema, Snapshot, TableRows, TypeShape, redacted_text
from archiver.postgres.schema_bodies import read_schema
from archiver.postgres.visibility import Visible
from archiver.replay.postgres.columnar.copy_text import escape, unescape
from archiver.replay.postgres.decode.commits import Limit
from archiver.replay.postgres.decode.row_log import DecodedChange, RowLog
from archiver.replay.postgres.plan.journal_survey import FoundRecord, is_whole
from archiver.suggestions import table_hint

if TYPE_CHECKING:
    from archiver.history.filed_rows import FiledRows
    from archiver.journal.entry import Placed
    from archiver.journal.reader import Reader
    from archiver.store.protocol import Store

_FRAMES = frozenset((Kind.PG_FRAMES, Kind.PG_STREAM))


class Shape(NamedTuple):
    """What decides how the rows of a relation are written. While it stays as it is, a row that was written whole is as it was written."""

    version: str
    natts: int
    columns: list[Column]
    types: list[TypeShape]


def shape_in(schema: Schema, oid: int) -> Shape | None:
    """Of a relation in a schema entry; ``None`` where there is none."""
    table = next((each for each in schema.catalog.tables if each.oid == oid), None) if oid else None
    if table is None:
        return None
    return Shape(table.version, table.natts, table.columns, [each for each in schema.catalog.types if each.oid in table.types])


async def listen(reader: Reader, source: str, told: TableHistory, first: int, last: int) -> None:
    """Take what other entries than frames say."""
    async with aclosing(reader.read(first, last=last)) as runs:
        async for placed in runs:
            if placed.run.source == source and placed.first + placed.run.count > told.begin:
                told.take(placed)


async def heard_in(
    reader: Reader, source: str, told: TableHistory, limit: Limit, stretch: tuple[int, int], files: FiledRows | None = None
) -> list[HeardChange]:
    """What frames say. ``files``: only what is behind them, where reading goes on as they left it."""
    heard = list[HeardChange]()
    logs: list[RowLog] = []
    begin = files.progress.resume_entry if files else told.begin
    async with aclosing(reader.read(stretch[0], last=stretch[1])) as runs:
        era = -1
        async for placed in runs:
            if placed.run.source != source or placed.first + placed.run.count <= begin or placed.run.kind not in _FRAMES:
                continue
            if told.era(placed.first) != era:
                heard += [told.heard(era, log.oid, change) for log in logs for change in log.finish()]
                if any(log.done for log in logs):
                    break
                logs = told.logs(limit, told.era(placed.first), files if era < 0 else None)
                era = told.era(placed.first)
            run = placed.since(begin) if files else placed
            heard += [told.heard(era, log.oid, change) for log in logs for change in log.feed(run)]
    return heard + [told.heard(era, log.oid, change) for log in logs for change in log.finish()]


def in_order(heard: HeardChange) -> tuple[int, int, int]:
    """By what changes are sorted as they count."""
    commit = heard.change.commit
    return heard.era, commit.commit_lsn, heard.change.seq


class TableHistory:
    """What other entries than frames say about the row's table."""

    def __init__(self, ref: RowRef, start: FoundRecord[Snapshot], *, shape_of: int = 0) -> None:
        """``shape_of``: a relation whose shapes are to be kept."""
        self.ref, self.start = ref, start
        self.oids: set[int] = set()
        """Every relation that ever bore the name."""
        self._seen: set[str] = set()
        """The names of all tables."""
        self._gaps: list[tuple[Gap, HistoryGap]] = []
        self._redacted: dict[int, str] = {}
        self._columns: set[str] = set()
        self._copies: list[tuple[int, Snapshot, bool]] = []
        self._breaks: list[int] = []
        self.shapes: list[Shape | None] = []
        """The shape of that relation in each schema entry; ``None``: it has no such relation."""
        self._shape_of = shape_of
        self._holders: list[tuple[int, Visible, int]] = []
        """Schema entries, and which relation bears the name in each; 0: none."""
        self.begin = start.record.replay_from
        """The first entry that counts."""
        self.filed: tuple[int, dict[tuple[int, int], State]] = (0, {})
        """Up to which entry files say what copies have of the row, and that."""
        # Its entry may stand behind the point.
        self._copy(start.ref.seq, start.record, baseline=True)

    def take(self, placed: Placed) -> None:
        """The next run of the source."""
        run = placed.run
        if run.kind is Kind.PG_SCHEMA:
            schema, _ = read_schema(placed)
            holder = 0
            for table in schema.catalog.tables:
                self._seen.add(f"{table.schema}.{table.name}")
                if self.ref.names(table.schema, table.name):
                    self.oids.add(table.oid)
                    self._columns |= {column.name for column in table.columns}
                    self._redacted[table.oid] = redacted_text(table) or self._redacted.get(table.oid, "")
                    holder = table.oid
            self.shapes.append(shape_in(schema, self._shape_of))
            self._holders.append((placed.first, Visible.of(schema), holder))
        elif run.kind in (Kind.PG_TABLES, Kind.CHECKPOINT):
            for entry, body in enumerate(run.bodies(), placed.first):
                if entry != self.start.ref.seq:
                    self._copy(entry, read_record(body, Snapshot, placed), baseline=run.kind is Kind.CHECKPOINT)
        elif run.kind is Kind.GAP:
            for entry, body in enumerate(run.bodies(), placed.first):
                self._gap(entry, read_record(body, Gap, placed))

    def require(self) -> None:
        """``Invalid`` when the table, or a column of the key, was never seen."""
        name = f"{self.ref.schema}.{self.ref.table}"
        if not self.oids:
            raise Invalid(f"the journal has no table {name}", hint=table_hint(name, self._seen))
        missing = sorted(set(self.ref.key) - self._columns)
        if missing:
            raise Invalid(f"{name} has no column {missing[0]}", hint=f"its columns: {', '.join(sorted(self._columns))}")

    def notes(self) -> list[RowChange]:
        """What no change of the row tells, as last lines of its history."""
        return [RowChange(0, "NOTE", detail=text) for text in dict.fromkeys(self._redacted.values()) if text]

    @property
    def gaps(self) -> list[HistoryGap]:
        """Of the source, and of every relation that ever bore the name: one may have been given it behind its gap."""
        name = f"{self.ref.schema}.{self.ref.table}".replace('"', "")
        return [found for gap, found in self._gaps if is_whole(gap) or gap.relation in self.oids or gap.table == name]

    def logs(self, limit: Limit, era: int, files: FiledRows | None) -> list[RowLog]:
        """Readers of the row's changes in this era, one for each table; ``files``: they go on where these end, if it is the same era."""
        from_lsn = parse_lsn(self.start.record.lsn) if not era else 0
        key = self.ref.bytes
        if files is None or self.era(files.progress.covered) != era:
            return [RowLog(oid, key, limit=limit, from_lsn=from_lsn) for oid in sorted(self.oids)]
        reached = files.progress.reached
        return [
            RowLog(oid, key, limit=limit, from_lsn=from_lsn, reached=reached, described=files.relation(oid)) for oid in sorted(self.oids)
        ]

    def era(self, entry: int) -> int:
        """Number of gaps of the whole source before an entry. What follows one is another slot's stream, whose LSNs need not go on."""
        return sum(gap < entry for gap in self._breaks)

    async def copies(self, limit: Limit, heard: Sequence[HeardChange], store: Store) -> list[CopiedRow]:
        """What each copy that belongs before the point says of the row."""
        last = max((one.change.commit.commit_lsn for one in heard), default=0)
        found = []
        for entry, snapshot, baseline in self._copies:
            lsn = parse_lsn(snapshot.lsn)
            if entry == self.start.ref.seq or _is_before(limit, entry, snapshot, lsn, last):
                era, holder = self.era(entry), next((oid for seq, _, oid in reversed(self._holders) if seq < entry), 0)
                for table in snapshot.tables:
                    named = self.ref.names(table.schema, table.name)
                    if table.oid in self.oids:
                        state = self.filed[1].get((entry, table.oid)) if entry <= self.filed[0] else await self._look_up(table, store)
                        hidden = not named and holder != table.oid
                        found.append(CopiedRow(era, entry, lsn, snapshot.taken, baseline, state, table.oid, hidden))
        return found

    def heard(self, era: int, oid: int, change: DecodedChange) -> HeardChange:
        """A change of the relation ``oid``, hidden when another one bore the name then."""
        if change.table == (self.ref.schema, self.ref.table):
            return HeardChange(era, change, oid)
        seen = [(self._sees(entry, visible, era, change), holder) for entry, visible, holder in self._holders]
        before = next((holder for sees, holder in reversed(seen) if not sees), 0)
        after = next((holder for sees, holder in seen if sees), 0)
        around = {before, after} - {0}
        # A TRUNCATE does not say which name its table had: the entries around it must do.
        others = around - {oid} if change.table is not None or oid not in around else set()
        return HeardChange(era, change, oid, bool(others))

    def shapes_since(self, one: HeardChange | CopiedRow, last: int) -> list[Shape | None]:
        """Shapes from before ``one`` was written until schema entry ``last``; none when what was before it is not known."""
        if isinstance(one, CopiedRow):
            earlier = [number for number, (entry, _, _) in enumerate(self._holders) if entry < one.entry]
        else:
            holders = enumerate(self._holders)
            earlier = [number for number, (entry, visible, _) in holders if not self._sees(entry, visible, one.era, one.change)]
            earlier = [number for number in earlier if self._holders[number][0] <= last and self.era(self._holders[number][0]) <= one.era]
        if not earlier:
            return []
        behind = zip(self._holders[earlier[-1] :], self.shapes[earlier[-1] :], strict=True)
        return [shape for (entry, _, _), shape in behind if entry <= last]

    def _sees(self, entry: int, visible: Visible, era: int, change: DecodedChange) -> bool:
        """Whether a schema entry has the transaction of a change. Ids and LSNs mean something within one era only."""
        own = self.era(entry)
        return visible.sees(change.commit.xid, change.commit.commit_lsn) if own == era else own > era

    def _copy(self, entry: int, snapshot: Snapshot, *, baseline: bool) -> None:
        for table in snapshot.tables:
            if self.ref.names(table.schema, table.name):
                self.oids.add(table.oid)
                self._columns |= set(table.columns)
        self._copies.append((entry, snapshot, baseline))

    def _gap(self, entry: int, gap: Gap) -> None:
        text = f"{gap.what}: {gap.reason} {gap.detail}".strip()
        self._gaps.append((gap, HistoryGap(self.era(entry), entry, gap.from_time, gap.from_position, text)))
        if is_whole(gap) and entry > self.start.ref.seq:
            self._breaks.append(entry)

    async def _look_up(self, table: TableRows, store: Store) -> State | None:
        if not set(self.ref.key) <= set(table.columns):
            return None
        wanted = [(table.columns.index(column), bytes(escape(value))) for column, value in self.ref.bytes.items()]
        longest = max((value for _, value in wanted), key=len)
        for part in table.parts:
            text = await asyncio.to_thread(opened, part, await fetch_part(store, part))
            at = text.find(longest)
            while 0 <= at < len(text):
                begin, end = text.rfind(b"\n", 0, at) + 1, text.index(b"\n", at)
                values = text[begin:end].split(b"\t")
                if all(values[place] == value for place, value in wanted):
                    return {column: text_of(unescape(value)) for column, value in zip(table.columns, values, strict=True)}
                at = text.find(longest, end + 1)
        return None


def _is_before(limit: Limit, entry: int, snapshot: Snapshot, lsn: int, last: int) -> bool:
    if limit.seq is not None:
        return entry <= limit.seq or lsn <= last
    return lsn <= limit.lsn if limit.lsn is not None else snapshot.taken <= (limit.time or 0)
