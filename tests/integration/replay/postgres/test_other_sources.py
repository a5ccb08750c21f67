"""A database beside many other streams: segments that are none of its own carry marks of those alone."""

from __future__ import annotations

import uuid

import pytest

from archiver.clock import SystemClock
from archiver.journal.changed_marks import ChangedMarks
from archiver.journal.entry import Kind, Run
from archiver.replay.postgres.plan.state_at_point import StateAtPoint
from tests.integration.capture.postgres.rig import capture
from tests.integration.replay.postgres.arrange import baseline, caught_up, plan, run

pytestmark = pytest.mark.postgres(18)


def heard(source: str) -> Run:
    """Nothing happened at another source."""
    return Run.of(source, Kind.PROGRESS, [b""], observed=SystemClock().now())


async def test_what_stands_behind_a_point_is_read_with_all_marks(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the schema is known only later, the plan reads on, over segments in which nothing of the database changed."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY)")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", ddl="poll", poll_seconds=60, heartbeat_seconds=60) as made:
        await baseline(made)
        for number in range(12):
            await made.writer.append(heard(f"other-{number}"))
        run(database, "INSERT INTO t VALUES (1)")
        await caught_up(made, database)
        point = made.writer.durable_seq
        bases = []
        for _ in range(30):
            await made.writer.durable(await made.writer.append(heard("other-1")))
            header = await made.writer.reader()._plain(made.writer.durable_segment)
            bases.append(header is not None and isinstance(header.sources, ChangedMarks))
        assert any(bases)
        planned = await plan(made, str(point))
        # The newest segment with all marks is behind the point. Nothing makes the point known, so that all is read.
        monkeypatch.setattr(StateAtPoint, "is_known", lambda *_, **__: False)
        assert (await plan(made, str(point))).point == planned.point
