"""The PostgreSQL part of the rig itself."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.servers.postgres import PostgresServer, has_vector
from tests.servers.process import alive, children


def test_server_speaks_the_version_asked_for(postgres: PostgresServer) -> None:
    """A server is of its version, decodes logically, and has pgvector where its package brings it."""
    with postgres.connect() as connection:
        assert connection.info.server_version // 10_000 == postgres.version
        assert connection.execute("SHOW wal_level").fetchone() == ("logical",)
        available = connection.execute("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'").fetchone()
    assert available == (1 if has_vector(postgres.version) else 0,)
    with psycopg.connect(postgres.socket_dsn()) as connection:
        assert connection.execute("SELECT inet_server_addr()").fetchone() == (None,)


def test_database_is_dropped_with_its_slots(postgres: PostgresServer) -> None:
    """A database with a slot and an open session leaves neither behind."""
    with postgres.database() as name:
        session = postgres.connect(name)
        session.execute("SELECT pg_create_logical_replication_slot('rig_slot', 'pgoutput')")
    session.close()
    with postgres.connect() as connection:
        assert connection.execute("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'rig_slot'").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM pg_database WHERE datname = %s", [name]).fetchone() == (0,)


def test_kill_ends_every_process_and_loses_no_commit(postgres_version: int, start_postgres: Callable[..., PostgresServer]) -> None:
    """After SIGKILL no child runs, and a restart on the same port recovers what was committed."""
    server = start_postgres(postgres_version, {"max_slot_wal_keep_size": "64MB"})
    server.execute("CREATE TABLE kept (id int)", "INSERT INTO kept VALUES (1)")
    port, pid = server.port, server.pid
    assert pid is not None
    doomed = children(pid)
    server.kill()
    assert server.pid is None
    assert not [child for child in doomed if alive(child)]
    server.restart()
    with server.connect() as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1,)
        assert connection.execute("SHOW max_slot_wal_keep_size").fetchone() == ("64MB",)
    assert server.port == port


@pytest.mark.postgres(18)
def test_marker_chooses_the_version(database: str, target_database: str) -> None:
    """A marked test runs on that version alone, and its two databases are different ones."""
    assert database != target_database
    with psycopg.connect(database) as connection:
        assert connection.info.server_version // 10_000 == 18
