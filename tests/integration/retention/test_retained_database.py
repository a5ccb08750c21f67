"""Retention of a real database's archive: what is promised is restored as from the whole journal, and capture goes on."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from archiver.capture.postgres.start import journal_view
from archiver.clock import SystemClock
from archiver.errors import Refused
from archiver.history.row_at import row_at
from archiver.history.row_ref import RowRef
from archiver.journal import clock_doubts
from archiver.journal.boundary import Retired, newest_boundary
from archiver.journal.keys import CHECKPOINTS, PARTS, SEGMENTS
from archiver.journal.reader import Reader
from archiver.journal.verifier import verify
from archiver.journal.verify_levels import verify_level
from archiver.maintenance.database_history import add_database_history
from archiver.maintenance.folding import fold_database
from archiver.replay.points import parse_point, resolve
from archiver.replay.postgres.plan.point_location import first_checkpoint
from archiver.retention.limits import RetentionLimits
from archiver.retention.retention import Outcome, retain
from archiver.store.memory import MemoryStore
from tests.integration.capture.postgres.rig import SOURCE, Capture, capture
from tests.integration.replay.postgres.agents import CHANGES, FILL, SCHEMA
from tests.integration.replay.postgres.arrange import baseline, plan, quiet, rows, run


@pytest.fixture
def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal of seconds: what is looked at near a time, and near the journal's end, is as short."""
    monkeypatch.setattr(clock_doubts, "NEAR", 1000)
    monkeypatch.setattr(journal_view, "SCHEMA_GAP_REACH", 2)


async def folded(made: Capture) -> None:
    reader = Reader(made.store)
    assert (await fold_database(reader, SystemClock(), SOURCE, until=await reader.last())).reason == ""


async def copied(made: Capture) -> Capture:
    """The archive as it is now."""
    whole = MemoryStore()
    for key in made.store.names("", "", None):
        whole.create(key, made.store.peek(key) or b"")
    return Capture(made.dsn, made.slot, whole)


async def later(made: Capture) -> None:
    """Two segments later."""
    last = made.writer.durable_segment
    await made.until(lambda: made.writer.durable_segment > last + 1)


async def one_pass(made: Capture, since: int) -> Outcome:
    """A pass that promises every point from ``since`` on."""
    clock = SystemClock()
    tail = await Reader(made.store).tail()
    assert tail is not None
    window = (min(clock.now(), tail.time) - since) / 1e6
    limits = RetentionLimits(restore_seconds=window, grace_seconds=0.001, most_share=1.0)
    return await retain(made.store, clock, limits, offload=asyncio.to_thread, least_segments=3)


async def test_promised_points_are_as_before(database: str, slot: str) -> None:
    """Four checkpoints, of which the oldest goes with the journal before it: points behind are the same, one before is refused; capture
    starts again and is folded again; verify finds all of it whole.
    """
    run(database, SCHEMA, FILL)
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        await asyncio.to_thread(run, database, *CHANGES)
        points, times = [], []
        for number in range(5):
            run(database, f"INSERT INTO lines (line) VALUES ('round {number}')", f"UPDATE runs SET state = 'r{number}' WHERE id % 3 = 0")
            if number == 2:
                run(database, "ALTER TABLE runs ADD noted text DEFAULT 'so'")
            points.append(await quiet(made, database))
            await folded(made)
            points.append(str(made.writer.durable_seq))
            times.append(made.writer.last_commit)
        whole = await copied(made)
        before = {prefix: set(made.store.names(prefix, "", None)) for prefix in (SEGMENTS, CHECKPOINTS, PARTS)}
        assert (await one_pass(made, times[3])).state == "planned"
        assert await newest_boundary(made.store) is None
        last = made.writer.durable_segment
        await made.until(lambda: made.writer.durable_segment > last)
        done = await one_pass(made, times[3])
        assert done.state == "retired", done
        assert done.checkpoints > 0
        # Heartbeats are written meanwhile: what was there is looked for, not how much there is.
        gone = {prefix: len(names.difference(made.store.names(prefix, "", None))) for prefix, names in before.items()}
        assert min(gone[SEGMENTS], gone[CHECKPOINTS]) > 0, gone
        for point in points[-3:]:
            one, other = await plan(made, point), await plan(whole, point)
            assert await rows(made, one) == await rows(whole, other), point
            assert (one.gaps, one.captured, one.schema.ref) == (other.gaps, other.captured, other.schema.ref)
        with pytest.raises(Refused, match="was retired"):
            await plan(made, points[1])
        await made.stop()
        await made.start()
        run(database, "UPDATE runs SET state = 'last'", "CREATE TABLE later (id int PRIMARY KEY)", "INSERT INTO later VALUES (1)")
        point = await quiet(made, database)
        await folded(made)
        assert (await rows(made, await plan(made, point)))["public.later"] == [b"1"]
        report = await verify(made.store, deep=True)
        assert (report.ok, report.bad_checkpoints, report.strays) == (True, [], []), report.verdict
        assert report.boundary
        assert [each.from_time for each in report.restorable] == [times[3]] or report.restorable
        for level in ("names", "hashes", "share"):
            assert (await verify_level(made.store, level=level)).ok


async def test_rows_are_shown_without_the_first_baseline(database: str, slot: str) -> None:
    """The slot was lost and all was copied anew; what is before that goes, and history files stay, which began there."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'first')")
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        await add_database_history(Reader(made.store), SystemClock(), SOURCE)
        before = made.writer.marks[SOURCE].checkpoint
        await made.stop()
        run(database, f"SELECT pg_drop_replication_slot('{slot}')")
        await made.start(wait=False)
        await made.until(lambda: made.writer.marks[SOURCE].checkpoint > before)
        times = []
        for number in range(4):
            run(database, f"UPDATE t SET v = 'v{number}'")
            await quiet(made, database)
            await folded(made)
            await add_database_history(Reader(made.store), SystemClock(), SOURCE)
            times.append(made.writer.last_commit)
            await later(made)
        for state in ("planned", "retired"):
            await later(made)
            assert (await one_pass(made, times[3])).state == state
        reader = Reader(made.store)
        with pytest.raises(Retired):
            await first_checkpoint(reader, SOURCE)
        found = await row_at(reader, SOURCE, RowRef.parse("public.t", ["id=1"]), await resolve(reader, parse_point("latest")))
        assert (found.state, found.gaps) == ({"id": "1", "v": "v3"}, [])
