"""Connections to the web port, each with a bound on its time and its bytes, and all of them with a bound on their number.

Whoever reaches the port may open connections and never finish what is begun on them. Each of them holds a descriptor that capture needs.
So a connection serves one request and ends; the one that has waited longest makes room for a new one, which keeps the probes answered.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Awaitable, Callable
from typing import cast

import structlog
from aiohttp import web

REQUEST_SECONDS = 10.0
"""From a connection's beginning to the end of its request's headers."""
BODY_SECONDS = 10.0
"""For what follows the headers."""
CONNECTION_SECONDS = 90.0
"""For all of it, the answer included: a mark may take a minute to become durable."""
MOST_BYTES = 1 << 20
"""Of a connection that are read: headers and body of one request."""
MOST = 64
"""Connections at one time, and no more than a quarter of the descriptors that the process may have."""
WARN_SECONDS = 60.0
"""The log tells of connections that were cut off this often at most."""

log = structlog.get_logger()


def most_connections() -> int:
    """How many connections there may be at one time."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if descriptors == resource.RLIM_INFINITY else max(4, min(MOST, descriptors // 4))


class Connections:
    """All connections of one port."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most or most_connections()
        self._open: dict[asyncio.BaseTransport, Connection] = {}
        self._cut: dict[str, int] = {}
        self._warned = 0.0

    async def listen(self, handler: Callable[[], asyncio.Protocol], host: str, port: int) -> asyncio.Server:
        """Serve ``handler`` there. Raises ``OSError`` when it cannot be bound. Out of descriptors, it accepts again a second later."""
        return await asyncio.get_running_loop().create_server(lambda: Connection(self, handler()), host, port, backlog=128)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        """Note that the request is there, and answer it as the connection's last."""
        if request.transport is not None and (connection := self._open.get(request.transport)) is not None:
            connection.asked = True
        try:
            answer = await handler(request)
        except web.HTTPException as error:
            error.force_close()
            raise
        answer.force_close()
        return answer

    def add(self, connection: Connection) -> None:
        """Count ``connection``. When there are too many, the oldest ends: whoever asks and reads is served by then."""
        if len(self._open) >= self._most:
            next(iter(self._open.values())).cut("too many")
        self._open[connection.transport] = connection

    def remove(self, connection: Connection) -> None:
        """Count ``connection`` no more."""
        self._open.pop(connection.transport, None)

    def note(self, reason: str) -> None:
        """Tell the log, once in a while, that connections were cut off."""
        self._cut[reason] = self._cut.get(reason, 0) + 1
        now = asyncio.get_running_loop().time()
        if now - self._warned > WARN_SECONDS or not self._warned:
            log.warning("web_connections_cut_off", **{reason.replace(" ", "_"): count for reason, count in self._cut.items()})
            self._warned, self._cut = now, {}


class Connection(asyncio.Protocol):
    """One connection: what it receives goes to ``handler`` until a bound is reached."""

    transport: asyncio.Transport

    def __init__(self, connections: Connections, handler: asyncio.Protocol) -> None:
        self.asked = False
        """Whether its request is known."""
        self._connections, self._handler = connections, handler
        self._bytes = 0
        self._clocks: list[asyncio.TimerHandle] = []

    def cut(self, reason: str) -> None:
        """End it at once, whatever is still unsent."""
        self._connections.note(reason)
        self._connections.remove(self)
        self.transport.abort()

    def _late(self) -> None:
        if not self.asked:
            self.cut("no request")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start its clocks."""
        self.transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        loop = asyncio.get_running_loop()
        self._clocks = [loop.call_later(REQUEST_SECONDS, self._late), loop.call_later(CONNECTION_SECONDS, self.cut, "too long")]
        self._handler.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop its clocks."""
        for clock in self._clocks:
            clock.cancel()
        self._connections.remove(self)
        self._handler.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand it on, within the bound."""
        self._bytes += len(data)
        if self._bytes > MOST_BYTES:
            self.cut("too many bytes")
        else:
            self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        """As the handler has it."""
        return self._handler.eof_received()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        self._handler.resume_writing()
