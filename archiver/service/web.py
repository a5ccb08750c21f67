"""Probes, status and metrics over HTTP while the archiver runs, and marks.

``/livez`` the process works; ``/readyz`` the backup works (every source streams, the journal is durable within the RPO), a JSON body
says what does not, and what is not captured at the cost of itself alone; ``/status`` everything as JSON; ``/metrics`` Prometheus text.
Readiness is about the backup, not about traffic: nothing is routed by it. ``POST /marks``, from this machine only, names the journal's
end (``marking``).
"""

from __future__ import annotations

import asyncio
import ipaddress

import msgspec
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from archiver.errors import ArchiverError, Invalid, Refused
from archiver.journal.latency import Latencies
from archiver.service.connections import BODY_SECONDS, Connections
from archiver.service.marking import REQUEST_BYTES, Marker, MarkFailure, MarkRequest
from archiver.service.metrics import StatusCollector, WriterCollector
from archiver.service.service import Service
from archiver.service.status import problems, shortfalls, shown
from archiver.terminal import visible_json
from archiver.untrusted import Unreadable, decode_untrusted

log = structlog.get_logger()


class Web:
    """The HTTP server of one ``Service``. ``start`` binds, ``stop`` lets running answers finish."""

    def __init__(self, service: Service, listen: str, rpo_seconds: float) -> None:
        host, sign, port = listen.rpartition(":")
        if not sign or not port.isdecimal() or int(port) > 65535:
            raise Invalid(f"web.listen: found {listen!r}", hint="write host:port, for example 0.0.0.0:8080")
        self._host, self._port = host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - what ":8080" means everywhere
        self._service = service
        self._rpo_seconds = rpo_seconds
        self._registry = CollectorRegistry()
        self._registry.register(StatusCollector(service.status))
        self._registry.register(WriterCollector(self._latencies))
        ProcessCollector(registry=self._registry)
        self._connections = Connections()
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._marker: Marker | None = None

    async def start(self) -> None:
        """Serve until ``stop``. Raises ``Invalid`` when the address cannot be bound."""
        app = web.Application(middlewares=[self._connections.middleware], client_max_size=REQUEST_BYTES)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/status", self._status)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/marks", self._mark)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            handler = self._runner.server
            assert handler is not None
            self._server = await self._connections.listen(handler, self._host, self._port)
        except OSError as error:
            await self._runner.cleanup()
            raise Invalid(f"web.listen: cannot bind {self._host}:{self._port}: {error.strerror}", hint="choose a free port") from None
        log.info("web_listening", addresses=[f"{at[0]}:{at[1]}" for at in (each.getsockname() for each in self._server.sockets)])

    async def stop(self) -> None:
        """Close the server."""
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _request: web.Request) -> web.Response:
        # Answering at all shows that the event loop turns; the commit loop's end ends the process.
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        status = self._service.status()
        found = problems(status, self._rpo_seconds)
        return _json({"ready": not found, "problems": found, "not_captured": shortfalls(status)}, 503 if found else 200)

    async def _status(self, _request: web.Request) -> web.Response:
        return _json(shown(self._service.status(), running=True), 200)

    async def _mark(self, request: web.Request) -> web.Response:
        # The content type keeps pages of a browser on this machine from asking: theirs would need our consent first.
        if not _from_here(request.remote) or request.content_type != "application/json":
            return _json(MarkFailure("marks are set from the archiver's own machine", "run `archiver mark NAME` there"), 403)
        writer = self._service.writer
        if writer is None:
            return _json(MarkFailure("the archiver has not opened its journal yet", "run the command again once it has"), 503)
        self._marker = self._marker or Marker(writer, self._service.clock)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await request.read()
            asked = decode_untrusted(body, MarkRequest, most=REQUEST_BYTES)
            return _json(await self._marker.set(asked), 200)
        except (Unreadable, TimeoutError, web.HTTPRequestEntityTooLarge):
            return _json(MarkFailure("this is no request for a mark", "use `archiver mark NAME` of the same version"), 400)
        except ArchiverError as error:
            status = 400 if isinstance(error, Invalid) else 409 if isinstance(error, Refused) else 503
            return _json(MarkFailure(error.message, error.hint), status)

    def _latencies(self) -> dict[str, Latencies]:
        writer = self._service.writer
        return {} if writer is None else {"archiver_commit_seconds": writer.commits, "archiver_put_seconds": writer.puts}

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _from_here(remote: str | None) -> bool:
    try:
        address = ipaddress.ip_address(remote or "")
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _json(value: object, status: int) -> web.Response:
    # Read by people on terminals, too.
    body = visible_json(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()) + "\n"
    return web.Response(body=body.encode(), status=status, content_type="application/json")
