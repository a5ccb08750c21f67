"""A running replication stream as the event loop sees it: runs come out, durable positions go in.

start_stream -> next, next, … -> quiesce -> (next gives what is left, then None) -> finish
                                 close: at once, from any state
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from archiver.capture.postgres.session.oversized import BufferWatch, memory_reader
from archiver.capture.postgres.session.replication import SENDER_TIMEOUT_SECONDS, Connection, explained, literal, quoted
from archiver.capture.postgres.stream.continuation import Continuation
from archiver.capture.postgres.stream.feedback import Feedback
from archiver.capture.postgres.stream.packer import Packer
from archiver.capture.postgres.stream.receiver import Receiver
from archiver.errors import ArchiverError, Unavailable
from archiver.postgres.lsn import format_position

if TYPE_CHECKING:
    from archiver.capture.postgres.catalog.redaction import Redaction
    from archiver.clock import Clock
    from archiver.journal.entry import Run
    from archiver.postgres.announcement_seal import SealKeys
    from archiver.postgres.replication_messages import SentCommit

FEEDBACK_SECONDS = 10.0
"""Longest interval between status updates."""
JOIN_SECONDS = 5.0


@dataclass(frozen=True)
class StreamOptions:
    """How to read a slot."""

    slot: str
    start: int
    """Where replication starts."""
    known: int
    """Everything that committed before it is in the journal."""
    newest: SentCommit | None
    """The journal's newest commit, which must come again; ``None`` when it cannot."""
    publications: tuple[str, ...]
    protocol: int
    streaming: bool
    queue_bytes: int
    heartbeat_seconds: float
    synchronous: bool
    largest_bytes: int
    """Larger messages end the stream with ``Oversized``."""
    messages: bool = True
    """Receive what ``pg_logical_emit_message`` sends: our announcements of schema changes, and whatever else anybody sends."""


def protocol_version(server_version: int) -> int:
    """The newest version of pgoutput's protocol that a server (``server_version_num``) speaks and readers know."""
    return 4 if server_version >= 160000 else 3


def start_command(options: StreamOptions) -> str:
    """START_REPLICATION in text mode (manual 55.4 and 55.5.1)."""
    names = ",".join(quoted(name) for name in options.publications)
    parts = [f"proto_version '{options.protocol}'", f"publication_names {literal(names)}"]
    if options.messages:
        parts.append("messages 'true'")
    if options.streaming:
        parts.append("streaming 'on'")
    return f"START_REPLICATION SLOT {quoted(options.slot)} LOGICAL {format_position(options.start)} ({', '.join(parts)})"


class ReplicationStream:
    """One started stream. Every method belongs to one event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._runs: deque[Run] = deque()
        self._some = asyncio.Event()
        self._over = False
        self._error: ArchiverError | None = None
        self.receiver: Receiver

    @classmethod
    async def start(
        cls,
        connection: Connection,
        source: str,
        options: StreamOptions,
        clock: Clock,
        ddl_seen: Callable[[bytes], None],
        redaction: Redaction | None = None,
        keys: Callable[[], SealKeys | None] = lambda: None,
    ) -> ReplicationStream:
        """Send START_REPLICATION; when it is accepted a thread of its own takes the connection over, which is used by nobody else again.

        ``ddl_seen`` and ``keys`` are called in that thread. ``redaction``: what may not come. Raises ``Unavailable`` (in use by somebody
        else too), ``Refused``.
        """
        stream = cls(connection)
        buffer = BufferWatch(options.largest_bytes, memory_reader())
        try:
            seconds = await sender_timeout(connection)
            await connection.execute(start_command(options).encode())
        except psycopg.Error as error:
            raise explained(error, f"starting replication from slot {options.slot}") from error
        interval = min(FEEDBACK_SECONDS, (seconds or SENDER_TIMEOUT_SECONDS) / 3)
        stream.receiver = Receiver(
            connection.pgconn,
            Packer(source, options.known, ddl_seen, continuation=Continuation(options.newest), redaction=redaction, keys=keys),
            Feedback(options.start, interval, time.monotonic(), durable=options.known),
            clock,
            queue_bytes=options.queue_bytes,
            heartbeat_seconds=options.heartbeat_seconds,
            synchronous=options.synchronous,
            buffer=buffer,
            deliver=lambda run: stream._call(stream._deliver, run),
            ended=lambda error: stream._call(stream._end, error),
        )
        stream.receiver.start()
        return stream

    async def next(self) -> Run | None:
        """The next run, or ``None`` at the end after ``quiesce``. Raises why the stream ended when nobody asked for it.

        A run counts against the queue until the next call: call it once the run was taken over.
        """
        while not self._runs:
            if self._error is not None:
                raise self._error
            if self._over:
                return None
            self._some.clear()
            await self._some.wait()
        return self._runs.popleft()

    async def proven(self) -> None:
        """Return once what comes is known to go on with what the journal has. The end of the stream tells when that never happens."""
        while not self.receiver.proven:  # noqa: ASYNC110 - set in a thread, mostly before this is called
            await asyncio.sleep(0.02)

    async def quiesce(self) -> None:
        """Read no more from the server; on return ``next`` gives what is left and then ``None``. Acknowledging goes on."""
        self.receiver.quiesce()
        while not self.receiver.quiet.is_set() and self._error is None and not self._over:  # noqa: ASYNC110 - set in a thread, within milliseconds
            await asyncio.sleep(0.001)
        # Whatever the thread delivered was scheduled before this.
        await asyncio.sleep(0)
        self._over = True
        self._some.set()

    async def finish(self) -> None:
        """After ``quiesce``: acknowledge what is durable, end the stream in order, close the connection. Raises ``Unavailable``."""
        self.receiver.finish()
        while not await asyncio.to_thread(self.receiver.join, 0.5):
            pass
        await self.close()
        await asyncio.sleep(0)
        if self._error is not None:
            raise self._error

    async def close(self) -> None:
        """End now. What was received and not made durable is sent again after the next start."""
        self.receiver.abort()
        if not self.receiver.join(JOIN_SECONDS):
            raise Unavailable("the replication receiver does not end", hint="restart the archiver")
        await self._connection.close()

    def _call(self, function: Callable[..., None], argument: object) -> None:
        # The loop is gone when the program was stopped at once.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, argument)

    def _deliver(self, run: Run) -> None:
        self._runs.append(run)
        self._some.set()

    def _end(self, error: ArchiverError | None) -> None:
        self._error = error
        self._over = True
        self._some.set()


async def sender_timeout(connection: Connection) -> float:
    """``wal_sender_timeout`` in force for this session, seconds; 0: none."""
    cursor = await connection.execute(b"SELECT setting::int8 FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'")
    row = await cursor.fetchone()
    return row[0] / 1000 if row else 0.0
