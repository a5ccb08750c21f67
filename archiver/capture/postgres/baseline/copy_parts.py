"""One COPY … TO STDOUT through a thread: rows as the server writes them, cut into compressed parts at row boundaries.

A thread, because every row is one message of libpq and a busy loop over them would hold up the event loop; zstd and SHA-256 let go of the
GIL. Memory per stream: one batch of rows, and two parts of compressed bytes: the one that grows and the one that is stored.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import select
import threading
from collections.abc import Awaitable, Callable

from psycopg import errors
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from archiver.capture.postgres.session.oversized import BufferWatch
from archiver.errors import Unavailable
from archiver.journal.growing_part import GrowingPart
from archiver.journal.parts import Part

_BATCH_BYTES = 256 * 1024
_STOP_CHECK_SECONDS = 0.2
"""How often a waiting thread looks whether it should stop."""

StorePart = Callable[[bytes], Awaitable[str]]
"""Makes an object durable and gives its key."""


class RowTooLarge(Exception):
    """A row is larger than ``watch`` allows: it was not received, and the connection is of no use any more."""


class _StoppedCopy(Exception):
    """The caller was cancelled; nobody waits for the result."""


async def copy_parts(
    pgconn: PGconn,
    command: bytes,
    store: StorePart,
    *,
    part_bytes: int,
    level: int,
    pool: concurrent.futures.Executor,
    watch: BufferWatch | None = None,
) -> list[Part]:
    """Run ``command``, a COPY to STDOUT in text format, on an idle connection; the parts in order, all durable.

    A part holds at least ``part_bytes`` of rows, but for the last. No rows: no parts. Raises ``psycopg.Error`` when the server refuses,
    ``Unavailable`` when the connection breaks, ``RowTooLarge``, and what ``store`` raises. The connection can be used again after a
    ``psycopg.Error`` with an SQLSTATE, and not after anything else, cancellation included.
    """
    copy = _Copy(pgconn, command, store, part_bytes=part_bytes, level=level, watch=watch)
    running = asyncio.get_running_loop().run_in_executor(pool, copy.run)
    try:
        return await asyncio.shield(running)
    except BaseException:
        copy.stop.set()
        await asyncio.gather(running, return_exceptions=True)
        raise


class _PartStorage:
    """Stores one part at a time, while the next one grows. Its methods are called in a thread."""

    def __init__(self, store: StorePart, stop: threading.Event) -> None:
        """Made in the event loop's thread, where ``store`` is called."""
        self._store = store
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._pending: tuple[Part, concurrent.futures.Future[str]] | None = None
        self.parts: list[Part] = []
        """In order, all durable."""

    def put(self, part: Part, data: bytes) -> None:
        """Begin to store ``part`` once the one before it is durable."""
        self.wait()
        self._pending = part, asyncio.run_coroutine_threadsafe(_call(self._store, data), self._loop)

    def wait(self) -> None:
        """Wait until the part that is being stored is durable."""
        if self._pending is None:
            return
        part, stored = self._pending
        while True:
            try:
                key = stored.result(_STOP_CHECK_SECONDS)
                break
            except concurrent.futures.TimeoutError:
                if self._stop.is_set():
                    stored.cancel()
                    raise _StoppedCopy from None
        self.parts.append(Part(key, part.rows, part.size, part.raw_size, part.sha256))
        self._pending = None


class _Copy:
    """Reads the rows of one COPY and cuts them into parts."""

    def __init__(self, pgconn: PGconn, command: bytes, store: StorePart, *, part_bytes: int, level: int, watch: BufferWatch | None) -> None:
        self.stop = threading.Event()
        self._watch = watch
        self._pgconn = pgconn
        self._command = command
        self._part_bytes = part_bytes
        self._level = level
        self._poll = select.poll()
        self._storage = _PartStorage(store, self.stop)
        self._part = GrowingPart(level)

    def run(self) -> list[Part]:
        """The whole COPY. Runs in a thread."""
        self._poll.register(self._pgconn.socket, select.POLLIN)
        self._pgconn.send_query(self._command)
        while self._pgconn.flush():
            self._wait(select.POLLOUT)
        self._expect(ExecStatus.COPY_OUT)
        while self._read_some():
            if self._part.raw_size >= self._part_bytes:
                self._end_part()
        if self._part.rows:
            self._end_part()
        self._storage.wait()
        self._expect(ExecStatus.COMMAND_OK)
        while self._result() is not None:
            pass
        return self._storage.parts

    def _read_some(self) -> bool:
        """Compress one batch of rows; False at the end. Every CopyData message of the server is one row (manual, COPY Operations)."""
        batch: list[memoryview] = []
        size, ended = 0, False
        get = self._pgconn.get_copy_data
        while size < _BATCH_BYTES:
            length, row = get(1)
            if length > 0:
                batch.append(row)
                size += length
            elif length == 0:
                if batch:
                    break
                # Asked for the next row, libpq has made room for it by now.
                if self._watch and self._watch.exceeded():
                    raise RowTooLarge
                self._wait(select.POLLIN)
                if self._watch:
                    self._watch.begin()
                self._pgconn.consume_input()
            else:
                ended = True
                break
        if batch:
            if self._watch:
                self._watch.received(max(map(len, batch)))
            self._part.add(batch)
        return not ended

    def _end_part(self) -> None:
        part, data = self._part.end()
        self._part = GrowingPart(self._level)
        self._storage.put(part, data)

    def _expect(self, status: ExecStatus) -> None:
        result = self._result()
        if result is not None and result.status == status:
            return
        while self._result() is not None:
            pass
        if result is not None and result.status == ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result)
        raise Unavailable("the connection ended while rows were copied", hint="it is tried again")

    def _result(self) -> PGresult | None:
        while self._pgconn.is_busy():
            self._wait(select.POLLIN)
            self._pgconn.consume_input()
        return self._pgconn.get_result()

    def _wait(self, events: int) -> None:
        """Until the socket is ready, or for a moment: TLS may hold bytes that poll cannot see, and reading in vain does no harm."""
        if self.stop.is_set():
            raise _StoppedCopy
        self._poll.modify(self._pgconn.socket, events)
        self._poll.poll(_STOP_CHECK_SECONDS * 1000)


async def _call(store: StorePart, data: bytes) -> str:
    return await store(data)
