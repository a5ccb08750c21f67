"""Folded checkpoints of a real source: whatever is restored with them equals what is restored from the journal alone."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from archiver.clock import SystemClock
from archiver.journal.keys import CHECKPOINTS
from archiver.journal.reader import Reader
from archiver.maintenance.folding import Folded, fold_database
from archiver.replay.postgres.plan.plan import RestorePlan
from archiver.replay.postgres.write.plan_records import fold_changes, gather
from archiver.replay.postgres.write.table_rows import rows_of
from archiver.store.memory import MemoryStore
from tests.integration.capture.postgres.rig import SOURCE, Capture, capture
from tests.integration.replay.postgres.agents import CHANGES, FILL, SCHEMA
from tests.integration.replay.postgres.arrange import baseline, caught_up, plan, quiet, run


@pytest.fixture
def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


async def folded(made: Capture) -> Folded:
    """A checkpoint as near to the journal's end as can be."""
    return await fold_database(Reader(made.store), SystemClock(), SOURCE, behind_seconds=0)


async def rows(made: Capture, planned: RestorePlan) -> dict[str, list[bytes]]:
    """The rows of every table at a point, sorted."""
    reader = Reader(made.store)
    material = await gather(planned, reader)
    fold, summary = await fold_changes(planned, material, reader)
    assert summary.notes == []
    found = {}
    for table in material.schema.catalog.tables:
        if table.kind != "p" and table.mode != "excluded":
            text = b"".join([bytes(piece) async for piece in rows_of(fold, table, made.store).read()])
            found[f"{table.schema}.{table.name}"] = sorted(text.splitlines())
    return found


async def compare(made: Capture, points: list[str]) -> list[str]:
    """Restore ``points`` with the checkpoints and, from a copy of the archive without them, from the journal; which used a checkpoint."""
    bare = MemoryStore()
    for key in await made.store.list(""):
        if not key.startswith(CHECKPOINTS):
            await bare.put_if_absent(key, await made.store.get(key) or b"")
    alone = Capture(made.dsn, made.slot, bare)
    used = []
    for point in points:
        with_it, without = await plan(made, point), await plan(alone, point)
        assert await rows(made, with_it) == await rows(alone, without), point
        assert (with_it.gaps, with_it.approximations, with_it.not_included) == (without.gaps, without.approximations, without.not_included)
        assert (with_it.schema.ref, with_it.schema.certain) == (without.schema.ref, without.schema.certain), point
        assert (with_it.point.entry or without.point.entry, with_it.point.lsn) == (without.point.entry, without.point.lsn)
        assert (with_it.sequences_before, with_it.sequences_after) == (without.sequences_before, without.sequences_after)
        used.append(with_it.checkpoint.cause)
    return used


async def test_points_behind_a_checkpoint_are_as_without_it(database: str, slot: str) -> None:
    """Rows, schema, doubts and sequences at points before, at and behind two checkpoints, with changes of the schema between."""
    run(database, SCHEMA, FILL)
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        await asyncio.to_thread(run, database, *CHANGES)
        points = [await quiet(made, database)]
        run(database, "INSERT INTO lines (line) VALUES ('behind that point')")
        await quiet(made, database)
        first = await folded(made)
        assert (first.reason, bool(first.key)) == ("", True)
        assert first.kept > 0
        run(
            database,
            "UPDATE runs SET state = 'late' WHERE id % 7 = 0",
            "DELETE FROM ledger WHERE amount = 0",
            "INSERT INTO lines (line) VALUES ('x')",
        )
        points.append(await caught_up(made, database))
        run(database, "ALTER TABLE runs ADD noted text DEFAULT 'so'", "UPDATE runs SET noted = 'else' WHERE id < 9", "TRUNCATE events")
        points.append(await quiet(made, database))
        second = await folded(made)
        assert second.reason == ""
        assert second.entry > first.entry
        run(
            database,
            "ALTER TABLE runs RENAME noted TO remark",
            "UPDATE runs SET remark = NULL WHERE id = 3",
            "INSERT INTO events VALUES (1, 1, 'again')",
        )
        points.append(await quiet(made, database))
        points.append(str(made.writer.durable_seq))
        assert (await compare(made, points))[1:] == ["folded"] * 4
        again = await folded(made)
        assert again.reason == ""
        assert (await folded(made)).reason == "nothing has happened since the newest checkpoint"
