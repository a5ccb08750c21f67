"""A TCP proxy that breaks connections on demand, between a client and a real server.

It runs its own event loop in a thread, so it works for tests of any kind (asyncio, plain, subprocesses: whoever can reach the port) and
keeps working while a test blocks. Every method may be called from any thread and has taken effect when it returns.

    with FaultProxy.start("127.0.0.1", server.port) as proxy:
        client.connect(proxy.host, proxy.port)
        proxy.cut()                                  # all connections now, by RST (how="fin": politely)
        proxy.cut_after(1000, DOWN)                  # after 1000 more bytes of one connection from server to client
        proxy.cut_in_line(b'"MODIFIED"', DOWN)       # in the middle of the next line that contains the bytes
        proxy.hang()                                 # nothing is forwarded any more, new connections are accepted but never answered
        proxy.hang(DOWN)                             # requests arrive, answers do not
        proxy.delay(0.05)                            # before every chunk
        proxy.refuse()                               # connection refused; open connections stay
        proxy.reset()                                # no faults; what was held back by a hang flows on

Directions: ``UP`` is client to server, ``DOWN`` server to client, ``None`` both. Cuts act once unless ``times`` says otherwise. TLS passes
through untouched; ``certificate`` ends the client's TLS here and ``server_tls`` opens the server's, so that faults see plain bytes.
``tests.servers.http_proxy`` adds faults that understand HTTP/1.1.

From a shell or another language: ``python -m tests.servers.proxy HOST:PORT [LISTEN_PORT]`` prints the port it listens on, then reads
one JSON array a line, ``["cut"]`` or ``["cut_after", 1000, "down"]``, and answers ``ok``; it ends with its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal, Self, TypeVar

from tests.servers.certificate import Certificate

Direction = Literal["up", "down"]
How = Literal["rst", "fin"]
UP: Direction = "up"
DOWN: Direction = "down"

_CHUNK = 65536
_T = TypeVar("_T")


class Cut(Exception):
    """Raised inside a connection's tasks when a fault has ended it."""


class _CutRule:
    """Finds the byte at which to cut. State is kept per connection."""

    def __init__(
        self, direction: Direction | None, how: How, times: int | None, find: Callable[[dict[str, Any], bytes], int | None]
    ) -> None:
        self.direction, self.how, self.times, self.find = direction, how, times, find


class Connection:
    """One client's connection and, once open, the server's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.client_reader, self.client = reader, writer
        self.server: asyncio.StreamWriter | None = None
        self.memory: dict[int, dict[str, Any]] = {}

    def end(self, how: How) -> None:
        for writer in (self.client, self.server):
            if writer is None:
                continue
            if how == "rst":
                sock = writer.get_extra_info("socket")
                if sock is not None:  # a TLS transport that is closed already has forgotten it
                    with contextlib.suppress(OSError):
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            elif not writer.is_closing():  # closed twice, TLS forgets its own connection and cannot be aborted any more
                writer.close()

    async def closed(self) -> None:
        """Return once both sockets are closed. A TLS peer that does not say goodbye within a second is not waited for any longer: what is
        open when the loop ends is a warning in whichever test runs then.
        """
        for writer in (self.client, self.server):
            if writer is not None:
                await closed(writer)


async def closed(writer: asyncio.StreamWriter, seconds: float = 1.0) -> None:
    """Close a connection, within ``seconds`` in order and else by force; it is closed on return, also when cancelled."""
    if not writer.is_closing():
        writer.close()
    try:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.shield(writer.wait_closed())
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class FaultProxy:
    """See the module. ``accepted``, ``open`` and ``passed`` (bytes by direction) tell what happened."""

    def __init__(self, host: str, port: int, *, certificate: Certificate | None = None, server_tls: ssl.SSLContext | None = None) -> None:
        self.host, self.port = "127.0.0.1", 0
        self.accepted = 0
        self.passed: dict[Direction, int] = {UP: 0, DOWN: 0}
        self._target, self._certificate, self._server_tls = (host, port), certificate, server_tls
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cuts: list[_CutRule] = []
        self._delays: dict[Direction, float] = {UP: 0.0, DOWN: 0.0}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    @classmethod
    def start(
        cls, host: str, port: int, *, listen: int = 0, certificate: Certificate | None = None, server_tls: ssl.SSLContext | None = None
    ) -> Self:
        """A running proxy in front of ``host:port``. ``listen`` 0: a free port. ``stop`` it, or use it as a context manager."""
        proxy = cls(host, port, certificate=certificate, server_tls=server_tls)
        proxy.port = listen
        proxy._thread.start()
        proxy._wait(proxy._open())
        return proxy

    def stop(self) -> None:
        """Cut everything and end the thread."""
        self._wait(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def retarget(self, host: str, port: int) -> None:
        """New connections go to another server (a restarted one, a failover)."""
        self._do(lambda: setattr(self, "_target", (host, port)))

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return self._do(lambda: len(self._connections))

    def cut(self, how: How = "rst") -> int:
        """End every open connection now; how many there were."""

        def act() -> int:
            ended = list(self._connections)
            for connection in ended:
                connection.end(how)
            return len(ended)

        return self._do(act)

    def cut_after(self, count: int, direction: Direction | None = None, *, how: How = "rst", times: int | None = 1) -> None:
        """Cut the first connection that has passed ``count`` bytes from now on; the bytes before that arrive."""

        def find(memory: dict[str, Any], data: bytes) -> int | None:
            seen = memory.get("seen", 0)
            memory["seen"] = seen + len(data)
            return count - seen if seen + len(data) >= count else None

        self._add(_CutRule(direction, how, times, find))

    def cut_in_line(self, contains: bytes, direction: Direction | None = DOWN, *, how: How = "rst", times: int | None = 1) -> None:
        """Cut in the middle of the next line in which ``contains`` is seen: half of ``contains`` is the last thing that arrives."""

        def find(memory: dict[str, Any], data: bytes) -> int | None:
            tail: bytes = memory.get("tail", b"")
            at = (tail + data).find(contains)
            memory["tail"] = (tail + data)[-max(len(contains) - 1, 0) :] if len(contains) > 1 else b""
            return max(at + len(contains) // 2 - len(tail), 0) if at >= 0 else None

        self._add(_CutRule(direction, how, times, find))

    def hang(self, direction: Direction | None = None) -> None:
        """Forward nothing (in one direction) until ``resume``: the sockets stay open and silent, like a lost network path."""
        self._do(lambda: self._gate(direction, forward=False))

    def resume(self, direction: Direction | None = None) -> None:
        """End a hang; what was held back flows on."""
        self._do(lambda: self._gate(direction, forward=True))

    def delay(self, seconds: float, direction: Direction | None = None) -> None:
        """Wait before every chunk (up to 64 KiB) that is forwarded; 0 ends it."""
        self._do(lambda: self._delays.update(dict.fromkeys(_each(direction), seconds)))

    def refuse(self) -> None:
        """Stop listening: new connections are refused until ``accept``."""
        self._wait(self._unlisten())

    def accept(self) -> None:
        """Listen again on the same port."""
        self._wait(self._listen())

    def reset(self) -> None:
        """Forget every fault and listen."""
        self._do(self._forget)
        self.resume()
        self.accept()

    def _gate(self, direction: Direction | None, *, forward: bool) -> None:
        for each in _each(direction):
            if forward:
                self._gates[each].set()
            else:
                self._gates[each].clear()

    def _forget(self) -> None:
        self._cuts.clear()
        self._delays = {UP: 0.0, DOWN: 0.0}

    async def serve(self, connection: Connection) -> None:
        """One connection from the first byte to the last; ``HttpFaultProxy`` replaces it."""
        await self._gates[UP].wait()
        reader, writer = await self.dial(connection)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(connection, UP, connection.client_reader, writer))
            group.create_task(self._pump(connection, DOWN, reader, connection.client))

    async def dial(self, connection: Connection) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the server for this connection."""
        reader, writer = await asyncio.open_connection(*self._target, ssl=self._server_tls)
        connection.server = writer
        return reader, writer

    async def forward(self, connection: Connection, direction: Direction, data: bytes, writer: asyncio.StreamWriter) -> None:
        """Pass ``data`` on, subject to every fault. Raises ``Cut`` when it ended the connection."""
        await self._gates[direction].wait()
        if self._delays[direction]:
            await asyncio.sleep(self._delays[direction])
            await self._gates[direction].wait()
        for rule in list(self._cuts):
            if rule.direction not in (direction, None):
                continue
            at = rule.find(connection.memory.setdefault(id(rule), {}), data)
            if at is None:
                continue
            if rule.times is not None:
                rule.times -= 1
                if rule.times <= 0:
                    self._cuts.remove(rule)
            await self._write(direction, data[:at], writer)
            await asyncio.sleep(0.01)  # the kernel hands the last bytes over before the reset overtakes them
            connection.end(rule.how)
            raise Cut
        await self._write(direction, data, writer)

    async def _write(self, direction: Direction, data: bytes, writer: asyncio.StreamWriter) -> None:
        self.passed[direction] += len(data)
        writer.write(data)
        await writer.drain()

    async def _pump(self, connection: Connection, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self.forward(connection, direction, data, writer)
        await self._gates[direction].wait()
        if writer.can_write_eof():
            writer.write_eof()
        else:
            raise Cut  # TLS knows no half-closed connection

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = Connection(reader, writer)
        self._connections.add(connection)
        self.accepted += 1
        try:
            await self.serve(connection)
        except* Cut:
            pass
        except* (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            connection.end("rst")
        finally:
            connection.end("fin")
            self._connections.discard(connection)
            try:
                await connection.closed()
            finally:
                self._tasks.discard(task)

    async def _open(self) -> None:
        self._gates: dict[Direction, asyncio.Event] = {UP: asyncio.Event(), DOWN: asyncio.Event()}
        for gate in self._gates.values():
            gate.set()
        self._listener: asyncio.Server | None = None
        await self._listen()

    async def _listen(self) -> None:
        if self._listener is not None:
            return
        tls = self._certificate.server_context() if self._certificate else None
        self._listener = await asyncio.start_server(self._handle, self.host, self.port, ssl=tls, limit=1 << 20)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _unlisten(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            await asyncio.sleep(0)

    async def _close(self) -> None:
        await self._unlisten()
        for connection in list(self._connections):
            connection.end("rst")
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _add(self, rule: _CutRule) -> None:
        self._do(lambda: self._cuts.append(rule))

    def _do(self, action: Callable[[], _T]) -> _T:
        async def run() -> _T:
            return action()

        return self._wait(run())

    def _wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)


def _each(direction: Direction | None) -> tuple[Direction, ...]:
    return (UP, DOWN) if direction is None else (direction,)


def main(arguments: list[str]) -> None:
    host, _, port = arguments[0].rpartition(":")
    with FaultProxy.start(host, int(port), listen=int(arguments[1]) if len(arguments) > 1 else 0) as proxy:
        print(proxy.port, flush=True)
        for line in sys.stdin:
            name, *values = json.loads(line)
            values = [value.encode() if name == "cut_in_line" and at == 0 else value for at, value in enumerate(values)]
            print("ok", getattr(proxy, name)(*values) or "", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
