"""History of one PostgreSQL row: every state it had, and what changed from one to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.history.filed_rows import FiledRows
from archiver.history.row_ref import RowRef
from archiver.history.row_states import HeardChange, RowChange, states
from archiver.history.table_history import TableHistory, heard_in, in_order, listen
from archiver.lake.history_table import open_history
from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import Snapshot
from archiver.replay.points import Point, resolve
from archiver.replay.postgres.decode.commits import Limit
from archiver.replay.postgres.plan.journal_survey import FoundRecord
from archiver.replay.postgres.plan.point_location import checkpoint_at, end_segment, first_checkpoint, limit_of, no_baseline, require_mark

if TYPE_CHECKING:
    from archiver.journal.reader import Reader

__all__ = ["RowChange", "RowRef", "row_log"]


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
    told = TableHistory(ref, start)
    # Behind the point, copies that have nothing from behind it are of interest: one more segment.
    await listen(reader, source, told, first, min(last + 1, tail.number))
    told.require()
    limit = limit_of(until)
    heard = await heard_in(reader, source, told, limit, (first, last))
    return states(ref.key, sorted(heard, key=in_order), await told.copies(limit, heard, reader.store), told.gaps) + told.notes()


async def _filed_log(
    reader: Reader, source: str, ref: RowRef, start: FoundRecord[Snapshot], until: tuple[Limit, int, int], files: FiledRows
) -> list[RowChange] | None:
    """``row_log`` from files and the tail behind them; ``None`` when they do not tell."""
    told = TableHistory(ref, start)
    heard = await filed_changes(reader, source, told, until, files)
    if heard is None:
        return None
    return states(ref.key, heard, await told.copies(until[0], heard, reader.store), told.gaps) + told.notes()


async def filed_changes(
    reader: Reader, source: str, told: TableHistory, until: tuple[Limit, int, int], files: FiledRows
) -> list[HeardChange] | None:
    """What is heard of the row, in order, from files and the tail behind them, while ``told`` takes what other entries say of its table;
    ``None`` when they do not tell.

    ``until``: the limit, its last segment, and the journal's.
    """
    (limit, last, end), start, progress = until, told.start, files.progress
    entries = await files.entries(last=last + 1)
    if entries is None:
        return None
    for placed in entries:
        if placed.first >= start.record.replay_from:
            told.take(placed)
    if last + 1 >= progress.segment:
        await listen(reader, source, told, progress.segment, min(last + 1, end))
    told.require()
    header = await reader.header(last)
    last_entry = header.first + header.count - 1 if header else 0
    filed = await files.row(told.oids, told.ref.key, (told.ref.schema, told.ref.table), limit, last_entry)
    if filed is None:
        return None
    heard, from_lsn = list[HeardChange](), parse_lsn(start.record.lsn)
    for oid, change in filed.changes:
        era = told.era(change.commit.seq)
        if change.commit.seq >= start.record.replay_from and (era or change.commit.commit_lsn >= from_lsn):
            heard.append(told.heard(era, oid, change))
    if last >= progress.segment and not files.reach(limit):
        heard += await heard_in(reader, source, told, limit, (progress.resume_segment, last), files)
    told.filed = (progress.covered, filed.copied)
    return sorted(heard, key=in_order)


async def _start(reader: Reader, source: str, point: Point | None, last: int) -> FoundRecord[Snapshot]:
    if point is not None:
        return await checkpoint_at(reader, source, point, min(await end_segment(reader, source, point), last))
    found = await first_checkpoint(reader, source)
    if found is None:
        raise no_baseline(source)
    return found
