"""Clients of the web port that never finish what they begin."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from archiver.clock import SystemClock
from archiver.service import connections
from archiver.service.service import Service
from archiver.service.web import Web
from archiver.settings import Settings
from tests.integration.service.rig import captured, create_table, database_source
from tests.servers.archiver import Archiver
from tests.servers.process import free_port

DESCRIPTORS = 256
HALF = b"GET /status HTTP/1.1\r\nHost: x\r\nX-a: "


def clients(port: int, number: int, first: bytes) -> list[socket.socket]:
    """Connections that have sent ``first`` and nothing more, as far as they can be had."""
    made = []
    for _ in range(number):
        client = socket.socket()
        client.settimeout(1)
        with contextlib.suppress(OSError):
            client.connect(("127.0.0.1", port))
            client.send(first)
        made.append(client)
    return made


@pytest.mark.postgres(18)
def test_capture_and_probes_go_on_while_clients_hold_half_requests(database: str, tmp_path: Path) -> None:
    """More half requests than the process has descriptors: changes are journaled meanwhile, and the probes answer."""
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
        with archiver.log_file.open("ab") as log:
            archiver.process = subprocess.Popen(
                ["sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh", sys.executable, "-m", "archiver", "-c", archiver.config, "run"],
                stdout=log,
                stderr=log,
            )
        captured(archiver, "db", database)
        held = clients(archiver.port, DESCRIPTORS + 50, HALF)
        try:
            with psycopg.connect(database, autocommit=True) as session:
                session.execute("CREATE TABLE later (id int PRIMARY KEY)")
                session.execute("INSERT INTO later SELECT generate_series(1, 10)")
            captured(archiver, "db", database)
            assert archiver.get("/livez") == (200, b"ok\n")
            assert len(list(Path(f"/proc/{archiver.process.pid}/fd").iterdir())) < DESCRIPTORS / 2
        finally:
            for client in held:
                client.close()
        assert "web_connections_cut_off" in archiver.log()
        assert archiver.stop() == 0


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[int]:
    """The port of a service that captures nothing."""
    port = free_port()
    web = Web(Service(Settings(), SystemClock(), lambda *_: []), f"127.0.0.1:{port}", 60)
    await web.start()
    try:
        yield port
    finally:
        await web.stop()


async def answer(port: int, request: bytes) -> bytes:
    """Everything that comes back until the connection ends; also when it is cut off."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    with contextlib.suppress(ConnectionError):
        writer.write(request)
        await writer.drain()
        while piece := await reader.read(65536):
            received += piece
    writer.close()
    return received


@pytest.mark.parametrize("first", [b"", HALF, b"POST /marks HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"])
async def test_a_request_that_is_not_finished_is_ended(first: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers, or a body, that do not come in time: the connection ends."""
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(connections, "CONNECTION_SECONDS", 1.0)
    async with served() as port, asyncio.timeout(5):
        began = time.monotonic()
        await answer(port, first)
        assert time.monotonic() - began < 3


async def test_a_client_that_does_not_read_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many requests on one connection get one answer, and a connection ends also when nobody reads it."""
    monkeypatch.setattr(connections, "CONNECTION_SECONDS", 0.5)
    async with served() as port, asyncio.timeout(10):
        got = await answer(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        assert got.count(b"HTTP/1.1 200") == 1
        assert b"\r\nConnection: close\r\n" in got


async def test_endless_headers_are_ended() -> None:
    """Bytes are bounded as well as time."""
    async with served() as port, asyncio.timeout(10):
        got = await answer(port, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-a: y\r\n" * 1_000_000)
        assert b"200" not in got


async def test_the_oldest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every place taken, also by clients that asked and do not read, a new one is answered."""
    monkeypatch.setattr(connections, "MOST", 8)
    for first in (HALF, b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"):
        async with served() as port, asyncio.timeout(10):
            held = clients(port, 30, first)
            assert b"ok" in await answer(port, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            for client in held:
                client.close()
