"""``archiver mark``: a name for the journal's end.

An archive has one writer. While an archiver runs it writes the mark itself, asked at its web address; when the journal's last session
was closed nobody writes, and the mark gets a session of its own. A journal that is neither is left alone: its writer may be alive.
Why so: docs/design/0007-marks.md.
"""

from __future__ import annotations

import asyncio
import platform
from contextlib import suppress

import aiohttp
import msgspec

from archiver import __version__
from archiver.clock import Clock
from archiver.errors import ArchiverError, Invalid, Refused, Unavailable
from archiver.journal.entry import Kind
from archiver.journal.marks import check_name, find_mark, mark_run
from archiver.journal.reader import Reader
from archiver.journal.segment import SegmentHeader
from archiver.journal.writer import Writer
from archiver.service.running import local_address
from archiver.service.service import kinds, limits
from archiver.settings import Settings
from archiver.store.open import open_store
from archiver.store.protocol import Store
from archiver.untrusted import Unreadable, decode_untrusted

SECONDS = 60.0
"""How long a mark may take to become durable."""

_ERRORS: dict[int, type[ArchiverError]] = {400: Invalid, 403: Refused, 409: Refused, 503: Unavailable}


REQUEST_BYTES = 1 << 16
"""Of a request for a mark or its answer that is read."""


class MarkRequest(msgspec.Struct, frozen=True):
    """What a running archiver is asked. ``epoch``: of the session in which the journal was searched for the name."""

    name: str
    archive: str
    epoch: int


class DurableMark(msgspec.Struct, frozen=True):
    """A mark that is durable."""

    name: str
    entry: int
    time: int
    """Microseconds since 1970."""


class MarkFailure(msgspec.Struct, frozen=True):
    """Why there is none."""

    error: str
    hint: str = ""


class Marker:
    """Sets marks with a writer, one after the other, so that no name is given twice."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer, self._clock = writer, clock
        self._turn = asyncio.Lock()
        self._names: set[str] = set()

    async def set(self, request: MarkRequest) -> DurableMark:
        """Durable on return. ``Invalid`` for a name that cannot be one, ``Refused`` for one of this session or another journal."""
        name = check_name(request.name)
        async with self._turn:
            if request.archive != self._writer.archive:
                raise Refused(f"this archiver writes archive {self._writer.archive}", hint="name the settings of the right archive")
            if request.epoch != self._writer.epoch:
                raise Refused("another session of the archiver has begun meanwhile", hint="run the command again")
            if name in self._names:
                raise used(name)
            now = self._clock.now()
            entry = await self._writer.append(mark_run(name, now))
            # From here on it may become durable, whatever comes back.
            self._names.add(name)
            await self._writer.durable(entry)
            return DurableMark(name, entry, now)


def used(name: str) -> Refused:
    """The refusal of a name that is given."""
    return Refused(f"the journal has a mark {name!r} already", hint="choose another name: a mark never moves")


async def set_mark(settings: Settings, clock: Clock, name: str, *, fresh: bool = False) -> DurableMark:
    """Name the journal's end; durable on return. ``fresh``: nobody can have given that name, and it is not looked for.

    Raises ``Invalid`` (the name, no journal), ``Refused`` (the name is used; an archiver may be running and cannot be asked),
    ``Unavailable`` (not known whether it is set).
    """
    check_name(name)
    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        reader = Reader(store)
        tail = await reader.tail()
        if tail is None:
            raise Invalid(f"there is no journal at {store.url}", hint="start one with `archiver run`, or name the right archive.url")
        if not fresh and await find_mark(reader, tail.number, name):
            raise used(name)
        if settings.web.listen:
            marked = await _ask(settings.web.listen, MarkRequest(name, tail.archive, tail.epoch))
            if marked is not None:
                return marked
        if not await _closed(reader, tail):
            raise Refused(
                "the journal is not closed: an archiver may be writing it, and it cannot be asked here",
                hint="run this command where the archiver runs, with web.listen in its settings; if it was killed, start it first",
            )
        return await _alone(store, settings, clock, name)
    finally:
        await store.close()


async def _ask(listen: str, request: MarkRequest) -> DurableMark | None:
    """Have the archiver on this machine set the mark; ``None`` when nobody listens."""
    here = local_address(listen)
    url = f"http://{here}/marks"
    headers = {"Content-Type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as session,
            session.post(url, data=msgspec.json.encode(request), headers=headers, allow_redirects=False) as answer,
        ):
            body, status = await answer.read(), answer.status
    except aiohttp.ClientConnectorError:
        return None
    except (aiohttp.ClientError, TimeoutError):
        raise Unavailable(
            f"the archiver at {here} took the mark and did not say that it is durable",
            hint="run the command again: if the mark was set, the name is refused as used",
        ) from None
    with suppress(Unreadable):
        if status == 200:
            return decode_untrusted(body, DurableMark, most=REQUEST_BYTES)
        if status in _ERRORS:
            failure = decode_untrusted(body, MarkFailure, most=REQUEST_BYTES)
            raise _ERRORS[status](failure.error, hint=failure.hint)
    raise Refused(f"what listens at {here} does not take marks (HTTP status {status})", hint="is it this archiver, of this version?")


async def _closed(reader: Reader, tail: SegmentHeader) -> bool:
    segment = await reader.segment(tail.number)
    return segment is not None and bool(segment.runs) and segment.runs[-1].kind is Kind.CLOSE


async def _alone(store: Store, settings: Settings, clock: Clock, name: str) -> DurableMark:
    """Set the mark in a session of its own. It never fences a session that is not closed, however long that is silent."""
    try:
        async with asyncio.timeout(SECONDS):
            writer = await Writer.open(
                store,
                clock,
                instance=f"mark {platform.node()} {clock.unique()}",
                version=__version__,
                sources=kinds(settings),
                limits=msgspec.structs.replace(limits(settings), takeover_after_seconds=float("inf")),
            )
            marked = asyncio.create_task(Marker(writer, clock).set(MarkRequest(name, writer.archive, writer.epoch)))
            commit = asyncio.create_task(writer.run())
            try:
                result = await marked
                await writer.close()
                return result
            finally:
                for task in (marked, commit):
                    task.cancel()
                await asyncio.gather(marked, commit, return_exceptions=True)
    except TimeoutError:
        raise Unavailable(
            f"the mark was not durable within {SECONDS:g} s: an archiver has just begun, or the store is slow",
            hint="run the command again: if the mark was set, the name is refused as used",
        ) from None
