"""A restore knows an announcement of our event trigger from one that anybody sent, and says a gap where the change was never looked at."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import psycopg
import pytest

from archiver.capture.postgres.watch import schema_watcher
from archiver.capture.postgres.watch.database_poll import DatabasePoll
from archiver.journal.entry import Kind
from tests.integration.capture.postgres.rig import Capture, capture
from tests.integration.replay.postgres.arrange import ask, baseline, caught_up, plan, quiet, run

IN_DOUBT = "announced changes before the point are not in it"


@pytest.fixture
async def made(database: str) -> AsyncIterator[Capture]:
    run(database, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        await quiet(made, database)
        yield made


@contextlib.asynccontextmanager
async def blind(monkeypatch: pytest.MonkeyPatch, made: Capture) -> AsyncIterator[None]:
    """Nothing is looked at any more."""
    begun = asyncio.Event()

    async def endless(*_: object) -> DatabasePoll:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(schema_watcher, "poll_database", endless)
        assert made.source._watcher is not None
        made.source._watcher.ddl_seen()
        await begun.wait()
        yield


async def test_what_was_announced_and_not_looked_at_before_the_end_is_a_gap(
    made: Capture, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in between: the plan names the change. The next start finds it, and the point is exact."""
    before = await caught_up(made, database)
    async with blind(monkeypatch, made):
        run(database, "CREATE VIEW unseen AS SELECT 1 AS one")
        behind = await caught_up(made, database)
        await made.crash()
    for point in (behind, "latest"):
        planned = await plan(made, point)
        [gap] = planned.gaps
        assert (gap.what, gap.reason, planned.schema.certain) == ("schema", "schema_uncertain", False)
        assert "CREATE VIEW public.unseen" in gap.detail
        assert not any("the schema" in text for text in planned.approximations)
    assert (await plan(made, before)).gaps == []
    await made.start()
    await quiet(made, database)
    planned = await plan(made, behind)
    assert (planned.schema.certain, planned.gaps) == (True, [])
