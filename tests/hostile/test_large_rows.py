"""Messages and rows as large as the server lets anybody make them: they cost little memory, and nobody else's history.

Sizes are reduced: a server stores and sends up to 1 GB, and the archiver takes 64 MiB of it by default. What the server cannot send at all
is as large as it must be for that.
"""

from __future__ import annotations

import asyncio
import fcntl
import re
import struct
import termios
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from archiver.capture.postgres.baseline.large_rows import TOO_LARGE, tables_with_large_rows
from archiver.capture.postgres.catalog.catalog import read_catalog
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.session.access import Access
from archiver.capture.postgres.session.oversized import Oversized
from archiver.errors import Refused
from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import restore_to_database
from tests.integration.capture.postgres.rig import Capture, HeldStore, capture
from tests.integration.replay.postgres.arrange import ask, baseline, caught_up, plan, run

MIB = 1 << 20
pytestmark = pytest.mark.postgres(15, 18)


def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


def resident() -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def most_resident(work: asyncio.Task[object]) -> int:
    """Bytes that this process had at most until ``work`` was done."""
    most = 0
    while not work.done():
        most = max(most, resident())
        await asyncio.sleep(0.005)
    work.result()
    return most


@pytest.fixture
async def made(database: str) -> AsyncIterator[Capture]:
    run(
        database,
        "CREATE TABLE blob (id int PRIMARY KEY, data bytea, more int)",
        "CREATE TABLE beside (id int PRIMARY KEY)",
        "CREATE TABLE other (id int PRIMARY KEY)",
        "INSERT INTO blob VALUES (0, 'small')",
    )
    async with capture(database, slot(), poll_seconds=0.3, largest_row_bytes=MIB) as made:
        await baseline(made)
        yield made


async def test_a_message_that_is_too_large(made: Capture, database: str, target_database: str) -> None:
    """Nobody asked for it: it costs neither memory nor a gap, and announcements are received again behind it."""
    before = resident()
    await asyncio.to_thread(run, database, "SELECT pg_logical_emit_message(false, 'anything', repeat('x', 150000000))")
    run(database, "INSERT INTO other VALUES (1)")
    most = await most_resident(asyncio.create_task(caught_up(made, database)))
    assert most - before < 64 * MIB
    assert [type(error) for error in made.errors] == [Oversized]
    await made.until(lambda: made.source.status().state == "streaming" and not made.source._careful)
    run(database, "INSERT INTO other VALUES (2)")
    planned = await plan(made, await caught_up(made, database))
    assert planned.gaps == []
    await restore_to_database(planned, Reader(made.store), made.store, target_database, allow_gaps=False)
    assert ask(target_database, "SELECT string_agg(id::text, ',' ORDER BY id) FROM other") == "1,2"
    assert await made.gaps() == []


def waiting(descriptor: int) -> bool:
    """Whether the server has sent as much as it can as long as nobody reads."""
    (size,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))
    return bool(size > 60_000)


async def test_a_message_that_comes_while_the_stream_ends_in_order(database: str) -> None:
    """What would be dropped anyhow is not received for that, and comes after the next start: as it is when one of another kind is due."""
    run(database, "CREATE TABLE other (id int PRIMARY KEY)")
    store = HeldStore()
    async with capture(database, slot(), store, largest_row_bytes=MIB) as made:
        await baseline(made)
        await caught_up(made, database)
        store.open.clear()
        run(database, "INSERT INTO other VALUES (1)")
        running = made.source._stream
        assert running is not None
        await made.until(lambda: made.durable < running.receiver.received)
        stopping = asyncio.create_task(made.stop())
        await made.until(running.receiver.quiet.is_set)
        before = resident()
        await asyncio.to_thread(run, database, "SELECT pg_logical_emit_message(false, 'anything', repeat('x', 150000000))")
        await made.until(lambda: waiting(running.receiver._pgconn.socket))
        store.open.set()
        assert await most_resident(stopping) - before < 64 * MIB
        assert made.errors == []
        await made.start()
        run(database, "INSERT INTO other VALUES (2)")
        await caught_up(made, database)
        assert await made.inserted() == [1, 2]
        # And perhaps that the server had not yet noticed the end of the connection before.
        assert Oversized in {type(error) for error in made.errors}


@pytest.mark.parametrize(
    "large",
    ["repeat('x', 150000000)::bytea", "convert_to(repeat('x', 540000000), 'UTF8')"],
    ids=["too large for us", "too large for the server"],
)
async def test_a_row_that_is_too_large(made: Capture, database: str, target_database: str, large: str) -> None:
    """Its transaction is left out, and the gap names each table that it wrote to. They are copied again: only the row itself stays unknown."""
    run(database, "INSERT INTO other VALUES (1)")
    known = await caught_up(made, database)
    before = resident()

    def write() -> None:
        with psycopg.connect(database) as session:
            session.execute("INSERT INTO beside VALUES (1)")
            session.execute(f"INSERT INTO blob VALUES (1, {large})".encode())
            session.execute("INSERT INTO beside VALUES (2)")
        run(database, "INSERT INTO other VALUES (2)", "INSERT INTO blob VALUES (2, 'small')")

    await asyncio.to_thread(write)

    async def copied_again() -> bool:
        pending = made.source._watcher._recorder._pending if made.source._watcher else None
        return (
            (await made.gaps())[-1:] != [] and (await made.gaps())[-1].detail == TOO_LARGE and pending == [(await made.gaps())[-1].relation]
        )

    async def done() -> None:
        await made.until(copied_again, 120)

    assert await most_resident(asyncio.create_task(done())) - before < 64 * MIB
    assert {type(error) for error in made.errors} == {Oversized}
    gaps = await made.gaps()
    assert {gap.what for gap in gaps[:-1]} == {"table public.beside", "table public.blob"}
    assert {gap.reason for gap in gaps} == {"too_large"}
    await made.until(lambda: "public.blob" in str(made.source.status().warnings))

    behind = await plan(made, await caught_up(made, database))
    assert [(gap.what, gap.reason) for gap in behind.gaps] == [("table public.blob", "too_large")]
    with pytest.raises(Refused):
        await restore_to_database(behind, Reader(made.store), made.store, target_database, allow_gaps=False)
    await restore_to_database(behind, Reader(made.store), made.store, target_database, allow_gaps=True)
    assert ask(target_database, "SELECT string_agg(id::text, ',' ORDER BY id) FROM beside") == "1,2"
    assert ask(target_database, "SELECT string_agg(id::text, ',' ORDER BY id) FROM other") == "1,2"
    assert ask(target_database, "SELECT string_agg(id::text, ',' ORDER BY id) FROM blob") == "0,2"
    assert (await plan(made, known)).gaps == []

    run(database, "UPDATE blob SET more = 1", "DELETE FROM blob WHERE id = 1")
    planned = await plan(made, await caught_up(made, database))
    assert [gap.what for gap in planned.gaps] == ["table public.blob"]


@pytest.mark.parametrize("large", [3 * MIB, 540_000_000])
async def test_a_row_that_cannot_be_copied(database: str, target_database: str, large: int) -> None:
    """A baseline has all other rows of its table, whose gap says why it is not whole; `check` finds it beforehand."""
    run(
        database,
        "CREATE TABLE blob (id int PRIMARY KEY, data bytea, words json)",
        f"INSERT INTO blob SELECT g, CASE g WHEN 500 THEN convert_to(repeat('x', {large}), 'UTF8') ELSE 'x' END FROM generate_series(1, 1000) g",
        "INSERT INTO blob SELECT 1001, NULL, to_json(string_agg(md5(g::text), '')) FROM generate_series(1, 50000) g",
        "CREATE TABLE other (id int PRIMARY KEY)",
        "INSERT INTO other VALUES (1)",
    )
    async with await Access.of(database).connect() as session:
        tables = (await read_catalog(session, Scope())).catalog.tables
        assert await tables_with_large_rows(session, tables, MIB, 30.0) == ({"public.blob": 2}, [])
        assert await tables_with_large_rows(session, tables, MIB, 0.0) == ({}, ["public.blob"])
    async with capture(database, slot(), poll_seconds=0.3, largest_row_bytes=MIB) as made:
        before = resident()
        assert await most_resident(asyncio.create_task(baseline(made))) - before < 64 * MIB
        await made.until(lambda: "public.blob" in str(made.source.status().warnings))
        planned = await plan(made, await caught_up(made, database))
        assert [(gap.what, gap.reason) for gap in planned.gaps] == [("table public.blob", "too_large")]
        await restore_to_database(planned, Reader(made.store), made.store, target_database, allow_gaps=True)
        assert ask(target_database, "SELECT count(*) FROM blob") == 999
        assert ask(target_database, "SELECT count(*) FROM other") == 1
        assert made.errors == []
