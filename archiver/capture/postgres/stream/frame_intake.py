"""The hottest loop of capture: from libpq's buffer to the list of frames."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from archiver.capture.postgres.session.oversized import BufferWatch, Oversized
from archiver.capture.postgres.stream.stream_end import ended_by_server
from archiver.postgres.replication_messages import KEEPALIVE_BYTES, parse_keepalive

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

    from archiver.capture.postgres.stream.handover import Handover
    from archiver.capture.postgres.stream.queued_bytes import QueuedBytes
    from archiver.capture.postgres.stream.status_updates import StatusUpdates
    from archiver.clock import Clock

RUN_BYTES = 1 << 20
"""A run is handed over when it holds this much."""


class FrameIntake:
    """Takes messages off the connection, and notes when the server was last heard and how far it is."""

    def __init__(
        self, pgconn: PGconn, handover: Handover, queue: QueuedBytes, updates: StatusUpdates, clock: Clock, buffer: BufferWatch
    ) -> None:
        self._pgconn = pgconn
        self._handover = handover
        self._queue = queue
        self._updates = updates
        self._clock = clock
        self._buffer = buffer
        self.server_position = 0
        """Where the server's decoding is, as its newest keepalive says."""
        self.observed = 0
        """When the last message of any kind came, microseconds."""
        self.heard = time.monotonic()
        """When the last message of any kind came, monotonic seconds."""

    def read(self) -> None:
        """Have libpq read what has arrived."""
        self._buffer.begin()
        self._pgconn.consume_input()

    def drain(self) -> int:
        """Take the frames that libpq holds after ``read``; return their bytes. Stops early where the queue is full.

        Raises why the stream is over when the server ended it, and ``Oversized`` when what comes next is too large.
        """
        get, frames = self._pgconn.get_copy_data, self._handover.gather(time.monotonic())
        append, total, size = frames.append, 0, 0
        while True:
            count, view = get(1)
            if count > KEEPALIVE_BYTES:
                append(bytes(view))
                size += count
                if size >= RUN_BYTES:
                    self._buffer.received(count)
                    total += size
                    size = 0
                    self._handover.hand_over(time.monotonic())
                    if self._queue.full:
                        break
            elif count == 0:
                if self._buffer.exceeded():
                    raise Oversized(
                        f"a message of the stream is larger than {self._buffer.most >> 20} MiB",
                        hint="it is left out: what follows is received without it",
                    )
                break
            elif count == KEEPALIVE_BYTES:
                self._keepalive(view)
                total += 1
            else:
                raise ended_by_server(self._pgconn)
        if total + size:
            self.heard = time.monotonic()
            self.observed = self._clock.now()
        return total + size

    def _keepalive(self, view: memoryview) -> None:
        keepalive = parse_keepalive(view)
        self.server_position = max(self.server_position, keepalive.lsn)
        self._handover.keepalive(keepalive)
        if keepalive.reply:
            self._updates.ask()
