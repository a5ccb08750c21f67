"""A time up to which the journal does not know everything yet is refused, or waited for; what is known is not."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path

import pytest

from archiver.clock import SystemClock, to_text
from archiver.journal.reader import Reader
from archiver.replay.points import NotReached
from archiver.replay.restoration import Options
from archiver.restore import make_plans_once_reached
from tests.integration.capture.postgres.rig import SOURCE, capture
from tests.integration.replay.postgres.arrange import baseline, caught_up, plan, run
from tests.integration.service.rig import captured, create_table, database_source
from tests.servers.archiver import Archiver

pytestmark = pytest.mark.postgres(18)

HOUR = 3_600_000_000


async def test_the_future_is_refused_and_a_silent_source_is_known_to_be_silent(database: str) -> None:
    """Behind the end: refused. Behind the last commit, once the server has said that nothing else happened: exact."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY)")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}") as made:
        await baseline(made)
        run(database, "INSERT INTO t VALUES (1)")
        await caught_up(made, database)
        with pytest.raises(NotReached):
            await plan(made, to_text(SystemClock().now() + HOUR))
        at = SystemClock().now()
        await made.until(lambda: made.source.status().observed > at + 3_000_000)
        assert (await plan(made, to_text(at))).approximations == []


async def test_entries_of_our_own_do_not_make_a_stream_that_is_behind_look_complete(database: str) -> None:
    """While nothing comes from the server, what is read beside the stream says nothing of commits: the time is refused until they are there."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY)", "CREATE SEQUENCE s")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.2) as made:
        await baseline(made)
        run(database, "INSERT INTO t VALUES (1)")
        await caught_up(made, database)
        stream = made.source._stream
        assert stream is not None
        stream.receiver._queue._limit = 0  # as when the journal takes nothing more
        await asyncio.sleep(1)
        run(database, "INSERT INTO t VALUES (2)")
        at = SystemClock().now()
        await asyncio.sleep(1)
        run(database, "SELECT nextval('s')")
        await made.until(lambda: made.writer.marks[SOURCE].observed > at + 500_000)
        with pytest.raises(NotReached):
            await plan(made, to_text(at))
        await made.crash()
        await made.start()
        await caught_up(made, database)
        assert (await plan(made, to_text(at))).point.transactions >= 2


async def test_a_point_is_waited_for(database: str) -> None:
    """With patience the plan is made as soon as the journal is there; without, it is refused after that time."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY)")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}") as made:
        await baseline(made)
        at = to_text(SystemClock().now() + 3_000_000)
        plans = await make_plans_once_reached(Reader(made.store), at, [], [], Options(), SystemClock(), wait_seconds=30)
        assert plans.age_seconds is not None
        assert 0 <= plans.age_seconds < 15
        soon = to_text(SystemClock().now() + HOUR)
        with pytest.raises(NotReached):
            await make_plans_once_reached(Reader(made.store), soon, [], [], Options(), SystemClock(), wait_seconds=0.5)


def test_what_a_point_means_is_said(database: str, tmp_path: Path) -> None:
    """A time without a zone is explained first; the plan says the point in UTC, in the local zone, and its age."""
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        at = to_text(SystemClock().now())
        captured(archiver, "db", database)
        assert archiver.stop() == 0
    plain = at.removesuffix("Z")
    zone = {"TZ": "XYZ-3:30"}
    done = archiver.call("restore", "--at", plain, env=zone)
    assert done.returncode == 0, done.stderr
    local = to_text(SystemClock().now())[:2]
    assert f"{plain} has no zone and is read as UTC: {at}" in done.stderr
    for word in (at, "+03:30 (XYZ)", "age", local):
        assert word in done.stdout
    assert "zone" not in archiver.call("restore", "--at", at, env=zone).stderr
    report = archiver.call("restore", "--at", at, "--to", str(tmp_path / "out"), env=zone)
    assert report.returncode == 0, report.stderr
    assert all(word in report.stdout for word in (at, "+03:30 (XYZ)", "age")), report.stdout
    told = json.loads(archiver.call("restore", "--at", at, "--to", str(tmp_path / "json"), "--json", env=zone).stdout)["point"]
    assert at in told.values(), told
    assert any("+03:30" in str(value) for value in told.values()), told
    for command in (("show", "--at", plain), ("diff", "--from", plain), ("log", "--from", plain)):
        said = archiver.call(*command, "--source", "db", "--table", "public.note", "--key", "id=1").stderr
        assert "has no zone" in said, (command, said)
    late = archiver.call("restore", "--at", to_text(SystemClock().now() + HOUR), "--wait", "1")
    assert (late.returncode, "the journal ends" in late.stderr) == (2, True), late.stderr
