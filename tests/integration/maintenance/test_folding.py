"""Folded checkpoints of a real source: whatever is restored with them equals what is restored from the journal alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from pathlib import Path

import msgspec
import pytest

from archiver.clock import SystemClock
from archiver.journal.entry import Kind, Run
from archiver.journal.keys import CHECKPOINTS, checkpoint_key
from archiver.journal.reader import Reader
from archiver.maintenance.folded import Folded
from archiver.maintenance.folding import fold_database
from archiver.replay.postgres.plan.checkpoint_choice import decode_checkpoint
from archiver.replay.postgres.write.plan_records import gather
from archiver.store.directory import DirectoryStore
from archiver.store.memory import MemoryStore
from tests.integration.capture.postgres.rig import SOURCE, Capture, capture
from tests.integration.replay.postgres.agents import CHANGES, FILL, SCHEMA
from tests.integration.replay.postgres.arrange import ask, baseline, caught_up, plan, quiet, rows, run


@pytest.fixture
def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


async def folded(made: Capture) -> Folded:
    """A checkpoint as near to the journal's end as can be."""
    reader = Reader(made.store)
    return await fold_database(reader, SystemClock(), SOURCE, until=await reader.last())


async def compare(made: Capture, points: list[str]) -> list[str]:
    """Restore ``points`` with the checkpoints and, from a copy of the archive without them, from the journal; which used a checkpoint."""
    # Both as they are now: what is still being captured would be seen by the one and not by the other.
    whole, bare = MemoryStore(), MemoryStore()
    for key in await made.store.list(""):
        body = await made.store.get(key) or b""
        await whole.put_if_absent(key, body)
        if not key.startswith(CHECKPOINTS):
            await bare.put_if_absent(key, body)
    folded_too, alone = Capture(made.dsn, made.slot, whole), Capture(made.dsn, made.slot, bare)
    used = []
    for point in points:
        with_it, without = await plan(folded_too, point), await plan(alone, point)
        assert await rows(folded_too, with_it) == await rows(alone, without), point
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


async def test_an_idle_database_is_carried_forward(database: str, slot: str) -> None:
    """Where others' segments stand behind its checkpoint and nothing of its own, that is made anew behind them, and points behind it are as
    without it; not while part of a transaction was sent, whose end comes later.
    """
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE SEQUENCE numbers")
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        run(database, "INSERT INTO t SELECT g, 'old' FROM generate_series(1, 50) g")
        await quiet(made, database)
        first = await folded(made)
        assert first.reason == ""
        # What is waited for by a message of its own may be on its way still.
        await made.reached(str(ask(database, "SELECT pg_current_wal_flush_lsn()::text")))
        while not (last := await folded(made)).reason:
            first = last

        async def carried() -> Folded:
            for _ in range(3):
                other = Run.of("other", Kind.PROGRESS, [b""], observed=SystemClock().now())
                await made.writer.durable(await made.writer.append(other))
            reader = Reader(made.store)
            return await fold_database(reader, SystemClock(), SOURCE, until=await reader.last(), idle_segments=2)

        # A reading of the sequences may stand ahead of the stream, and nothing is made there.
        while (second := await carried()).reason:
            assert "written before it" in second.reason
        assert (second.reason, second.transactions, second.written) == ("", 0, 0)
        assert second.entry > first.entry
        points = [str(made.writer.durable_seq)]
        run(database, "UPDATE t SET v = 'new' WHERE id < 9", "SELECT nextval('numbers')")
        points.append(await quiet(made, database))
        run(database, "ALTER TABLE t ADD w int DEFAULT 3", "DELETE FROM t WHERE id = 7")
        points.append(await quiet(made, database))
        assert (await compare(made, points)) == ["folded"] * 3
        assert (await plan(made, points[0])).checkpoint.key == second.key


async def test_a_checkpoint_that_is_none_costs_time_only(database: str, slot: str) -> None:
    """One that cannot be read, is of another journal, or stands under another's name is passed over; the copy in the journal serves."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT g, 'old' FROM generate_series(1, 50) g")
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        run(database, "UPDATE t SET v = 'new' WHERE id % 2 = 0")
        await quiet(made, database)
        first = await folded(made)
        whole = await made.store.get(first.key) or b""
        run(database, "DELETE FROM t WHERE id = 1")
        point = await quiet(made, database)
        assert (await compare(made, [point])) == ["folded"]
        chain = decode_checkpoint(whole, key=first.key, archive=made.writer.archive, source=SOURCE, entry=first.entry).chain
        for body in (
            b"",
            b"{}",
            b"\xff",
            whole[:-9],
            whole.replace(chain.encode(), b"00" * 32),
            whole.replace(b'"format":1', b'"format":2'),
        ):
            await made.store.delete(first.key)
            await made.store.put_if_absent(first.key, body)
            assert (await compare(made, [point])) == ["baseline"]
        await made.store.delete(first.key)
        await made.store.put_if_absent(checkpoint_key(SOURCE, first.entry + 1), whole)
        await made.store.put_if_absent(f"{CHECKPOINTS}{SOURCE}/stranger", whole)
        assert (await compare(made, [point])) == ["baseline"]


async def test_a_copy_with_an_older_view_undercuts_a_checkpoint(database: str, slot: str) -> None:
    """A copy that is recorded behind a checkpoint, of a table as it was before it, needs transactions from before: an older beginning serves."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT g, 'old' FROM generate_series(1, 50) g")
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        started = await plan(made, str(made.writer.durable_seq))
        copy = (await gather(started, Reader(made.store))).checkpoint
        run(database, "UPDATE t SET v = 'new' WHERE id % 2 = 0", "DELETE FROM t WHERE id = 3")
        await quiet(made, database)
        assert (await folded(made)).reason == ""
        late = msgspec.structs.replace(copy, cause="table_rewritten", floor=copy.lsn)
        await made.writer.append(Run.of(SOURCE, Kind.PG_TABLES, [msgspec.json.encode(late)], observed=SystemClock().now()))
        run(database, "INSERT INTO t VALUES (99, 'late')")
        assert (await compare(made, [await quiet(made, database)])) == ["baseline"]


async def test_the_command_says_what_it_did(database: str, slot: str, tmp_path: Path) -> None:
    """One line for each step, as a table and as JSON; a second run finds nothing to do."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY)")
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        run(database, "INSERT INTO t SELECT generate_series(1, 9)")
        await quiet(made, database)
        store = DirectoryStore(tmp_path)
        for key in await made.store.list(""):
            await store.put_if_absent(key, await made.store.get(key) or b"")
    command = [sys.executable, "-m", "archiver", "--archive", tmp_path.as_uri(), "maintain", "--behind", "0"]
    done = await asyncio.to_thread(subprocess.run, [*command, "--json"], capture_output=True, text=True, check=True)
    first, last = msgspec.json.decode(done.stdout)
    assert (first["source"], first["reason"], first["rows"]) == (SOURCE, "", 9)
    assert last["reason"] == "nothing has happened since the newest checkpoint"
    again = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    assert "nothing has happened" in " ".join(again.stdout.split())
    assert "--behind" not in again.stdout
    usual = await asyncio.to_thread(subprocess.run, command[:-2], capture_output=True, text=True, check=True)
    assert "up to 240 s before the journal's end (--behind)" in usual.stdout
    wrong = await asyncio.to_thread(subprocess.run, [*command, "--source", "none"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, "the archive has no source 'none'" in wrong.stderr) == (2, True)
