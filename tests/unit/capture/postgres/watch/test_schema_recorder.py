"""Which schema the journal has."""

from __future__ import annotations

import msgspec

from archiver.capture.postgres.baseline.schema_entry import SchemaEntry
from archiver.capture.postgres.catalog.catalog import ObservedCatalog
from archiver.capture.postgres.catalog.horizon import Horizon
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.watch.publication_keeper import PublicationKeeper
from archiver.capture.postgres.watch.schema_recorder import LOOK_SECONDS, SchemaRecorder
from archiver.capture.postgres.watch.stale_marker import StaleMarker
from archiver.capture.postgres.watch.table_gaps import TableGaps
from archiver.capture.postgres.watch.write_counts import WriteCounts
from archiver.journal.entry import Kind
from archiver.postgres.records import Catalog, Column, Look, Schema, Table
from tests.unit.capture.postgres.watch.recording_writer import RecordingWriter
from tests.unit.capture.set_clock import SetClock

TABLE = Table(10, "public", "t", "r", "p", "d", 100, "key", [Column(1, "id", "integer", 23)], [1], member="a")
CATALOG = Catalog([TABLE])
KNOWN = Schema("0/1", "1:1:", 1, "baseline", 160000, "pg_dump", CATALOG, fingerprint="f")


def opened(writer: RecordingWriter, known: Schema | None, clock: SetClock | None = None) -> tuple[SchemaRecorder, TableGaps]:
    gaps = TableGaps("db", writer, SetClock(), Horizon(), interval_seconds=0)
    publications = PublicationKeeper("db", PostgresConfig(dsn="", slot="s"), StaleMarker(gaps), known.catalog if known else None)
    return SchemaRecorder("db", writer, clock or SetClock(), gaps, WriteCounts(None), publications, known), gaps


def taken(cause: str = "ddl") -> SchemaEntry:
    return SchemaEntry(msgspec.structs.replace(KNOWN, cause=cause, fingerprint="g"), b"dump", ObservedCatalog(CATALOG, {}))


def recorded(writer: RecordingWriter) -> list[Schema]:
    return [msgspec.json.decode(next(run.bodies()), type=Schema) for run in writer.runs if run.kind is Kind.PG_SCHEMA]


async def test_a_baselines_schema_counts_as_recorded_any_other_is_taken_anew() -> None:
    """A start journals what it begins with."""
    for cause, fingerprint in (("baseline", "f"), ("ddl", "")):
        recorder, _ = opened(RecordingWriter(), msgspec.structs.replace(KNOWN, cause=cause))
        assert (recorder.fingerprint, recorder.catalog) == (fingerprint, CATALOG)


async def test_an_entry_has_the_dump_the_members_and_what_is_to_be_copied() -> None:
    """Its number is that of its last body."""
    writer = RecordingWriter()
    recorder, gaps = opened(writer, KNOWN)
    await gaps.mark(TABLE, "table_rewritten", "")
    told = [recorder.pending_recorded]
    assert await recorder.record(taken(), exact=True) == 3
    (schema,) = recorded(writer)
    assert (schema.catalog.pending, schema.catalog.tables[0].member) == ([10], "a")
    assert [*told, recorder.pending_recorded] == [False, True]
    assert recorder.fingerprint == "g"


async def test_a_look_is_journaled_now_and_then() -> None:
    """Not soon after a schema, and not for every round."""
    writer, clock = RecordingWriter(), SetClock()
    recorder, _ = opened(writer, KNOWN, clock)
    await recorder.record(taken(), exact=True)
    for seconds in (1, LOOK_SECONDS, 1, LOOK_SECONDS):
        clock.seconds += seconds
        await recorder.looked(Look("0/50", 5))
    looks = [msgspec.json.decode(next(run.bodies()), type=Look) for run in writer.runs if run.kind is Kind.PG_LOOK]
    assert looks == [Look("0/50", 5)] * 2


async def test_a_look_that_settles_what_was_announced_is_journaled_at_once() -> None:
    """As soon as it bounds the announcement, and once; a schema entry settles it too."""
    writer, clock = RecordingWriter(), SetClock()
    recorder, _ = opened(writer, KNOWN, clock)
    await recorder.record(taken(), exact=True)
    recorder.announced("0/50")
    for floor in ("0/4F", "0/50", "0/60"):
        await recorder.looked(Look(floor, 5))
    recorder.announced("0/70")
    await recorder.record(taken(), exact=True)
    await recorder.looked(Look("0/80", 5))
    looks = [msgspec.json.decode(next(run.bodies()), type=Look) for run in writer.runs if run.kind is Kind.PG_LOOK]
    assert looks == [Look("0/50", 5)]


async def test_a_look_settles_what_its_snapshot_saw_beside_a_transaction_that_stays_open() -> None:
    """Its floor cannot pass that one. What does not say its transaction waits for the floor."""
    writer, clock = RecordingWriter(), SetClock()
    recorder, _ = opened(writer, KNOWN, clock)
    await recorder.record(taken(), exact=True)
    recorder.announced("0/50", {7, 9})
    settled = []
    for visible in ("5:10:5,9", "5:12:5"):
        await recorder.looked(Look("0/10", 5, end="0/60", visible=visible))
        settled.append(recorder.settled)
    recorder.announced("0/70", {11, None})
    await recorder.looked(Look("0/10", 5, end="0/80", visible="5:14:5"))
    assert [*settled, recorder.settled] == [False, True, False]
    looks = [msgspec.json.decode(next(run.bodies()), type=Look) for run in writer.runs if run.kind is Kind.PG_LOOK]
    assert [look.visible for look in looks] == ["5:12:5"]


async def test_a_dump_that_ddl_overtook_is_taken_once_more() -> None:
    """Nothing counts as its fingerprint."""
    recorder, _ = opened(RecordingWriter(), KNOWN)
    await recorder.record(taken(), exact=False)
    assert recorder.fingerprint == ""


async def test_an_entry_is_repeated_when_other_tables_are_to_be_copied() -> None:
    """Only one that was recorded here has its dump at hand."""
    writer = RecordingWriter()
    recorder, gaps = opened(writer, KNOWN)
    assert not await recorder.repeat()
    await recorder.record(taken(), exact=True)
    await gaps.mark(TABLE, "table_rewritten", "")
    assert await recorder.repeat()
    assert [schema.catalog.pending for schema in recorded(writer)] == [[], [10]]
