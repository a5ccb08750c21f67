"""A server whose storage was put back and has gone on from there: told by what it sends again, never by positions alone."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import psycopg
import pytest

from archiver.postgres.lsn import parse_position
from tests.integration.capture.postgres.rig import capture
from tests.servers.postgres import PostgresServer


@pytest.fixture
def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


def run(dsn: str, *statements: str) -> str:
    """Each in a transaction of its own; where the log ends then."""
    with psycopg.connect(dsn, autocommit=True) as session:
        for statement in statements:
            session.execute(statement.encode())
    return position(dsn)


def position(dsn: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as session:
        row = session.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return str(row[0])


def rows(first: int, last: int, width: int = 10) -> str:
    return f"INSERT INTO t SELECT g, repeat('x', {width}) FROM generate_series({first}, {last}) g"


@pytest.mark.parametrize("lost", ["changes", "nothing but time", "what only a heartbeat told"])
async def test_a_server_put_back_and_overtaken_is_told_by_what_it_sends_again(
    start_postgres: Callable[..., PostgresServer], slot: str, lost: str
) -> None:
    """Its log is longer than the journal knows, on the same timeline; positions alone say nothing. What was not lost goes on."""
    server = start_postgres(18)
    dsn = server.dsn()
    run(dsn, "CREATE TABLE t (id bigint PRIMARY KEY, note text)")
    async with capture(dsn, slot) as made:
        await made.start()
        await made.reached(run(dsn, rows(1, 10)))
        await made.stop()
        copy = server.copy_data()
        await asyncio.to_thread(server.boot)
        if lost != "nothing but time":
            await made.start()
            await made.reached(run(dsn, rows(11, 20) if lost == "changes" else "CHECKPOINT"))
            await made.stop()
        known = made.durable
        server.put_back(copy)
        await asyncio.to_thread(server.boot)
        # Other transactions, and more log than was lost.
        run(dsn, rows(101, 105))
        run(dsn, rows(106, 2000, 500))
        assert parse_position(position(dsn)) > known
        await made.start()
        if lost == "changes":
            await made.until(lambda: made.source.status().gaps == 1 and made.source.status().last_baseline > 0, 60)
        await made.reached(run(dsn, rows(3001, 3005)))
        await made.stop()
        if lost == "changes":
            assert [gap.reason for gap in await made.gaps()] == ["timeline_changed"]
            assert not set(range(101, 2001)) & set(await made.inserted()), "another history was journaled as if it went on"
        else:
            assert await made.gaps() == []
            assert await made.inserted() == [*range(1, 11), *range(101, 2001), *range(3001, 3006)]


async def test_a_crash_of_the_server_sends_the_newest_commit_again_and_goes_on(
    start_postgres: Callable[..., PostgresServer], slot: str
) -> None:
    """The slot on disk is older than what was acknowledged; the newest commit comes again, no more of what the journal has, and no gap."""
    server = start_postgres(18)
    dsn = server.dsn()
    run(dsn, "CREATE TABLE t (id bigint PRIMARY KEY, note text)")
    async with capture(dsn, slot) as made:
        await made.start()
        for number in range(1, 11):
            run(dsn, rows(number, number))
        await made.reached(position(dsn))
        await made.crash()
        server.kill()
        await asyncio.to_thread(server.boot)
        await made.start()
        await made.reached(run(dsn, rows(11, 20)))
        await made.stop()
        assert await made.gaps() == []
        assert await made.inserted() == list(range(1, 21))
