"""Maintenance of a real database's archive as it grows: folds, history files and passes of retention, beside each other, beside capture, and
killed after any request.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from typing import Any

import msgspec
import pytest

from archiver.capture.postgres.start import journal_view
from archiver.errors import ArchiverError
from archiver.journal import clock_doubts
from archiver.journal.boundary import Retired
from archiver.journal.entry import Kind
from archiver.journal.keys import IDENTITY, segment_key
from archiver.journal.reader import Reader
from archiver.journal.verifier import verify
from archiver.maintenance.database_history import add_database_history
from archiver.maintenance.folding import fold_database
from archiver.postgres.records import Snapshot
from archiver.retention.limits import RetentionLimits
from archiver.retention.retention import retain
from archiver.store.memory import MemoryStore
from tests.integration.capture.postgres.rig import SOURCE, Capture, capture
from tests.integration.replay.postgres.arrange import baseline, caught_up, plan, quiet, rows, run
from tests.simulation.loop import inline
from tests.unit.retention.test_random_clusters import Hand, Killed, Slow

pytestmark = [pytest.mark.postgres(18), pytest.mark.timeout(300)]

SEEDS, MORE_SEEDS = range(3), range(3, 12)
"""Others are tried by changing this. More than three only where one of the steps has not happened: what retention finds to do depends on
when the server wrote."""
STEPS = ("folded", "filed", "planned", "retired", "killed: fold", "killed: retain")
SCHEMA = (
    "CREATE TABLE runs (id int PRIMARY KEY, state text, big text)",
    "ALTER TABLE runs ALTER big SET STORAGE EXTERNAL",
    "CREATE TABLE ledger (who text, amount int)",
    "ALTER TABLE ledger REPLICA IDENTITY FULL",
    "CREATE TABLE lines (n serial PRIMARY KEY, line text)",
    "INSERT INTO runs SELECT n, 'new', repeat(n::text, 3000) FROM generate_series(1, 20) AS n",
    "INSERT INTO ledger SELECT 'a', n % 3 FROM generate_series(1, 9) AS n",
)
CHANGES = (
    "INSERT INTO runs SELECT coalesce(max(id), 0) + 1, 'new', repeat('x', 4000) FROM runs",
    "UPDATE runs SET state = state || 'u' WHERE id % 3 = 1",
    "UPDATE runs SET id = (SELECT max(id) + 1 FROM runs) WHERE id = (SELECT min(id) FROM runs)",
    "DELETE FROM runs WHERE id = (SELECT max(id) FROM runs)",
    "INSERT INTO ledger VALUES ('b', 7), ('b', 7)",
    "DELETE FROM ledger WHERE ctid = (SELECT min(ctid) FROM ledger)",
    "INSERT INTO lines (line) VALUES ('line')",
    "BEGIN; INSERT INTO lines (line) VALUES ('never'); ROLLBACK",
    "TRUNCATE ledger",
)
DEFINITIONS = (
    "ALTER TABLE runs ADD c{n} int DEFAULT {n}",
    "CREATE TABLE t{n} (id) AS SELECT g FROM generate_series(1, 5) AS g; ALTER TABLE t{n} ADD PRIMARY KEY (id)",
    "ALTER TABLE ledger ALTER amount TYPE bigint",
    "ALTER TABLE ledger RENAME amount TO amount{n}; ALTER TABLE ledger RENAME amount{n} TO amount",
    "DROP TABLE lines; CREATE TABLE lines (n serial PRIMARY KEY, line text)",
)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal of seconds: what is looked at near a time, and near the journal's end, is as short."""
    monkeypatch.setattr(clock_doubts, "NEAR", 1000)
    monkeypatch.setattr(journal_view, "SCHEMA_GAP_REACH", 2)


async def recorded(made: Capture, database: str, dice: random.Random) -> None:
    """Some seconds of life: changes, new definitions, and a slot that was lost."""
    await baseline(made)
    for number in range(36):
        for change in dice.sample(CHANGES, dice.randint(1, 3)):
            await asyncio.to_thread(run, database, change)
        if dice.random() < 0.2:
            await asyncio.to_thread(run, database, dice.choice(DEFINITIONS).format(n=number))
        await (quiet if dice.random() < 0.3 else caught_up)(made, database)
        if number == 20:
            before = made.writer.marks[SOURCE].checkpoint
            await made.stop()
            run(database, f"SELECT pg_drop_replication_slot('{made.slot}')")
            await made.start(wait=False)
            await made.until(lambda before=before: made.writer.marks[SOURCE].checkpoint > before)  # type: ignore[misc]
    await quiet(made, database)


class World:
    """The archive that was recorded, growing again, and all of it beside it."""

    def __init__(self, made: Capture, window: float) -> None:
        self.source = made.store
        self.archive, self.whole = (Capture(made.dsn, made.slot, MemoryStore(name)) for name in ("archive", "whole"))
        for each in (self.archive, self.whole):
            each.store.create(IDENTITY, self.source.peek(IDENTITY) or b"")
        self.there, self.window, self.clock = 0, window, Hand()
        self.limits = RetentionLimits(restore_seconds=window, grace_seconds=1e-6, most_share=1.0)

    async def grow(self, segments: int, last: int) -> None:
        """As capture does: what a segment names comes before it."""
        for number in range(self.there, min(last + 1, self.there + segments)):
            names = [segment_key(number)]
            async for placed in Reader(self.source).read(number, last=number):
                if placed.run.kind in (Kind.CHECKPOINT, Kind.PG_TABLES):
                    snapshots = [msgspec.json.decode(body, type=Snapshot) for body in placed.run.bodies()]
                    names[:0] = [part.key for each in snapshots for table in each.tables for part in table.parts]
            for name in names:
                await asyncio.sleep(0)
                for each in (self.archive, self.whole):
                    if each.store.peek(name) is None:
                        assert each.store.create(name, self.source.peek(name) or b"")
            self.there = number + 1
        tail = await Reader(self.whole.store).tail()
        assert tail is not None
        self.clock.time = max(self.clock.time, tail.time) + 1

    async def step(self, dice: random.Random) -> str:
        """One of the ways of maintenance, killed or not; what became of it."""
        store = Slow(self.archive.store, dice.randint(0, 150) if dice.random() < 0.4 else 1 << 30, dice)
        reader, what = Reader(store), dice.choice(["fold", "fold", "files", "retain", "retain", "retain"])
        try:
            if what == "fold":
                return "folded" if (await fold_database(reader, self.clock, SOURCE, until=await reader.last())).key else "not folded"
            if what == "files":
                await add_database_history(reader, self.clock, SOURCE)
                return "filed"
            return (await retain(store, self.clock, self.limits, offload=inline, least_segments=1)).state
        except Killed:
            return f"killed: {what}"
        except Retired:
            # What it was reading went meanwhile: the next time it begins elsewhere.
            return f"overtaken: {what}"

    async def seen(self, made: Capture, point: str) -> Any:
        """All that a restore could tell of a point, or the error. Gaps that were recorded later are left out: behind a checkpoint the plan errs
        towards them, since it does not look at announcements before it.
        """
        try:
            planned = await plan(made, point)
            found = await rows(made, planned)
        except ArchiverError as error:
            return error
        gaps = [gap for gap in planned.gaps if gap.seq <= int(point)]
        return found, gaps, planned.captured, planned.schema.ref, planned.schema.certain, planned.point.lsn

    async def check(self, dice: random.Random) -> int:
        """Every promised point is what it is with the whole journal; any other is, too, or is refused. How many were restored."""
        reader = Reader(self.whole.store)
        tail = await reader.tail()
        assert tail is not None
        oldest = min(tail.time, self.clock.time) - int(self.window * 1e6)
        number = await reader.bisect(lambda header: header.time > oldest)
        header = await reader.valid_before(number)
        promised = header.first + header.count - 1 if header is not None else 1
        restored = 0
        for entry in {tail.first + tail.count - 1, promised, *(dice.randint(1, tail.first + tail.count - 1) for _ in range(2))}:
            found, expected = await self.seen(self.archive, str(entry)), await self.seen(self.whole, str(entry))
            same = type(found) is type(expected) and str(found) == str(expected) if isinstance(found, ArchiverError) else found == expected
            assert same or (isinstance(found, ArchiverError) and entry < promised), (entry, promised, found)
            restored += not isinstance(found, ArchiverError)
        report = await verify(self.archive.store, deep=True)
        assert (report.ok, report.bad_checkpoints, report.strays) == (True, [], []), report.verdict
        return restored


async def story(made: Capture, seed: int, seconds: float, last: int) -> Counter[str]:
    """The archive grows, with maintenance between and beside; what happened."""
    dice = random.Random(seed)
    world, happened = World(made, dice.uniform(0.02, 0.6) * seconds), Counter[str]()
    while world.there <= last:
        await world.grow(dice.randint(2, 20), last)
        for _ in range(dice.randint(1, 3)):
            # Beside each other, and beside capture.
            beside = [world.grow(dice.randint(1, 4), last)] if dice.random() < 0.3 else []
            done = await asyncio.gather(*(world.step(dice) for _ in range(dice.randint(1, 2))), *beside)
            happened.update(each for each in done if each is not None)
        happened["restored"] += await world.check(dice)
    return happened


async def test_every_promised_point_of_a_database_stays(database: str) -> None:
    """Random changes of rows and definitions, and a slot that was lost, captured from a server; then the archive grows again, three times
    or more otherwise maintained, by one or two at a time.
    """
    run(database, *SCHEMA)
    happened = Counter[str]()
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await recorded(made, database, random.Random(7))
        await made.stop()
        tail = await Reader(made.store).tail()
        first = await Reader(made.store).header(0)
        assert tail is not None
        assert first is not None
        for seed in (*SEEDS, *MORE_SEEDS):
            if seed in MORE_SEEDS and all(happened[each] for each in STEPS):
                break
            try:
                happened += await story(made, seed, (tail.time - first.time) / 1e6, tail.number)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}") from error
    assert min(happened[each] for each in STEPS) > 0, happened
    assert happened["restored"] > 50, happened
