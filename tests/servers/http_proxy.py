"""``FaultProxy`` that understands HTTP/1.1: what happens to one request instead of one connection.

    with HttpFaultProxy.start("127.0.0.1", s3.port) as proxy:
        proxy.answer(503, times=3)                          # do not forward; answer
        proxy.answer(500, match=is_put, forwarded=True)     # forward, drop the server's answer, answer this
        proxy.lose_answer(match=is_put)                     # forward, drop the server's answer, cut
        proxy.late(2.0, match=is_put)                       # cut now, forward the whole request 2 s later
        proxy.strip_header("if-none-match")                 # a store that ignores conditions
        proxy.set_header("x-added", "1")
        proxy.ignore_expect()                               # a server that never sends 100 Continue

``match`` gets a ``Request`` and chooses; rules are tried in the order in which they were added, ``times`` (None: for ever) counts down.
``requests`` lists every request head seen, newest last. The faults of ``FaultProxy`` act on the same bytes. With ``certificate`` and
``server_tls`` the same works for HTTPS. One request at a time per connection (no pipelining); upgrades are not understood.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from tests.servers.proxy import DOWN, UP, Connection, Cut, FaultProxy, closed

_MAX_SEEN = 10_000


@dataclass(frozen=True)
class Request:
    """Head of a request. Header names are lower case."""

    method: str
    target: str
    headers: dict[str, str]

    @classmethod
    def parse(cls, head: bytes) -> Request:
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ", 2)
        return cls(method, target, {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)})

    def encode(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in self.headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


Match = Callable[[Request], bool]


def everything(_: Request) -> bool:
    return True


@dataclass
class _Rule:
    match: Match
    times: int | None
    status: int | None = None
    forward: bool = False
    late: float | None = None
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class HttpFaultProxy(FaultProxy):
    """See the module."""

    _rules: list[_Rule]
    _changes: dict[str, str | None]
    _deaf = False
    requests: list[Request]

    def answer(
        self,
        status: int,
        *,
        match: Match = everything,
        times: int | None = 1,
        body: bytes = b"",
        headers: tuple[tuple[str, str], ...] = (),
        forwarded: bool = False,
    ) -> None:
        """Answer with ``status`` and ``body``; the server sees the request only when ``forwarded``."""
        self._rule(_Rule(match, times, status=status, forward=forwarded, body=body, headers=headers))

    def lose_answer(self, *, match: Match = everything, times: int | None = 1) -> None:
        """The server does it, the client sees a reset connection."""
        self._rule(_Rule(match, times, forward=True))

    def late(self, seconds: float, *, match: Match = everything, times: int | None = 1) -> None:
        """The client sees a reset connection; the server gets the whole request ``seconds`` later. Its answer is dropped."""
        self._rule(_Rule(match, times, late=seconds))

    def strip_header(self, name: str) -> None:
        """Take a header out of every request from now on."""
        self._do(lambda: self._changes.update({name.lower(): None}))

    def set_header(self, name: str, value: str) -> None:
        """Put a header into every request from now on."""
        self._do(lambda: self._changes.update({name.lower(): value}))

    def ignore_expect(self) -> None:
        """``Expect: 100-continue`` never gets its interim answer: such a client waits with its body for ever."""
        self._do(lambda: setattr(self, "_deaf", True))

    def _forget(self) -> None:
        super()._forget()
        self._rules, self._changes, self._deaf = [], {}, False
        self.requests = []

    async def _open(self) -> None:
        self._forget()
        await super()._open()

    def _rule(self, rule: _Rule) -> None:
        self._do(lambda: self._rules.append(rule))

    def _take(self, request: Request) -> _Rule | None:
        for rule in self._rules:
            if not rule.match(request):
                continue
            if rule.times is not None:
                rule.times -= 1
                if rule.times <= 0:
                    self._rules.remove(rule)
            return rule
        return None

    async def serve(self, connection: Connection) -> None:
        """Requests one after another until either side ends."""
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while True:
            await self._gates[UP].wait()
            try:
                head = await connection.client_reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return
            request = Request.parse(head)
            self.requests = [*self.requests[-_MAX_SEEN:], request]
            rule = self._take(request)
            if rule is not None and rule.late is not None:
                await self._deliver_late(connection, request, rule.late)
            if rule is not None and not rule.forward:
                await self._read_body(connection, request)
                await self._reply(connection, request, rule)
                continue
            server = server or await self.dial(connection)
            if not await self._exchange(connection, self._changed(request), server, rule):
                return

    def _changed(self, request: Request) -> Request:
        headers = {**request.headers, **self._changes}
        return Request(request.method, request.target, {name: value for name, value in headers.items() if value is not None})

    async def _exchange(
        self, connection: Connection, request: Request, server: tuple[asyncio.StreamReader, asyncio.StreamWriter], rule: _Rule | None
    ) -> bool:
        """Forward one request and its answer; False when the connection ends with it."""
        reader, writer = server
        expects = request.headers.pop("expect", "") if self._deaf else request.headers.get("expect", "")
        await self.forward(connection, UP, request.encode(), writer)
        if self._deaf and expects:
            await asyncio.Event().wait()
        if expects:
            interim = await reader.readuntil(b"\r\n\r\n")
            await self.forward(connection, DOWN, interim, connection.client)
            if b" 100 " not in interim.split(b"\r\n", 1)[0]:
                return await self._pass_body(connection, DOWN, reader, connection.client, interim, request) and False
        body = asyncio.create_task(self._pass_body(connection, UP, connection.client_reader, writer, request.encode(), request))
        try:
            keep = await self._answer_from(connection, request, reader, rule)
            if not body.done():
                return False  # answered before the body was read
            await body
        finally:
            body.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await body
        return keep

    async def _answer_from(self, connection: Connection, request: Request, reader: asyncio.StreamReader, rule: _Rule | None) -> bool:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.split(b" ", 2)[1].startswith(b"1"):
                break
        if rule is None:
            await self.forward(connection, DOWN, head, connection.client)
            return await self._pass_body(connection, DOWN, reader, connection.client, head, request)
        await self._pass_body(connection, DOWN, reader, None, head, request)
        if rule.status is None:
            connection.end("rst")
            raise Cut
        await self._reply(connection, request, rule)
        return True

    async def _reply(self, connection: Connection, request: Request, rule: _Rule) -> None:
        lines = [
            f"HTTP/1.1 {rule.status} Fault",
            f"content-length: {len(rule.body)}",
            *(f"{name}: {value}" for name, value in rule.headers),
        ]
        body = b"" if request.method == "HEAD" else rule.body
        await self.forward(connection, DOWN, ("\r\n".join(lines) + "\r\n\r\n").encode() + body, connection.client)

    async def _deliver_late(self, connection: Connection, request: Request, seconds: float) -> None:
        body = await self._read_body(connection, request)
        connection.end("rst")

        async def deliver() -> None:
            await asyncio.sleep(seconds)
            reader, writer = await asyncio.open_connection(*self._target, ssl=self._server_tls)
            headers = {**request.headers, "connection": "close"}
            writer.write(Request(request.method, request.target, headers).encode() + body)
            await writer.drain()
            with contextlib.suppress(OSError):
                await reader.read()
            await closed(writer)

        task = asyncio.create_task(deliver())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        raise Cut

    async def _read_body(self, connection: Connection, request: Request) -> bytes:
        if request.headers.get("transfer-encoding", "").lower() == "chunked":
            parts = bytearray()
            async for part in _chunks(connection.client_reader):
                parts += part
            return bytes(parts)
        return await connection.client_reader.readexactly(int(request.headers.get("content-length", "0")))

    async def _pass_body(
        self,
        connection: Connection,
        direction: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter | None,
        head: bytes,
        request: Request,
    ) -> bool:
        """Pass a body on as it is framed (``writer`` None: drop it); False when the end of the connection is its end."""
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        way = UP if direction == UP else DOWN
        if way == DOWN and (request.method == "HEAD" or first.split(" ", 2)[1] in {"204", "304"}):
            return headers.get("connection", "").lower() != "close"
        if headers.get("transfer-encoding", "").lower() == "chunked":
            async for part in _chunks(reader):
                if writer is not None:
                    await self.forward(connection, way, part, writer)
            return headers.get("connection", "").lower() != "close"
        left = int(headers["content-length"]) if "content-length" in headers else (0 if way == UP else None)
        while left is None or left > 0:
            part = await reader.read(65536 if left is None else min(left, 65536))
            if not part and left is not None:
                raise asyncio.IncompleteReadError(b"", left)
            if not part:
                return False
            left = None if left is None else left - len(part)
            if writer is not None:
                await self.forward(connection, way, part, writer)
        return headers.get("connection", "").lower() != "close"


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The chunks of a chunked body as they are on the wire, with framing and trailers."""
    while True:
        size = await reader.readuntil(b"\r\n")
        length = int(size.split(b";", 1)[0], 16)
        if length == 0:
            trailer = b""
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                trailer += line
            yield size + trailer + b"\r\n"
            return
        yield size + await reader.readexactly(length + 2)
