"""No session begins: the message has the server's code, and its hint names the cause and no other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import psycopg
import pytest

from archiver.capture.postgres.session.access import Access
from archiver.capture.postgres.session.replication import connect_replication, identify
from archiver.errors import ArchiverError, Invalid, Refused, Unavailable
from archiver.replay.postgres.write.scratch_database import scratch_database
from archiver.replay.postgres.write.target_database import connected
from tests.servers.pooler import Pooler
from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port


async def refused(dsn: str) -> ArchiverError:
    """What connecting for capture says; a target and a scratch server say the same cause."""
    with pytest.raises(ArchiverError) as first:
        await (await Access.of(dsn).connect()).close()
    with pytest.raises(ArchiverError) as second:
        async with connected(dsn):
            pass
    with pytest.raises(ArchiverError) as third:
        async with scratch_database(dsn, "never"):
            pass
    assert first.value.hint == second.value.hint == third.value.hint
    return first.value


async def identified(access: Access) -> None:
    """Ask over a replication connection who the server is."""
    connection = await connect_replication(access, "archiver_pooled")
    try:
        await identify(connection)
    finally:
        await connection.close()


@pytest.fixture
def server(start_postgres: Callable[..., PostgresServer], postgres_version: int) -> PostgresServer:
    found = start_postgres(
        postgres_version,
        {"max_connections": "8", "superuser_reserved_connections": "0", "max_wal_senders": "3", "max_replication_slots": "3"},
    )
    found.execute("CREATE ROLE plain LOGIN", "CREATE ROLE keyed LOGIN PASSWORD 'right'", "CREATE ROLE asleep")
    found.execute("CREATE DATABASE closed", "REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
    rules = found.data / "pg_hba.conf"
    text = rules.read_text()
    rules.write_text(f"host all keyed 127.0.0.1/32 scram-sha-256\nhost postgres barred 127.0.0.1/32 reject\n{text}")
    found.execute("CREATE ROLE barred LOGIN", "SELECT pg_reload_conf()")
    return found


async def test_each_cause_has_its_code_and_its_hint(server: PostgresServer) -> None:
    """Database, role, password, rights, options, rules, limits: none is told as another, none as a server that is away."""
    base = server.dsn()
    causes: list[tuple[str, type[ArchiverError], str, str]] = [
        (server.dsn("nope"), Invalid, "3D000", "database"),
        (base.replace("postgres@", "nobody@"), Invalid, "28000", "role must exist"),
        (base.replace("postgres@", "asleep@"), Invalid, "28000", "LOGIN"),
        (base.replace("postgres@", "keyed:wrong@"), Invalid, "28P01", "password"),
        (base.replace("postgres@", "barred@"), Invalid, "28000", "pg_hba.conf"),
        (server.dsn("closed").replace("postgres@", "plain@"), Refused, "42501", "GRANT CONNECT"),
        (base + "?options=-c%20nonsense%3D1", Invalid, "42704", "options"),
    ]
    for dsn, kind, state, hint in causes:
        error = await refused(dsn)
        assert type(error) is kind, error
        assert f"(SQLSTATE {state})" in error.message
        assert hint in error.hint
        assert "wrong" not in error.message
    unsaid = await refused(base.replace("postgres@", "keyed@"))
    assert isinstance(unsaid, Invalid)
    assert ("no password supplied" in unsaid.message, "password" in unsaid.hint) == (True, True)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                stack.enter_context(contextlib.closing(server.connect()))
        error = await refused(base)
    assert isinstance(error, Unavailable)
    assert "(SQLSTATE 53300)" in error.message
    assert "max_connections" in error.hint


async def test_no_server() -> None:
    """Nobody listens; the name is unknown: two hints."""
    away = await refused(f"postgresql://postgres@127.0.0.1:{free_port()}/x")
    assert isinstance(away, Unavailable)
    assert "host and port" in away.hint
    unknown = await refused("postgresql://postgres@nowhere.invalid/x")
    assert "host name" in unknown.hint


@pytest.mark.parametrize("dropped", [[], ["options"], ["options", "replication"]], ids=["strict", "options", "all"])
async def test_a_pooler_is_called_one(database: str, postgres: PostgresServer, dropped: list[str]) -> None:
    """Whatever it is set to drop: neither an ordinary nor a replication session is taken for one of the server's."""
    with Pooler(postgres.port, dropped) as pooler:
        access = Access.of(database.replace(f":{postgres.port}/", f":{pooler.port}/"))
        with pytest.raises(Invalid) as ordinary:
            await access.connect()
        assert "pooler" in ordinary.value.hint
        with pytest.raises(Invalid) as replicating:
            await identified(access)
        assert "pooler" in replicating.value.hint
