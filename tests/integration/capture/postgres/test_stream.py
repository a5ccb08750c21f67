"""The stream against real servers: nothing lost, nothing twice, nothing acknowledged that is not durable."""

from __future__ import annotations

import asyncio
import re
import shutil
import uuid
from collections.abc import Callable

import psycopg
import pytest

from archiver.capture.postgres.session import replication
from archiver.errors import HistoryLost, Refused, Unavailable
from archiver.journal.entry import Kind
from archiver.postgres.lsn import parse_position
from tests.integration.capture.postgres.rig import HeldStore, capture
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import DOWN, FaultProxy

BASELINE = [Kind.PG_SLOT, Kind.PG_SLOT, Kind.PG_STREAM, Kind.PG_SCHEMA, Kind.PG_SEQUENCES, Kind.CHECKPOINT]


@pytest.fixture
def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def table(database: str) -> str:
    """The database with an empty table ``t``."""
    run(database, "CREATE TABLE t (id bigint PRIMARY KEY, note text)")
    return database


def run(dsn: str, *statements: str) -> str:
    """Run each statement in a transaction of its own; where the log ends then."""
    with psycopg.connect(dsn, autocommit=True) as session:
        for statement in statements:
            session.execute(statement.encode())
        row = session.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return str(row[0])


def ask(dsn: str, query: str, *values: object) -> object:
    """The first column of the first row."""
    with psycopg.connect(dsn, autocommit=True) as session:
        row = session.execute(query.encode(), values).fetchone()
    return row[0] if row else None


def confirmed(dsn: str, slot: str) -> int:
    return parse_position(str(ask(dsn, "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s", slot)))


def rows(first: int, last: int, width: int = 10) -> str:
    return f"INSERT INTO t SELECT g, repeat('x', {width}) FROM generate_series({first}, {last}) g"


def promote_at_boot(server: PostgresServer) -> None:
    """The next start is an archive recovery that finds no archive: it ends at once, on a new timeline."""
    server._options["restore_command"] = "false"
    signal = server.data / "recovery.signal"
    signal.touch()
    shutil.chown(signal, server.data.owner(), server.data.group())


async def test_a_restart_continues_where_the_journal_ends(table: str, slot: str) -> None:
    """What is written before, between and after two runs of the archiver is recorded once, and the slot confirms it at each stop."""
    async with capture(table, slot) as made:
        await made.start()
        await made.reached(run(table, rows(1, 100)))
        await made.stop()
        assert confirmed(table, slot) == made.durable
        run(table, rows(101, 200))
        await made.start()
        await made.reached(run(table, rows(201, 300)))
        await made.stop()
        assert confirmed(table, slot) == made.durable
        assert await made.inserted() == list(range(1, 301))
        assert (await made.kinds())[: len(BASELINE)] == BASELINE
        assert made.errors == []


async def test_a_cut_in_the_middle_of_transactions_loses_and_repeats_nothing(
    table: str, slot: str, postgres: PostgresServer, fault_proxy: Callable[[str, int], FaultProxy]
) -> None:
    """Connections cut at arbitrary bytes, in ordinary and in streamed transactions: the journal reads as if nothing had happened."""
    proxy = fault_proxy("127.0.0.1", postgres.port)
    through = table.replace(f":{postgres.port}", f":{proxy.port}")
    async with capture(through, slot) as made:
        await made.start()
        for at in range(8):
            proxy.cut_after(5_000 + 40_000 * at, DOWN)
            big = "SET logical_decoding_work_mem = '64kB'; " if at % 2 else ""
            await asyncio.to_thread(run, table, big + rows(1000 * at + 1, 1000 * at + 1000, 100))
        await made.reached(run(table, rows(8001, 8001)))
        await made.stop()
        assert sorted(await made.inserted()) == list(range(1, 8002))
        assert len(made.errors) >= 3


async def test_streamed_transactions_are_captured_before_they_commit(start_postgres: Callable[..., PostgresServer], slot: str) -> None:
    """A large transaction arrives in blocks; subtransactions that were rolled back are not counted."""
    server = start_postgres(18, {"logical_decoding_work_mem": "64kB"})
    dsn = server.dsn()
    run(dsn, "CREATE TABLE t (id bigint PRIMARY KEY, note text)")
    async with capture(dsn, slot) as made:
        await made.start()
        with psycopg.connect(dsn) as session:
            session.execute(rows(1, 5000, 100).encode())
            await made.until(lambda: made.source.status().bytes > 200_000)
            before = made.durable
            session.execute("SAVEPOINT s")
            session.execute(rows(5001, 6000, 100).encode())
            session.execute("ROLLBACK TO s")
            run(dsn, rows(9001, 9001))
            await made.until(lambda: made.durable > before)
            session.commit()
        await made.reached(run(dsn, rows(9002, 9002)))
        await made.stop()
        assert await made.inserted() == [9001, *range(1, 5001), 9002]


async def test_a_killed_server_loses_and_repeats_nothing(start_postgres: Callable[..., PostgresServer], slot: str) -> None:
    """SIGKILL of the server moves its slot back; the journal's own position counts."""
    server = start_postgres(18)
    dsn = server.dsn()
    run(dsn, "CREATE TABLE t (id bigint PRIMARY KEY, note text)")
    async with capture(dsn, slot) as made:
        await made.start()
        for at in range(3):
            end = run(dsn, *(rows(100 * at + one, 100 * at + one) for one in range(1, 101)))
            if at != 1:
                await made.reached(end)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.boot)
        await made.reached(run(dsn, rows(301, 301)))
        await made.stop()
        assert await made.inserted() == list(range(1, 302))


async def test_a_killed_archiver_loses_and_repeats_nothing(table: str, slot: str) -> None:
    """The archiver ends without warning while rows arrive, several times."""
    async with capture(table, slot) as made:
        await made.start()
        for at in range(5):
            end = await asyncio.to_thread(run, table, *(rows(50 * at + one, 50 * at + one) for one in range(1, 51)))
            if at % 2:
                await made.reached(end)
            await made.crash()
            await made.start()
        await made.reached(run(table, rows(251, 251)))
        await made.stop()
        assert await made.inserted() == list(range(1, 252))


async def test_nothing_is_acknowledged_before_it_is_durable(table: str, slot: str) -> None:
    """While the store holds its answer back, the slot does not move; once it answers, it does."""
    store = HeldStore()
    async with capture(table, slot, store) as made:
        await made.start()
        await made.reached(run(table, rows(1, 10)))
        await made.until(lambda: confirmed(table, slot) == made.durable)
        store.open.clear()
        held = made.durable
        end = run(table, rows(11, 500))
        await made.until(lambda: made.source.status().bytes > 10_000)
        await asyncio.sleep(1.5)
        assert confirmed(table, slot) <= held
        assert made.durable == held
        store.open.set()
        await made.reached(end)
        await made.until(lambda: confirmed(table, slot) >= parse_position(end))
        await made.stop()


async def test_a_full_queue_keeps_the_connection(table: str, slot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading pauses for longer than ``wal_sender_timeout``: the server keeps the session, memory stays bounded, nothing is lost."""
    monkeypatch.setattr(replication, "SENDER_TIMEOUT_SECONDS", 2.0)
    store = HeldStore()
    async with capture(table, slot, store, queue_bytes=100_000) as made:
        await made.start()
        sender = ask(table, "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", slot)
        store.open.clear()
        made.writer._buffer._limit = 300_000
        end = await asyncio.to_thread(run, table, rows(1, 60_000, 200))
        await asyncio.sleep(5)
        assert made.writer.buffered_bytes < 5_000_000
        assert made.source.status().bytes < 5_000_000
        assert ask(table, "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", slot) == sender
        store.open.set()
        await made.reached(end)
        await made.stop()
        assert made.errors == []
        assert len(await made.inserted()) == 60_000


async def test_an_idle_database_does_not_hold_log(table: str, slot: str) -> None:
    """Writes that are not captured move the slot too, with an entry of their own in the journal first."""
    run(table, "CREATE UNLOGGED TABLE unlogged_notes (id int)", "CREATE TABLE untracked (id int PRIMARY KEY)")
    async with capture(table, slot, exclude_tables=["public.untracked"]) as made:
        await made.start()
        end = run(table, *(f"INSERT INTO untracked VALUES ({one})" for one in range(50)))
        await made.until(lambda: confirmed(table, slot) >= parse_position(end))
        assert made.durable >= confirmed(table, slot)
        await made.stop()
        assert await made.inserted() == []
        assert Kind.PROGRESS in [placed.run.kind for placed in await made.placed()]


async def test_an_idle_source_stays_known(table: str, slot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing happens at all: the journal still says up to when that is known, so its age is honest."""
    monkeypatch.setattr("archiver.capture.postgres.stream.stream.FEEDBACK_SECONDS", 0.3)
    async with capture(table, slot, heartbeat_seconds=0.5) as made:
        await made.start()
        await made.reached(run(table, rows(1, 1)))
        for _ in range(2):
            before = made.writer.marks["db"].observed
            await made.until(lambda seen=before: made.writer.marks["db"].observed > seen)  # type: ignore[misc]
        await made.stop()
        assert made.errors == []


async def test_commits_can_wait_for_the_archive(start_postgres: Callable[..., PostgresServer], slot: str) -> None:
    """Named in ``synchronous_standby_names``, a commit returns only when it is durable; commits that are not captured do not hang."""
    server = start_postgres(18)
    dsn = server.dsn()
    run(dsn, "CREATE TABLE t (id bigint PRIMARY KEY, note text)", "CREATE TABLE untracked (id int PRIMARY KEY)")
    store = HeldStore()
    async with capture(dsn, slot, store, exclude_tables=["public.untracked"], heartbeat_seconds=60.0, poll_seconds=0.2) as made:
        await made.start()
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{slot}'".encode())
            admin.execute("SELECT pg_reload_conf()")
        await made.until(lambda: ask(dsn, "SELECT sync_state FROM pg_stat_replication WHERE application_name = %s", slot) == "sync")
        await made.until(lambda: made.source._stream is not None and made.source._stream.receiver.synchronous)
        for statement in (rows(1, 1), "INSERT INTO untracked VALUES (1)"):
            await asyncio.wait_for(asyncio.to_thread(run, dsn, statement), 10)
        store.open.clear()
        for statement in (rows(2, 2), "INSERT INTO untracked VALUES (2)"):
            waiting = asyncio.create_task(asyncio.to_thread(run, dsn, statement))
            await asyncio.sleep(0.7)
            assert not waiting.done()
            store.open.set()
            end = await asyncio.wait_for(waiting, 10)
            assert made.durable >= parse_position(end) - 1000
            store.open.clear()
        store.open.set()
        run(dsn, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
        await made.stop()


async def test_a_lost_slot_becomes_a_gap_and_a_new_baseline(start_postgres: Callable[..., PostgresServer], slot: str) -> None:
    """The server dropped log that we had not read: the journal says from where, and capture goes on."""
    server = start_postgres(18, {"max_slot_wal_keep_size": "2MB", "min_wal_size": "32MB", "max_wal_size": "32MB"})
    dsn = server.dsn()
    run(dsn, "CREATE TABLE t (id bigint PRIMARY KEY, note text)")
    async with capture(dsn, slot) as made:
        await made.start()
        await made.reached(run(dsn, rows(1, 10)))
        await made.stop()
        end = made.durable
        await asyncio.to_thread(
            run, dsn, *(step for at in range(4) for step in (rows(1000 + at, 1000 + at), "SELECT pg_switch_wal()", "CHECKPOINT"))
        )
        assert ask(dsn, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s", slot) == "lost"
        made.options["on_history_lost"] = "stop"
        with pytest.raises(HistoryLost):
            await made.run_once()
        assert await made.gaps() == []
        made.options["on_history_lost"] = "rebaseline"
        await made.start()
        await made.reached(run(dsn, rows(2000, 2000)))
        await made.stop()
        (gap,) = await made.gaps()
        assert (gap.what, gap.reason, parse_position(gap.from_position)) == ("all", "slot_lost", end)
        assert (await made.kinds()).count(Kind.CHECKPOINT) == 2
        assert 2000 in await made.inserted()


@pytest.mark.parametrize("harm", ["advanced", "dropped"])
async def test_a_slot_that_somebody_moved_becomes_a_gap(table: str, slot: str, harm: str) -> None:
    """A slot ahead of the journal, or gone, is never continued silently."""
    async with capture(table, slot) as made:
        await made.start()
        await made.reached(run(table, rows(1, 10)))
        await made.stop()
        run(table, rows(11, 20))
        if harm == "advanced":
            run(table, f"SELECT pg_replication_slot_advance('{slot}', pg_current_wal_lsn())")
        else:
            run(table, f"SELECT pg_drop_replication_slot('{slot}')")
        await made.start()
        await made.reached(run(table, rows(21, 30)))
        await made.stop()
        assert [gap.reason for gap in await made.gaps()] == [{"advanced": "slot_ahead", "dropped": "slot_lost"}[harm]]
        assert (await made.kinds()).count(Kind.CHECKPOINT) == 2


async def test_a_terminated_walsender_is_replaced(table: str, slot: str) -> None:
    """An administrator ends our session at the server: the stream begins anew where the journal ends."""
    async with capture(table, slot) as made:
        await made.start()
        for at in range(3):
            await made.reached(run(table, rows(10 * at + 1, 10 * at + 10)))
            before = len(made.errors)
            run(table, f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{slot}'")
            await made.until(lambda seen=before: len(made.errors) > seen)  # type: ignore[misc]
        await made.reached(run(table, rows(31, 31)))
        await made.stop()
        assert await made.inserted() == list(range(1, 32))
        assert made.source.status().restarts == {"unavailable": 3}


async def test_a_promotion_that_continues_our_timeline_is_no_gap(start_postgres: Callable[..., PostgresServer], slot: str) -> None:
    """The new timeline forks behind everything that the journal holds, so it is the same history."""
    server = start_postgres(18)
    dsn = server.dsn()
    run(dsn, "CREATE TABLE t (id bigint PRIMARY KEY, note text)")
    async with capture(dsn, slot) as made:
        await made.start()
        await made.reached(run(dsn, rows(1, 10)))
        await made.stop()
        run(dsn, rows(11, 20))
        server.stop()
        promote_at_boot(server)
        await asyncio.to_thread(server.boot)
        await made.until(lambda: ask(dsn, "SELECT pg_is_in_recovery()") is False)
        assert str(ask(dsn, "SELECT pg_walfile_name(pg_current_wal_lsn())")).startswith("00000002")
        await made.start()
        await made.reached(run(dsn, rows(21, 30)))
        await made.stop()
        assert await made.gaps() == []
        assert await made.inserted() == list(range(1, 31))


@pytest.mark.parametrize("promoted", [False, True])
async def test_a_server_put_back_from_a_copy_is_a_gap(start_postgres: Callable[..., PostgresServer], slot: str, promoted: bool) -> None:
    """The server no longer has transactions that the journal holds, with or without a new timeline: never continued silently."""
    server = start_postgres(18)
    dsn = server.dsn()
    run(dsn, "CREATE TABLE t (id bigint PRIMARY KEY, note text)")
    async with capture(dsn, slot) as made:
        await made.start()
        await made.reached(run(dsn, rows(1, 10)))
        await made.stop()
        copy = server.copy_data()
        await asyncio.to_thread(server.boot)
        await made.start()
        await made.reached(run(dsn, rows(11, 1000)))
        await made.stop()
        server.put_back(copy)
        if promoted:
            promote_at_boot(server)
        await asyncio.to_thread(server.boot)
        await made.start()
        await made.until(lambda: made.source.status().last_baseline > 0)
        run(dsn, rows(2001, 2010))
        await made.stop()
        assert [gap.reason for gap in await made.gaps()] == ["timeline_changed"]


async def test_a_second_consumer_is_named(table: str, slot: str) -> None:
    """The process that holds our slot is told by number, and it is tried again."""
    async with capture(table, slot) as first:
        await first.start()
        holder = ask(table, "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", slot)
        async with capture(table, slot, first.store.copy()) as second:
            with pytest.raises(Unavailable, match=f"PID {holder}"):
                await second.run_once()
        await first.stop()
        assert first.errors == []


@pytest.mark.postgres(18)
async def test_another_server_is_refused_until_it_is_adopted(
    table: str, slot: str, postgres: PostgresServer, start_postgres: Callable[..., PostgresServer]
) -> None:
    """A connection string that leads to another system never continues a history; adopted, it is a gap in it. A slot that is there already
    stays until somebody drops it as the refusal says.
    """
    # Servers of one version are copies of one initdb, so they are the same system.
    other = start_postgres(16 if postgres.version == 18 else 18)
    name = table.rpartition("/")[2]
    other.execute(f"CREATE DATABASE {name}")
    run(other.dsn(name), "CREATE TABLE t (id bigint PRIMARY KEY, note text)")
    async with capture(table, slot) as made:
        await made.start()
        await made.reached(run(table, rows(1, 10)))
        await made.stop()
        made.dsn = other.dsn(name)
        with pytest.raises(Refused, match="system"):
            await made.run_once()
        made.options["adopt_new_system"] = True
        # As pg_upgrade leaves it (17 and newer): nothing but its name says whose it is.
        run(made.dsn, f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
        with pytest.raises(Refused, match="pg_upgrade kept") as refused:
            await made.run_once()
        (remedy,) = re.findall(r"SELECT pg_drop_replication_slot\([^)]*\)", refused.value.hint)
        run(made.dsn, remedy)
        await made.start()
        await made.reached(run(made.dsn, rows(11, 20)))
        await made.stop()
        assert [gap.reason for gap in await made.gaps()] == ["system_changed"]


async def test_a_slot_of_somebody_else_is_left_alone(table: str, slot: str) -> None:
    """A slot of our name that this archive did not create is refused and stays."""
    run(table, f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
    async with capture(table, slot) as made:
        with pytest.raises(Refused, match="did not create"):
            await made.run_once()
    assert ask(table, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", slot) == 1


async def test_waiting_for_open_transactions_is_bounded_and_they_are_named(table: str, slot: str) -> None:
    """Creating a slot waits for writers; after the limit the message names them, and no slot is left."""
    with psycopg.connect(table) as writing:
        writing.execute(rows(1, 1).encode())
        pid = writing.info.backend_pid
        async with capture(table, slot, slot_timeout_seconds=1.0) as made:
            with pytest.raises(Unavailable, match=f"process {pid}"):
                await made.run_once()
            assert ask(table, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", slot) == 0
            writing.commit()
            await made.start()
            await made.stop()


@pytest.mark.parametrize("end", ["crash", "stop"])
async def test_an_unfinished_baseline_begins_again(table: str, slot: str, end: str) -> None:
    """Killed or stopped during the baseline: the next start drops our slot and takes another; no gap, for nothing was promised."""
    run(table, rows(1, 100_000, 100))
    store = HeldStore()
    async with capture(table, slot, store, part_bytes=65_536) as made:
        await made.start(wait=False)
        await made.until(lambda: made.source.status().state == "baseline")
        if end == "crash":
            store.open.clear()
            await asyncio.sleep(0.1)
            await made.crash()
            store.open.set()
        else:
            await asyncio.wait_for(made.stop(), 10)
        assert Kind.CHECKPOINT not in await made.kinds()
        await made.start()
        await made.stop()
        assert (await made.kinds()).count(Kind.CHECKPOINT) == 1
        assert await made.gaps() == []


async def test_it_stops_while_it_waits_for_a_slot(table: str, slot: str) -> None:
    """A stop that comes before the stream has begun ends it at once."""
    with psycopg.connect(table) as writing:
        writing.execute(rows(1, 1).encode())
        async with capture(table, slot) as made:
            await made.start(wait=False)
            await asyncio.sleep(0.5)
            await asyncio.wait_for(made.stop(), 5)
            assert made.errors == []


async def test_a_server_that_shuts_down_is_not_held_up(start_postgres: Callable[..., PostgresServer], slot: str) -> None:
    """The server waits until its walsenders have confirmed everything; ours does so at once, and comes back afterwards."""
    server = start_postgres(18)
    dsn = server.dsn()
    run(dsn, "CREATE TABLE t (id bigint PRIMARY KEY, note text)")
    async with capture(dsn, slot, heartbeat_seconds=60.0) as made:
        await made.start()
        run(dsn, rows(1, 10), "CREATE TABLE untracked_other (id int)")
        began = asyncio.get_running_loop().time()
        await asyncio.to_thread(server.stop)
        assert asyncio.get_running_loop().time() - began < 8
        await asyncio.to_thread(server.boot)
        await made.reached(run(dsn, rows(11, 20)))
        await made.stop()
        assert await made.inserted() == list(range(1, 21))


async def test_a_silent_server_is_given_up(
    table: str, slot: str, postgres: PostgresServer, fault_proxy: Callable[[str, int], FaultProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that swallows everything is noticed by the missing answers, and the stream begins anew."""
    monkeypatch.setattr(replication, "SENDER_TIMEOUT_SECONDS", 2.0)
    monkeypatch.setattr("archiver.capture.postgres.stream.receiver.SILENCE_SECONDS", 2.0)
    proxy = fault_proxy("127.0.0.1", postgres.port)
    async with capture(table.replace(f":{postgres.port}", f":{proxy.port}"), slot) as made:
        await made.start()
        proxy.hang()
        await made.until(lambda: bool(made.errors))
        proxy.cut()
        proxy.reset()
        await made.reached(run(table, rows(1, 10)))
        await made.stop()
        assert "silent" in made.errors[0].message
        assert await made.inserted() == list(range(1, 11))
