"""A primary dies and its standby is promoted: with a synchronized slot history goes on, without one it has a gap that is said."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Self

import psycopg
import pytest

from archiver.capture.postgres.preflight.preflight import Finding, preflight
from archiver.capture.postgres.session.access import Access
from archiver.errors import Unavailable
from archiver.journal.entry import Kind
from tests.integration.capture.postgres.rig import Capture, capture
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import FaultProxy
from tests.servers.standby import promote, standby_of

PHYSICAL = "standby_1"
SYNCHRONIZED = {"sync_replication_slots": "on", "hot_standby_feedback": "on"}


@pytest.fixture
def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def pair(start_postgres: Callable[..., PostgresServer]) -> Iterator[Callable[..., tuple[PostgresServer, PostgresServer]]]:
    """``pair(primary options, standby options)`` starts two servers of version 18 with an empty table ``t``."""
    started: list[PostgresServer] = []

    def start(primary: dict[str, str], standby: dict[str, str]) -> tuple[PostgresServer, PostgresServer]:
        first = start_postgres(18, primary)
        first.execute("CREATE TABLE t (id bigint PRIMARY KEY, note text)")
        started.append(standby_of(first, slot=PHYSICAL, options=standby))
        return first, started[-1]

    yield start
    for server in started:
        server.close()


def either(first: PostgresServer, second: PostgresServer) -> str:
    """A connection string that leads to whichever of the two is the primary, as a service of the cluster does."""
    return (
        f"postgresql://postgres@127.0.0.1:{first.port},127.0.0.1:{second.port}/postgres?target_session_attrs=read-write&connect_timeout=2"
    )


def ask(server: PostgresServer, query: str) -> list[tuple[object, ...]]:
    with server.connect() as session:
        return session.execute(query.encode()).fetchall()


class Load:
    """Writes rows, one transaction each, wherever the primary is, until it is stopped."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.acknowledged: list[int] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def _write(self) -> None:
        at = 0
        while not self._ended.is_set():
            with contextlib.suppress(psycopg.Error), psycopg.connect(self._dsn, autocommit=True) as session:
                while not self._ended.is_set():
                    at += 1
                    session.execute("INSERT INTO t VALUES (%s, repeat('x', 200))", [at])
                    self.acknowledged.append(at)


async def synchronized(standby: PostgresServer, slot: str) -> None:
    """The slot is on the standby, and would survive its promotion."""

    def there() -> bool:
        found = ask(standby, f"SELECT synced AND NOT temporary AND failover FROM pg_replication_slots WHERE slot_name = '{slot}'")
        return found == [(True,)]

    async with asyncio.timeout(30):
        while not await asyncio.to_thread(there):
            await asyncio.sleep(0.2)


async def test_promotion_with_a_synchronized_slot_continues_without_a_gap(
    pair: Callable[..., tuple[PostgresServer, PostgresServer]], slot: str
) -> None:
    """The primary is killed under load, and the address of the service leads to the promoted standby: no gap and no new baseline.

    The journal holds each commit that was acknowledged, before and behind the promotion, exactly once, and none that the new primary lacks.
    """
    first, second = pair({"synchronized_standby_slots": PHYSICAL}, SYNCHRONIZED | {"synchronized_standby_slots": ""})
    # Commits wait for the standby: without that, a promotion loses some which were acknowledged, whatever the archive does.
    reload(first, synchronous_standby_names=PHYSICAL)
    with FaultProxy.start("127.0.0.1", first.port) as service:
        async with capture(f"postgresql://postgres@127.0.0.1:{service.port}/postgres?connect_timeout=2", slot) as made:
            await made.start()
            with Load(made.dsn) as load:
                await synchronized(second, slot)
                await made.until(lambda: len(load.acknowledged) > 1000)
                await asyncio.to_thread(first.kill)
                await asyncio.to_thread(promote, second)
                before = len(load.acknowledged)
                service.retarget("127.0.0.1", second.port)
                service.cut()
                await made.until(lambda: len(load.acknowledged) > before + 1000, 60)
            end = ask(second, "SELECT pg_current_wal_flush_lsn()::text")[0][0]
            await made.reached(str(end), 60)
            await made.stop()
            assert await made.gaps() == []
            assert (await made.kinds()).count(Kind.CHECKPOINT) == 1
            inserted = sorted(await made.inserted())
            assert inserted == [row[0] for row in ask(second, "SELECT id FROM t ORDER BY id")]
            assert len(inserted) == len(set(inserted))
            assert set(load.acknowledged) <= set(inserted)


async def test_promotion_without_a_synchronized_slot_is_a_gap_and_a_baseline(
    pair: Callable[..., tuple[PostgresServer, PostgresServer]], slot: str
) -> None:
    """The standby does not synchronize slots: what was lost is recorded, and a new baseline has all rows."""
    first, second = pair({}, {"hot_standby_feedback": "on"})
    async with capture(either(first, second), slot) as made:
        await made.start()
        with Load(made.dsn) as load:
            await made.until(lambda: len(load.acknowledged) > 500)
            await asyncio.to_thread(first.kill)
            await asyncio.to_thread(promote, second)
            before = len(load.acknowledged)
            await made.until(lambda: len(load.acknowledged) > before + 100, 60)
            await made.until(lambda: made.source.status().state == "streaming", 60)
        await made.stop()
        (gap,) = await made.gaps()
        assert gap.what == "all"
        assert gap.reason in ("slot_lost", "timeline_changed")
        assert (await made.kinds()).count(Kind.CHECKPOINT) == 2


async def found(made: Capture, code: str) -> Finding | None:
    """What ``archiver check`` says under that code."""
    async with await Access.of(made.dsn).connect() as session:
        report = await preflight(session, made.config)
    return next((finding for finding in [*report.refusals, *report.warnings, *report.notes] if finding.code == code), None)


def reload(server: PostgresServer, **settings: str) -> None:
    server.execute(*(f"ALTER SYSTEM SET {name} = '{value}'" for name, value in settings.items()), "SELECT pg_reload_conf()")


def keeps_failover(server: PostgresServer, slot: str) -> bool:
    return ask(server, f"SELECT failover FROM pg_replication_slots WHERE slot_name = '{slot}'") == [(True,)]


async def test_check_names_each_condition_that_is_missing(pair: Callable[..., tuple[PostgresServer, PostgresServer]], slot: str) -> None:
    """From nothing to all conditions: each that is missing is named with its setting, and then none is."""
    first, second = pair({}, {})

    async def said() -> Finding:
        finding = await found(made, "failover")
        assert finding is not None
        return finding

    with pytest.raises(Unavailable) as standby:
        await Access.of(second.dsn()).connect()
    assert "address of the primary" in standby.value.hint
    async with capture(first.dsn(), slot) as made:
        before = await said()
        assert before.level == "note"
        for setting in ("sync_replication_slots", "hot_standby_feedback", "synchronized_standby_slots"):
            assert setting in before.remedy
        reload(first, synchronized_standby_slots=PHYSICAL)
        reload(second, hot_standby_feedback="on", sync_replication_slots="on")
        async with asyncio.timeout(30):
            while (after := await said()).remedy:
                assert after.level == "warning"
                await asyncio.sleep(0.5)
        assert after.level == "note"
        assert "goes on" in after.reason
        second.stop()
        waits = await found(made, "failover_waits")
        assert waits is not None
        assert PHYSICAL in waits.reason


async def test_no_commit_hangs_when_a_standby_is_gone(pair: Callable[..., tuple[PostgresServer, PostgresServer]], slot: str) -> None:
    """Commits wait for the archive, which must not wait for a standby: the slot loses FAILOVER as soon as both are set, and commits return."""
    first, second = pair({}, SYNCHRONIZED)
    async with capture(first.dsn(), slot, poll_seconds=0.2) as made:
        await made.start()
        assert keeps_failover(first, slot)
        reload(first, synchronized_standby_slots=PHYSICAL, synchronous_standby_names=f"FIRST 1 ({slot}, {PHYSICAL})")
        hang = await found(made, "failover_hang")
        assert hang is not None
        assert "FIRST 1" in hang.reason
        await made.until(lambda: not keeps_failover(first, slot))
        await asyncio.to_thread(second.kill)
        for at in range(5):
            await asyncio.wait_for(asyncio.to_thread(first.execute, f"INSERT INTO t VALUES ({at}, 'x')"), 20)
        await made.until(lambda: made.source.status().state == "streaming")
        reload(first, synchronized_standby_slots="")
        await made.stop()
        await made.start()
        assert keeps_failover(first, slot)
        await made.stop()
        assert await made.gaps() == []
        assert await made.inserted() == list(range(5))
