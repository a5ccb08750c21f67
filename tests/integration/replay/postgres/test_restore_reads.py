"""What a restore asks the store for: the journal once, and many of its segments at a time."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import nullcontext
from pathlib import Path

import psycopg
import pytest

from archiver.clock import SystemClock, to_text
from archiver.journal.kept_segments import KeptSegments
from archiver.journal.keys import SEGMENTS
from archiver.journal.marks import mark_run
from archiver.journal.reader import Reader
from archiver.replay.restoration import Options
from archiver.restore import carry_out, close_plans, make_plans
from archiver.store.memory import MemoryStore
from tests.integration.capture.postgres.rig import capture
from tests.integration.replay.postgres.arrange import baseline, quiet, run

pytestmark = pytest.mark.postgres(18)

SEGMENTS_BETWEEN = 600
FEW = 80
"""Requests that find the end, the point and the checkpoint, however long the journal is."""


class CountingStore(MemoryStore):
    """Answers a little late, and knows what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.gets = self.bytes = self.waiting = self.most = 0

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        found = await super().get(key, start, length)
        if key.startswith(SEGMENTS):
            self.gets += 1
            self.bytes += len(found or b"")
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0.001)
        self.waiting -= 1
        return found


@pytest.mark.parametrize("at", ["latest", "a time"])
async def test_the_journal_is_read_once(at: str, database: str, target_database: str, tmp_path: Path) -> None:
    """Plan and fold together ask for each segment once; what was read twice before is read from this machine's disk."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT g, 'old' FROM generate_series(1, 500) g")
    store = CountingStore()
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", store) as made:
        await baseline(made)
        for number in range(SEGMENTS_BETWEEN):
            await made.writer.durable(await made.writer.append(mark_run(f"m{number}", SystemClock().now())))
            if number % 100 == 0:
                run(database, f"UPDATE t SET v = 'new {number}' WHERE id % 3 = {number // 100 % 3}")
        await quiet(made, database)
        point = at if at == "latest" else to_text(SystemClock().now())
        await quiet(made, database)
        await made.stop()
    segments = [store.peek(key) or b"" for key in await store.list(SEGMENTS)]
    assert len(segments) > SEGMENTS_BETWEEN
    store.gets = store.bytes = store.most = 0
    with KeptSegments(tmp_path) as kept:
        plans = await make_plans(Reader(store, kept=kept), point, [f"db={target_database}"], [], Options(), SystemClock())
        [done] = await carry_out(plans, Options(left_out=tmp_path), lambda _: nullcontext(lambda *_: None))
        await close_plans(plans)
    assert done.problems == []
    assert store.gets <= 1.1 * len(segments) + FEW, (store.gets, len(segments))
    assert store.bytes <= 1.1 * sum(map(len, segments)) + FEW * 8192, (store.bytes, sum(map(len, segments)))
    assert store.most > 30
    rows = "SELECT count(*), sum(hashtext(t::text)) FROM t"
    with psycopg.connect(database) as source, psycopg.connect(target_database) as target:
        assert target.execute(rows).fetchone() == source.execute(rows).fetchone()
