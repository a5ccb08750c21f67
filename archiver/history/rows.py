"""History of one PostgreSQL row: every state it had, and what changed from one to the next."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Invalid
from archiver.history.filed_rows import FiledRows
from archiver.history.row_states import CopiedRow, HeardChange, HistoryGap, RowChange, State, states, text_of
from archiver.journal.entry import Kind
from archiver.journal.parts import fetch_part, opened
from archiver.journal.record_reader import read_record
from archiver.journal.records import Gap
from archiver.lake.history_table import open_history
from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import Snapshot, TableRows
from archiver.postgres.schema_bodies import read_schema
from archiver.postgres.table_names import parse_table
from archiver.postgres.visibility import Visible
from archiver.replay.points import Point, resolve
from archiver.replay.postgres.columnar.copy_text import escape, unescape
from archiver.replay.postgres.decode.commits import Limit
from archiver.replay.postgres.decode.row_log import DecodedChange, RowLog
from archiver.replay.postgres.plan.journal_survey import FoundRecord, is_whole
from archiver.replay.postgres.plan.point_location import checkpoint_at, end_segment, first_checkpoint, limit_of, no_baseline, require_mark

if TYPE_CHECKING:
    from archiver.journal.entry import Placed
    from archiver.journal.reader import Reader
    from archiver.store.protocol import Store

__all__ = ["RowChange", "RowRef", "row_log"]

_FRAMES = frozenset((Kind.PG_FRAMES, Kind.PG_STREAM))


class RowRef(msgspec.Struct, frozen=True):
    """One row: a table, and values of columns that identify it, as PostgreSQL prints them."""

    schema: str
    table: str
    key: dict[str, str]

    @classmethod
    def parse(cls, table: str, key: Sequence[str]) -> RowRef:
        """``public.runs`` (quoted where PostgreSQL needs it; without schema: public) and ``column=value`` texts. Raises ``Invalid``."""
        schema, name = parse_table(table)
        pairs = [text.partition("=") for text in key]
        if not pairs or not all(sign and name for name, sign, _ in pairs):
            raise Invalid("a row is named by column=value for each column of its key", hint="for example --key id=5")
        return cls(schema, name, {column: value for column, _, value in pairs})

    def __str__(self) -> str:
        return f"{self.schema}.{self.table} {', '.join(f'{column}={value}' for column, value in self.key.items())}"

    @property
    def bytes(self) -> dict[str, bytes]:
        """The key as the journal has it."""
        return {column: value.encode("utf-8", "surrogateescape") for column, value in self.key.items()}

    def names(self, schema: str, table: str) -> bool:
        """Whether this is the row's table."""
        return (schema, table) == (self.schema, self.table)


async def row_log(
    reader: Reader, source: str, ref: RowRef, *, from_point: Point | None = None, to_point: Point | None = None
) -> list[RowChange]:
    """Every change of the row, oldest first, from the journal's first baseline on, or from the newest one at or before ``from_point``:
    the row's state there comes first. Up to ``to_point``. Points are resolved.

    Where history files reach, they are asked; what they do not have is read in the journal. Raises ``Invalid`` when the archive has no such
    source or table, or the table no such column; ``Refused`` when ``from_point`` lies before the first baseline.
    """
    until = await resolve(reader, to_point or Point("latest", "latest"))
    tail = await reader.tail()
    assert tail is not None
    for point in (until, from_point or until):
        require_mark(tail, source, point)
    last = min(await end_segment(reader, source, until), tail.number)
    start = await _start(reader, source, from_point, tail.number)
    history = await open_history(reader, source)
    if history is not None and start.record.replay_from <= history.progress.covered:
        files = FiledRows(reader.store, history)
        found = await _filed_log(reader, source, ref, start, (limit_of(until), last, tail.number), files)
        if found is not None:
            return found
    first = await reader.find_seq(start.record.replay_from)
    told = _TableHistory(ref, start)
    # Behind the point, copies that have nothing from behind it are of interest: one more segment.
    await _listen(reader, source, told, first, min(last + 1, tail.number))
    told.require()
    limit = limit_of(until)
    heard = await _heard(reader, source, told, limit, (first, last))
    return states(ref.key, sorted(heard, key=_in_order), await told.copies(limit, heard, reader.store), told.gaps)


async def _filed_log(
    reader: Reader, source: str, ref: RowRef, start: FoundRecord[Snapshot], until: tuple[Limit, int, int], files: FiledRows
) -> list[RowChange] | None:
    """``row_log`` from files and the tail behind them; ``None`` when they do not tell.

    ``until``: the limit, its last segment, and the journal's.
    """
    limit, last, end = until
    progress = files.progress
    told = _TableHistory(ref, start)
    entries = await files.entries(last=last + 1)
    if entries is None:
        return None
    for placed in entries:
        if placed.first >= start.record.replay_from:
            told.take(placed)
    if last + 1 >= progress.segment:
        await _listen(reader, source, told, progress.segment, min(last + 1, end))
    told.require()
    header = await reader.header(last)
    last_entry = header.first + header.count - 1 if header else 0
    filed = await files.row(told.oids, ref.key, (ref.schema, ref.table), limit, last_entry)
    if filed is None:
        return None
    heard, from_lsn = list[HeardChange](), parse_lsn(start.record.lsn)
    for oid, change in filed.changes:
        era = told.era(change.commit.seq)
        if change.commit.seq >= start.record.replay_from and (era or change.commit.commit_lsn >= from_lsn):
            heard.append(told.heard(era, oid, change))
    if last >= progress.segment and not files.reach(limit):
        heard += await _heard(reader, source, told, limit, (progress.resume_segment, last), files)
    told.filed = (progress.covered, filed.copied)
    return states(ref.key, sorted(heard, key=_in_order), await told.copies(limit, heard, reader.store), told.gaps)


async def _listen(reader: Reader, source: str, told: _TableHistory, first: int, last: int) -> None:
    """Take what other entries than frames say."""
    async with aclosing(reader.read(first, last=last)) as runs:
        async for placed in runs:
            if placed.run.source == source and placed.first + placed.run.count > told.begin:
                told.take(placed)


async def _heard(
    reader: Reader, source: str, told: _TableHistory, limit: Limit, stretch: tuple[int, int], files: FiledRows | None = None
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


def _in_order(heard: HeardChange) -> tuple[int, int, int]:
    commit = heard.change.commit
    return heard.era, commit.commit_lsn, heard.change.seq


async def _start(reader: Reader, source: str, point: Point | None, last: int) -> FoundRecord[Snapshot]:
    if point is not None:
        return await checkpoint_at(reader, source, point, min(await end_segment(reader, source, point), last))
    found = await first_checkpoint(reader, source)
    if found is None:
        raise no_baseline(source)
    return found


class _TableHistory:
    """What other entries than frames say about the row's table."""

    def __init__(self, ref: RowRef, start: FoundRecord[Snapshot]) -> None:
        self._ref, self._start = ref, start
        self.oids: set[int] = set()
        """Every relation that ever bore the name."""
        self._seen: set[str] = set()
        """The names of all tables."""
        self.gaps: list[HistoryGap] = []
        self._columns: set[str] = set()
        self._copies: list[tuple[int, Snapshot, bool]] = []
        self._breaks: list[int] = []
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
                if self._ref.names(table.schema, table.name):
                    self.oids.add(table.oid)
                    self._columns |= {column.name for column in table.columns}
                    holder = table.oid
            self._holders.append((placed.first, Visible.of(schema), holder))
        elif run.kind in (Kind.PG_TABLES, Kind.CHECKPOINT):
            for entry, body in enumerate(run.bodies(), placed.first):
                if entry != self._start.ref.seq:
                    self._copy(entry, read_record(body, Snapshot, placed), baseline=run.kind is Kind.CHECKPOINT)
        elif run.kind is Kind.GAP:
            for entry, body in enumerate(run.bodies(), placed.first):
                self._gap(entry, read_record(body, Gap, placed))

    def require(self) -> None:
        """``Invalid`` when the table, or a column of the key, was never seen."""
        name = f"{self._ref.schema}.{self._ref.table}"
        if not self.oids:
            near = difflib.get_close_matches(name, sorted(self._seen), n=3, cutoff=0.75)
            found = f"did you mean {' or '.join(near)}?" if near else "`archiver restore --at latest --dry-run` lists the tables"
            raise Invalid(f"the journal has no table {name}", hint=found)
        missing = sorted(set(self._ref.key) - self._columns)
        if missing:
            raise Invalid(f"{name} has no column {missing[0]}", hint=f"its columns: {', '.join(sorted(self._columns))}")

    def logs(self, limit: Limit, era: int, files: FiledRows | None) -> list[RowLog]:
        """Readers of the row's changes in this era, one for each table; ``files``: they go on where these end, if it is the same era."""
        from_lsn = parse_lsn(self._start.record.lsn) if not era else 0
        key = self._ref.bytes
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
            if entry == self._start.ref.seq or _is_before(limit, entry, snapshot, lsn, last):
                era, holder = self.era(entry), next((oid for seq, _, oid in reversed(self._holders) if seq < entry), 0)
                for table in snapshot.tables:
                    named = self._ref.names(table.schema, table.name)
                    if table.oid in self.oids:
                        state = self.filed[1].get((entry, table.oid)) if entry <= self.filed[0] else await self._look_up(table, store)
                        hidden = not named and holder != table.oid
                        found.append(CopiedRow(era, entry, lsn, snapshot.taken, baseline, state, table.oid, hidden))
        return found

    def heard(self, era: int, oid: int, change: DecodedChange) -> HeardChange:
        """A change of the relation ``oid``, hidden when another one bore the name then."""
        if change.table == (self._ref.schema, self._ref.table):
            return HeardChange(era, change, oid)
        seen = [(self._sees(entry, visible, era, change), holder) for entry, visible, holder in self._holders]
        before = next((holder for sees, holder in reversed(seen) if not sees), 0)
        after = next((holder for sees, holder in seen if sees), 0)
        around = {before, after} - {0}
        # A TRUNCATE does not say which name its table had: the entries around it must do.
        others = around - {oid} if change.table is not None or oid not in around else set()
        return HeardChange(era, change, oid, bool(others))

    def _sees(self, entry: int, visible: Visible, era: int, change: DecodedChange) -> bool:
        """Whether a schema entry has the transaction of a change. Ids and LSNs mean something within one era only."""
        own = self.era(entry)
        return visible.sees(change.commit.xid, change.commit.commit_lsn) if own == era else own > era

    def _copy(self, entry: int, snapshot: Snapshot, *, baseline: bool) -> None:
        for table in snapshot.tables:
            if self._ref.names(table.schema, table.name):
                self.oids.add(table.oid)
                self._columns |= set(table.columns)
        self._copies.append((entry, snapshot, baseline))

    def _gap(self, entry: int, gap: Gap) -> None:
        if is_whole(gap) or gap.relation in self.oids or gap.what == f"table {self._ref.schema}.{self._ref.table}":
            text = f"{gap.what}: {gap.reason} {gap.detail}".strip()
            self.gaps.append(HistoryGap(self.era(entry), entry, gap.from_time, gap.from_position, text))
        if is_whole(gap) and entry > self._start.ref.seq:
            self._breaks.append(entry)

    async def _look_up(self, table: TableRows, store: Store) -> State | None:
        if not set(self._ref.key) <= set(table.columns):
            return None
        wanted = [(table.columns.index(column), bytes(escape(value))) for column, value in self._ref.bytes.items()]
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
