"""The HTTP server of the page: its files, and answers about one archive, which it only reads."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from aiohttp import web

from archiver.errors import ArchiverError, Bug, Invalid, Unavailable
from archiver.journal.reader import Reader
from archiver.service.connections import Connections
from archiver.timeline.answers import EVERYTHING, NotSeen, life_answer, require_seen, span_answer
from archiver.timeline.commands import restore_commands
from archiver.timeline.counting import Counter
from archiver.timeline.drawing import drawing, seen
from archiver.timeline.guard import API, Guard, bearer
from archiver.timeline.questions import span_question, subject_question
from archiver.timeline.reviews import NotTold
from archiver.timeline.sight import ReviewedSight, Sight
from archiver.timeline.windows import Windows

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.kept_segments import KeptSegments
    from archiver.store.protocol import Store
    from archiver.timeline.reviews import Reviews

ANSWER_SECONDS = 75.0
"""For one answer; the connection ends a little later."""
PATIENCE_SECONDS = 1.5
"""How long an answer waits for what is being counted."""
WINDOW_SECONDS = 0.05
"""And for gaps, which the page can ask for again once it has drawn."""
AT_ONCE = 3
"""Answers that are worked on; others wait their turn."""
_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript") for name in ("page", "api", "elements", "chart", "changes", "life")},
}
_Answer = Callable[[Mapping[str, str], Sight], Awaitable[Any]]
_log = structlog.get_logger()


class Reviewed(msgspec.Struct, frozen=True):
    """Who may see what is asked of an API server."""

    reviews: Reviews
    cluster: str
    """The source whose objects are those of that API server; empty: none is."""
    hint: str
    """How one gets a token."""


class TimelineServer:
    """Serves one archive from ``start`` to ``stop``."""

    def __init__(
        self,
        store: Store,
        kept: KeptSegments,
        clock: Clock,
        begin: Sequence[str],
        names: Collection[str] = (),
        reviewed: Reviewed | None = None,
    ) -> None:
        """``begin``: the words of a command line before the name of a command. ``names``: as ``Guard`` has them. ``reviewed``: without it
        whoever has ``token`` sees everything.
        """
        self._reviewed = reviewed
        self.token = secrets.token_urlsafe(32)
        self._store, self._kept, self._begin, self._names = store, kept, begin, names
        self._counter, self._windows = Counter(store, kept, clock), Windows(store, clock)
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; where. Raises ``Invalid`` when that cannot be."""
        guard, connections = Guard(self.token if self._reviewed is None else None, {host, *self._names}), Connections()
        app = web.Application(middlewares=[connections.middleware, guard.middleware], client_max_size=1)
        for path, (name, kind) in _FILES.items():
            app.router.add_get(path, _file(name, kind), allow_head=False)
        for name, answer in {"timeline": self._timeline, "changes": self._changes, "life": self._life, "restore": self._restore}.items():
            app.router.add_get(f"{API}{name}", self._answered(answer), allow_head=False)
        # The page gives a question up at each zoom: its answer makes room for the next one's.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        try:
            handler = self._runner.server
            assert handler is not None
            self._server = await connections.listen(handler, host, port)
        except OSError as error:
            await self._runner.cleanup()
            raise Invalid(f"cannot listen on {host}:{port}: {error.strerror}", hint="give another --port; 0 takes a free one") from None
        found = self._server.sockets[0].getsockname()
        return str(found[0]), int(found[1])

    async def stop(self) -> None:
        """End what runs, and close the server."""
        if self._server is not None:
            self._server.close()
        await self._counter.stop()
        await self._windows.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    def _answered(self, answer: _Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    # Whoever is nobody takes no place of those who are somebody.
                    sight = await self._sight(request)
                    if sight is None:
                        return self._unknown()
                    return await self._within(answer, request.query, sight)
            except TimeoutError:
                return _failed(Unavailable(f"no answer within {ANSWER_SECONDS:.0f} s", hint="zoom in, or ask on the command line"), 503)
            except NotTold as error:
                return _failed(error, 503)
            except Exception:  # noqa: BLE001 -- what nobody foresaw ends this answer, not the page
                _log.exception("timeline_failed", path=request.path)
                return _failed(Bug("this is a bug in archiver", hint="its output has more: report it"), 500)

        return handle

    async def _within(self, answer: _Answer, query: Mapping[str, str], sight: Sight) -> web.Response:
        try:
            async with self._gate:
                return _json(await answer(query, sight), 200)
        except NotSeen as error:
            return _failed(error, 403)
        except ArchiverError as error:
            return await self._told(error, query, sight)

    async def _told(self, error: ArchiverError, query: Mapping[str, str], sight: Sight) -> web.Response:
        """An error's own words, or that there is one: they name what could not be read, which may be another's."""
        status = 400 if isinstance(error, Invalid) else 503 if isinstance(error, Unavailable) else 409
        if self._reviewed is None or isinstance(error, NotTold):
            return _failed(error, status)
        if isinstance(error, Invalid):
            # Hints name what is there.
            return _failed(error, status, "")
        _log.warning("timeline_not_read", reason=error.message)
        try:
            if (source := query.get("source", "")) and await sight.whole(source):
                return _failed(error, status, "")
        except Unavailable:
            pass
        again = "try again" if isinstance(error, Unavailable) else ""
        return _failed(Unavailable("something of the archive could not be read; the log of this server says what", hint=again), status)

    async def _sight(self, request: web.Request) -> Sight | None:
        """``None``: nobody knows who asks."""
        if self._reviewed is None:
            return EVERYTHING
        is_bearer, token = bearer(request.headers.get("Authorization", ""))
        user = await self._reviewed.reviews.user(token) if is_bearer else None
        if user is None:
            return None
        return ReviewedSight(self._reviewed.reviews, user, self._reviewed.cluster, lambda: self._counter.lanes)

    def _unknown(self) -> web.Response:
        assert self._reviewed is not None
        answer = _json({"error": "nobody is known by that token", "hint": self._reviewed.hint, "enter": True}, 401)
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    def _reader(self) -> Reader:
        return Reader(self._store, kept=self._kept)

    async def _timeline(self, query: Mapping[str, str], sight: Sight) -> Any:
        asked = span_question(query)
        counted = await self._counter.counted(PATIENCE_SECONDS)
        # One after the other: both read a lot, and counts are drawn first.
        found = self._windows.known if counted.busy else await self._windows.found(WINDOW_SECONDS)
        counted, found = await seen(counted, found, sight)
        return drawing(asked, counted, found, self._store.url, left_out=sight.limited)

    async def _changes(self, query: Mapping[str, str], sight: Sight) -> Any:
        counted = await self._counter.counted(PATIENCE_SECONDS)
        return await span_answer(self._reader(), span_question(query), counted.begin, counted.end, sight)

    async def _life(self, query: Mapping[str, str], sight: Sight) -> Any:
        return await life_answer(self._reader(), subject_question(query), sight)

    async def _restore(self, query: Mapping[str, str], sight: Sight) -> Any:
        asked = subject_question(query)
        await require_seen(asked, sight)
        return {"commands": restore_commands(self._begin, asked)}


def _file(name: str, kind: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    body = resources.files("archiver.timeline").joinpath("page", name).read_bytes()

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8")

    return handle


def _json(value: Any, status: int) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def _failed(error: ArchiverError, status: int, hint: str | None = None) -> web.Response:
    return _json({"error": error.message, "hint": error.hint if hint is None else hint}, status)
