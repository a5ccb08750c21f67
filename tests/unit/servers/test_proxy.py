"""The fault proxies do what their docstrings say, before real servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.servers.certificate import Certificate
from tests.servers.http_proxy import HttpFaultProxy, Request
from tests.servers.proxy import DOWN, UP, FaultProxy


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def read_to_end(reader: asyncio.StreamReader) -> tuple[bytes, str]:
    """What arrives, and how it ended."""
    got = b""
    try:
        while data := await reader.read(1000):
            got += data
    except ConnectionResetError:
        return got, "rst"
    return got, "fin"


async def test_forwards_both_ways_and_closes_politely(echo: int) -> None:
    """Without faults every byte arrives and a half-closed connection is answered to its end."""
    with FaultProxy.start("127.0.0.1", echo) as proxy:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"x" * 300_000)
        writer.write_eof()
        assert await read_to_end(reader) == (b"x" * 300_000, "fin")
        writer.close()
        assert proxy.passed == {UP: 300_000, DOWN: 300_000}


@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_cut_ends_open_connections(echo: int, how: str) -> None:
    """``cut`` ends what is open at once, in the way that was asked for, and new connections work."""
    with FaultProxy.start("127.0.0.1", echo) as proxy:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"a")
        assert await reader.read(1) == b"a"
        assert proxy.cut("rst" if how == "rst" else "fin") == 1
        assert await read_to_end(reader) == (b"", how)
        writer.close()
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"b")
        assert await reader.read(1) == b"b"
        writer.close()


async def test_cut_after_counts_bytes_of_one_direction(echo: int) -> None:
    """Exactly the asked number of bytes arrives before the reset."""
    with FaultProxy.start("127.0.0.1", echo) as proxy:
        proxy.cut_after(1234, DOWN)
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"y" * 50_000)
        assert await read_to_end(reader) == (b"y" * 1234, "rst")
        writer.close()


async def test_cut_in_line_leaves_half_a_line(echo: int) -> None:
    """The line that contains the bytes arrives only up to the middle of them."""
    with FaultProxy.start("127.0.0.1", echo) as proxy:
        proxy.cut_in_line(b"MODIFIED", DOWN, how="fin")
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"first\nsecond MODIFIED third\n")
        assert await read_to_end(reader) == (b"first\nsecond MODI", "fin")
        writer.close()


async def test_hang_is_silent_until_resumed(echo: int) -> None:
    """While hung nothing arrives, new connections are accepted, and ``resume`` delivers what was held back."""
    with FaultProxy.start("127.0.0.1", echo) as proxy:
        proxy.hang()
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"held")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        proxy.resume()
        assert await reader.readexactly(4) == b"held"
        proxy.hang(DOWN)
        writer.write(b"up")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        assert proxy.passed[UP] == 6
        writer.close()


async def test_refuse_delay_and_reset(echo: int) -> None:
    """A refusing proxy accepts nothing, a delayed one answers late, ``reset`` ends both."""
    with FaultProxy.start("127.0.0.1", echo) as proxy:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(proxy.host, proxy.port)
        proxy.delay(0.2)
        proxy.accept()
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        started = time.monotonic()
        writer.write(b"z")
        assert await reader.read(1) == b"z"
        assert time.monotonic() - started > 0.35
        proxy.reset()
        started = time.monotonic()
        writer.write(b"z")
        assert await reader.read(1) == b"z"
        assert time.monotonic() - started < 0.2
        writer.close()


async def test_command_line(echo: int) -> None:
    """Another process drives a proxy by JSON lines."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.servers.proxy", f"127.0.0.1:{echo}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    port = int(await asyncio.to_thread(process.stdout.readline))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"a")
    assert await reader.read(1) == b"a"
    process.stdin.write('["cut", "fin"]\n')
    process.stdin.flush()
    assert await asyncio.to_thread(process.stdout.readline) == "ok 1\n"
    assert await read_to_end(reader) == (b"", "fin")
    writer.close()
    await asyncio.to_thread(process.communicate)
    assert process.returncode == 0


@pytest.fixture
async def site() -> AsyncIterator[tuple[int, list[tuple[str, dict[str, str], bytes]]]]:
    seen: list[tuple[str, dict[str, str], bytes]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, {name.lower(): value for name, value in request.headers.items()}, await request.read()))
        if request.path == "/stream":
            response = web.StreamResponse()
            await response.prepare(request)
            for n in range(3):
                await response.write(b"line %d\n" % n)
            return response
        return web.Response(body=b"hello")

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    listening = web.TCPSite(runner, "127.0.0.1", 0)
    await listening.start()
    yield runner.addresses[0][1], seen
    await runner.cleanup()


Site = tuple[int, list[tuple[str, dict[str, str], bytes]]]


def is_post(request: Request) -> bool:
    """aiohttp sends a PUT again by itself when the connection breaks; a POST it does not."""
    return request.method == "POST"


async def test_http_forwards_every_framing(site: Site) -> None:
    """Bodies by length, in chunks and after Expect, answers by length and in chunks pass unchanged over one connection."""
    with HttpFaultProxy.start("127.0.0.1", site[0]) as proxy:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{proxy.port}") as session:
            for path, expected in (("/", b"hello"), ("/stream", b"line 0\nline 1\nline 2\n")):
                async with session.get(path) as response:
                    assert await response.read() == expected

            async def parts() -> AsyncIterator[bytes]:
                for _ in range(3):
                    yield b"p" * 100_000

            async with session.put("/", data=parts()) as response:
                assert await response.read() == b"hello"
            async with session.put("/", data=b"q" * 300_000, expect100=True) as response:
                assert await response.read() == b"hello"
            async with session.head("/") as response:
                assert response.status == 200
            async with session.get("/") as response:
                assert await response.read() == b"hello"
        assert [len(body) for _, _, body in site[1]] == [0, 0, 300_000, 300_000, 0, 0]
        assert proxy.accepted == 1


async def test_http_answers_alters_and_loses(site: Site) -> None:
    """An answer instead, an answer after, a lost answer and changed headers each reach the server as documented."""
    port, seen = site
    with HttpFaultProxy.start("127.0.0.1", port) as proxy:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{proxy.port}") as session:
            proxy.answer(503, match=is_post, times=2)
            for _ in range(2):
                async with session.post("/", data=b"1") as response:
                    assert response.status == 503
            assert seen == []
            proxy.answer(500, match=is_post, forwarded=True)
            async with session.post("/", data=b"2") as response:
                assert response.status == 500
            assert [body for _, _, body in seen] == [b"2"]
            proxy.lose_answer(match=is_post)
            with pytest.raises(aiohttp.ClientError):
                await session.post("/", data=b"3")
            assert [body for _, _, body in seen] == [b"2", b"3"]
            proxy.strip_header("If-None-Match")
            proxy.set_header("x-added", "1")
            async with session.post("/", data=b"4", headers={"if-none-match": "*"}) as response:
                assert response.status == 200
            assert "if-none-match" not in seen[-1][1]
            assert seen[-1][1]["x-added"] == "1"
            assert proxy.requests[-1].headers["if-none-match"] == "*"
            proxy.late(0.2, match=is_post)
            with pytest.raises(aiohttp.ClientError):
                await session.post("/", data=b"5")
            assert seen[-1][2] == b"4"
            await asyncio.sleep(0.4)
            assert seen[-1][2] == b"5"
            proxy.ignore_expect()
            with pytest.raises(TimeoutError):
                await session.post("/", data=b"6", expect100=True, timeout=aiohttp.ClientTimeout(0.3))
            async with session.post("/", data=b"7") as response:
                assert response.status == 200


async def test_http_cut_in_a_stream_under_tls(site: Site, tmp_path: Path) -> None:
    """With TLS ended in the proxy, byte faults act on the plain text of a stream."""
    certificate = Certificate.create(tmp_path)
    with HttpFaultProxy.start("127.0.0.1", site[0], certificate=certificate) as proxy:
        proxy.cut_in_line(b"line 1", DOWN)
        url = f"https://127.0.0.1:{proxy.port}/stream"
        async with aiohttp.ClientSession() as session, session.get(url, ssl=certificate.client_context()) as response:
            assert await response.content.readline() == b"line 0\n"
            with pytest.raises(aiohttp.ClientError):
                await response.content.readline()


def test_nothing_stays_open_when_a_server_does_not_say_goodbye(tmp_path: Path) -> None:
    """A server that is busy does not answer the end of TLS; the proxy stops all the same and leaves no socket to be warned about."""
    certificate = Certificate.create(tmp_path)
    leave = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with certificate.server_context().wrap_socket(connection, server_side=True) as secured:
                secured.sendall(secured.recv(1))
                leave.wait()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with FaultProxy.start("127.0.0.1", listener.getsockname()[1], server_tls=certificate.client_context()) as proxy:
                with socket.create_connection((proxy.host, proxy.port)) as client:
                    client.sendall(b"a")
                    assert client.recv(1) == b"a"
                while proxy.open:
                    time.sleep(0.01)
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                gc.collect()
            assert [str(each.message) for each in seen] == []
        finally:
            leave.set()
            thread.join()
