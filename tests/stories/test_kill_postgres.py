"""The archiver is killed again and again under load; nothing is lost, nothing comes twice."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from tests.servers.archiver import Archiver, wait_until_durable
from tests.servers.compare import differences
from tests.servers.transfers import Transfers, create_tables
from tests.servers.worker import Worker

KILLS = 20


@pytest.mark.timeout(600)
def test_twenty_kills_lose_and_repeat_nothing(database: str, target_database: str, tmp_path: Path) -> None:
    """After ``kill -9`` 20 times at random moments under load, the restored database equals the source."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    create_tables(database)
    settings = {"db": {"postgres": {"dsn": database, "allow_unlimited_wal": True, "poll_seconds": 1}}}
    with Archiver(tmp_path, settings) as archiver, contextlib.ExitStack() as stack:
        loads = [stack.enter_context(contextlib.closing(Transfers(database, seed + n))) for n in range(2)]
        archiver.start()
        workers = [stack.enter_context(Worker(load.step, load.pause)) for load in loads]
        archiver.wait_for_baseline("db")
        for _ in range(KILLS):
            time.sleep(0.3 + chance.random() * 2.5)
            archiver.kill()
            archiver.start()
        time.sleep(1)
        for worker in workers:
            worker.hold()
        wait_until_durable(archiver, "db", database)
        assert archiver.stop() == 0
        assert sum(load.commits for load in loads) > 100
        assert archiver.call("verify").returncode == 0
        restored = archiver.call("restore", "--at", "latest", "--to", target_database)
        assert restored.returncode == 0, restored.stderr
        assert differences(database, target_database) == []


def test_two_archivers_one_writes(database: str, tmp_path: Path) -> None:
    """Of two archivers on one archive the newer one writes; the older stops within one PUT and says that it was fenced."""
    create_tables(database)
    settings = {"db": {"postgres": {"dsn": database, "allow_unlimited_wal": True}}}
    first = Archiver(tmp_path, settings)
    first.start()
    first.wait_for_baseline("db")
    second = Archiver(tmp_path, settings, name="second")
    second.start()
    try:
        assert first.process.wait(60) == 5
        assert "fenced" in first.log()
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("INSERT INTO log VALUES ('after', 'takeover')")
        wait_until_durable(second, "db", database)
        assert second.process.poll() is None
        assert second.stop() == 0
        assert second.call("verify").returncode == 0
    finally:
        for archiver in (first, second):
            if archiver.process.poll() is None:
                archiver.process.send_signal(signal.SIGKILL)
                archiver.process.wait()


def test_second_signal_stops_at_once(database: str, tmp_path: Path) -> None:
    """A first SIGTERM lets it finish; a second one ends it without waiting for the grace period."""
    create_tables(database)
    archiver = Archiver(tmp_path, {"db": {"postgres": {"dsn": database, "allow_unlimited_wal": True}}})
    archiver.start()
    archiver.wait_for_baseline("db")
    archiver.process.send_signal(signal.SIGTERM)
    archiver.process.send_signal(signal.SIGTERM)
    try:
        archiver.process.wait(10)
    except subprocess.TimeoutExpired:
        archiver.process.kill()
        raise
    assert archiver.process.returncode in {0, 130}
