"""Gaps of tables in the journal, and when their tables may be copied."""

from __future__ import annotations

import msgspec

from archiver.capture.postgres.catalog.horizon import Horizon
from archiver.capture.postgres.watch.table_gaps import TableGaps
from archiver.journal.entry import Kind
from archiver.journal.records import Gap
from archiver.postgres.records import Catalog, Column, Table
from tests.unit.capture.postgres.watch.recording_writer import RecordingWriter
from tests.unit.capture.set_clock import SetClock

TABLE = Table(10, "public", "t", "r", "p", "d", 100, "key", [Column(1, "id", "integer", 23)], [1])
OTHER = msgspec.structs.replace(TABLE, oid=11, name="u")
NONE: frozenset[int] = frozenset()


def opened(writer: RecordingWriter, clock: SetClock, floor: str = "0/10") -> TableGaps:
    return TableGaps("db", writer, clock, Horizon(floor), interval_seconds=600)


def gaps(writer: RecordingWriter) -> list[Gap]:
    return [msgspec.json.decode(body, type=Gap) for run in writer.runs for body in run.bodies()]


async def test_a_gap_is_journaled_once_until_the_table_was_copied() -> None:
    """It begins where nothing can be unseen, or where its finder says; a second mark of an open gap adds no entry."""
    writer = RecordingWriter()
    tables = opened(writer, SetClock())
    await tables.mark(TABLE, "table_added", "new")
    await tables.mark(TABLE, "table_rewritten", "again")
    await tables.mark(OTHER, "table_added", "new", since="0/8")
    assert writer.kinds == [Kind.GAP, Kind.GAP]
    assert [(gap.what, gap.reason, gap.from_position) for gap in gaps(writer)] == [
        ("table public.t", "table_added", "0/10"),
        ("table public.u", "table_added", "0/8"),
    ]
    assert (tables.pending, tables.recorded) == ([10, 11], 2)
    assert tables.journaled(Catalog([TABLE, OTHER])) == NONE


async def test_a_table_is_ready_when_those_have_ended_that_may_not_have_seen_it_join() -> None:
    """And when it may be read."""
    tables = opened(RecordingWriter(), SetClock())
    await tables.mark(TABLE, "table_added", "new", waits=frozenset({7}))
    assert tables.waits
    assert tables.ready(frozenset({7}), NONE) == {}
    assert tables.ready(NONE, frozenset({10})) == {}
    assert list(tables.ready(frozenset({8}), NONE)) == [10]
    tables.hold(10, frozenset({8}))
    assert tables.ready(frozenset({8}), NONE) == {}


async def test_what_became_stale_again_while_it_was_copied_gets_a_gap_of_its_own() -> None:
    """The copy's entry ended the first one."""
    writer = RecordingWriter()
    tables = opened(writer, SetClock())
    await tables.mark(TABLE, "table_added", "new")
    began = tables.ready(NONE, NONE)[10].round
    await tables.mark(TABLE, "table_rewritten", "meanwhile")
    await tables.copied(10, began, at=1000.0)
    assert [gap.reason for gap in gaps(writer)] == ["table_added", "table_rewritten"]
    await tables.copied(10, tables.ready(NONE, NONE)[10].round, at=1001.0)
    assert (tables.pending, tables.recorded) == ([], 2)
    assert tables.journaled(Catalog([TABLE])) == {10}


async def test_insert_only_tables_are_copied_no_more_often_than_the_settings_say() -> None:
    """Their gap is journaled at once, their copy waits."""
    clock = SetClock()
    tables = opened(RecordingWriter(), clock)
    await tables.mark(TABLE, "updates_not_published", "", cause="updates_not_published")
    await tables.copied(10, tables.ready(NONE, NONE)[10].round, at=clock.seconds)
    await tables.mark(TABLE, "updates_not_published", "", cause="updates_not_published")
    clock.seconds += 599
    assert tables.ready(NONE, NONE) == {}
    clock.seconds += 2
    assert list(tables.ready(NONE, NONE)) == [10]


async def test_a_table_that_is_captured_no_more_is_forgotten() -> None:
    """Nobody waits for its copy."""
    tables = opened(RecordingWriter(), SetClock())
    await tables.mark(TABLE, "table_added", "new")
    tables.keep_only(Catalog([msgspec.structs.replace(TABLE, mode="excluded")]))
    assert tables.pending == []
