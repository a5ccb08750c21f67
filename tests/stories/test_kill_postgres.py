"""The archiver is killed again and again under load; nothing is lost, nothing comes twice."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.servers.archiver import Archiver, wait_until_durable
from tests.servers.compare import differences
from tests.servers.postgres import PostgresServer

KILLS = 20

SCHEMA = """
CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL, note text, data jsonb DEFAULT '{}');
CREATE TABLE transfer (id bigserial PRIMARY KEY, source bigint REFERENCES account, target bigint REFERENCES account, amount bigint, at timestamptz DEFAULT now());
CREATE TABLE log (who text, what text);
ALTER TABLE log REPLICA IDENTITY FULL;
INSERT INTO account SELECT g, 1000, repeat('x', (g % 300)::int), jsonb_build_object('n', g) FROM generate_series(1, 200) g;
"""


class Load(threading.Thread):
    """Transfers between accounts in transactions of changing size, some rolled back, until told to stop."""

    def __init__(self, dsn: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.dsn, self.chance, self.stop = dsn, random.Random(seed), threading.Event()
        self.commits = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with psycopg.connect(self.dsn) as connection:
                while not self.stop.is_set():
                    try:
                        self.transaction(connection)
                    except psycopg.errors.DeadlockDetected:
                        # Two loads met: one more transaction that is rolled back.
                        connection.rollback()
                    time.sleep(self.chance.random() * 0.01)
        except BaseException as error:
            self.error = error

    def transaction(self, connection: psycopg.Connection) -> None:
        chance = self.chance
        for _ in range(chance.choice([1, 1, 2, 5, 40])):
            low, high = sorted(chance.sample(range(1, 201), 2))
            amount = chance.randint(1, 50)
            connection.execute("UPDATE account SET balance = balance - %s WHERE id = %s", (amount, low))
            connection.execute("UPDATE account SET balance = balance + %s, note = left(note || 'é\t\\', 400) WHERE id = %s", (amount, high))
            connection.execute("INSERT INTO transfer (source, target, amount) VALUES (%s, %s, %s)", (low, high, amount))
            if chance.random() < 0.2:
                connection.execute("INSERT INTO log VALUES (%s, %s)", (str(low), "x" * chance.randint(0, 50)))
            if chance.random() < 0.1:
                connection.execute("DELETE FROM log WHERE who = %s", (str(high),))
        if chance.random() < 0.1:
            connection.rollback()
        else:
            connection.commit()
            self.commits += 1


@pytest.mark.timeout(600)
def test_twenty_kills_lose_and_repeat_nothing(postgres: PostgresServer, database: str, tmp_path: Path) -> None:
    """After ``kill -9`` 20 times at random moments under load, the restored database equals the source."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SCHEMA)
    archiver = Archiver(tmp_path, {"db": {"postgres": {"dsn": database, "allow_unlimited_wal": True, "poll_seconds": 1}}})
    archiver.start()
    loads = [Load(database, seed + n) for n in range(2)]
    for load in loads:
        load.start()
    archiver.wait_for_baseline("db")
    for _ in range(KILLS):
        time.sleep(0.3 + chance.random() * 2.5)
        archiver.process.send_signal(signal.SIGKILL)
        archiver.process.wait()
        archiver.start()
    time.sleep(1)
    for load in loads:
        load.stop.set()
        load.join()
        assert load.error is None
    wait_until_durable(archiver, "db", database)
    assert archiver.stop() == 0
    assert sum(load.commits for load in loads) > 100

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier("restored_kill")))
    target = postgres.dsn("restored_kill")
    try:
        assert archiver.call("verify").returncode == 0
        restored = archiver.call("restore", "--at", "latest", "--to", target)
        assert restored.returncode == 0, restored.stderr
        assert differences(database, target) == []
    finally:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier("restored_kill")))


def test_two_archivers_one_writes(database: str, tmp_path: Path) -> None:
    """Of two archivers on one archive the newer one writes; the older stops within one PUT and says that it was fenced."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SCHEMA)
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
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SCHEMA)
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
