"""The thread that owns the replication connection once START_REPLICATION was accepted.

It drains, packs, hands runs over to the event loop, and answers the server on its own timer, so that neither a busy loop nor a full
journal makes the server believe that we are gone. How it waits decides the speed: the server sends frame by frame, and every wake-up
costs both sides, so while data flows in small pieces it naps for a moment instead of polling, and polls only when nothing came.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import psycopg

from archiver.capture.postgres.session.oversized import BufferWatch, Oversized
from archiver.capture.postgres.session.replication import explained
from archiver.capture.postgres.stream.frame_intake import RUN_BYTES, FrameIntake
from archiver.capture.postgres.stream.handover import Handover
from archiver.capture.postgres.stream.queued_bytes import QueuedBytes
from archiver.capture.postgres.stream.status_updates import StatusUpdates
from archiver.capture.postgres.stream.stream_end import end_stream
from archiver.capture.postgres.stream.waker import Waker
from archiver.errors import ArchiverError, Bug, Unavailable

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

    from archiver.capture.postgres.stream.feedback import Feedback
    from archiver.capture.postgres.stream.packer import Packer
    from archiver.clock import Clock
    from archiver.journal.entry import Run

LULL_SECONDS = 0.001
"""A run is handed over when nothing came for this long. While commits wait for us: at once when nothing came."""
NAP_SECONDS = 0.0003
LITTLE_BYTES = 4096
"""Less than this in a round, while data flows: nap before the next one."""
SILENCE_SECONDS = 60.0
"""A server that was asked for an answer and gave none, nor anything else, for this long is given up."""


class Receiver:
    """Runs the thread that reads one started stream to its end. All methods but the thread's own are called from the event loop."""

    def __init__(
        self,
        pgconn: PGconn,
        packer: Packer,
        feedback: Feedback,
        clock: Clock,
        *,
        queue_bytes: int,
        heartbeat_seconds: float,
        synchronous: bool,
        buffer: BufferWatch,
        deliver: Callable[[Run], None],
        ended: Callable[[ArchiverError | None], None],
    ) -> None:
        """``buffer``: made before the stream was asked for, since libpq may have received the beginning of it already.

        ``deliver`` and ``ended`` are called in the thread and must not block; ``ended`` comes last, with why (``None``: ``finish``).
        """
        self._pgconn = pgconn
        self._buffer = buffer
        self._ended = ended
        self._queue = QueuedBytes(queue_bytes)
        self._handover = Handover(
            packer,
            self._queue,
            clock,
            deliver,
            heartbeat_seconds=heartbeat_seconds,
            synchronous=synchronous,
            now=time.monotonic(),
        )
        self._updates = StatusUpdates(pgconn, feedback, clock)
        self._packer = packer
        self._intake = FrameIntake(pgconn, self._handover, self._queue, self._updates, clock, buffer)
        self._waker = Waker()
        self._quiesce = False
        self._finish = False
        self._abort = False
        self.quiet = threading.Event()
        """After ``quiesce``: nothing more will be delivered."""
        self._thread = threading.Thread(target=self._run, name="replication", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def durable(self, position: int) -> None:
        """Everything before ``position`` is in the journal: acknowledge it at once."""
        if self._updates.durable(position):
            self._waker.wake()

    def taken(self, size: int) -> None:
        """``size`` bytes of delivered runs were taken over by the journal's buffer."""
        if self._queue.taken(size):
            self._waker.wake()

    def commits_wait(self) -> None:
        """Commits at the source wait for us from now on: gather nothing, hand everything over at once."""
        self._handover.synchronous = True
        self._waker.wake()

    def quiesce(self) -> None:
        """Read no more, deliver what was received, go on acknowledging."""
        self._quiesce = True
        self._waker.wake()

    def finish(self) -> None:
        """Acknowledge what is durable, end the stream in order, end the thread."""
        self._finish = True
        self._waker.wake()

    def abort(self) -> None:
        """End the thread now."""
        self._abort = True
        self._waker.wake()

    def join(self, seconds: float) -> bool:
        """Wait for the thread to end; whether it did."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def received(self) -> int:
        """Resume position of everything handed over."""
        return self._handover.received

    @property
    def proven(self) -> bool:
        """Whether what comes is known to go on with what the journal has."""
        return self._handover.proven

    @property
    def acknowledged(self) -> int:
        """Newest position that was confirmed to the server."""
        return self._updates.acknowledged

    @property
    def server_position(self) -> int:
        """Where the server's decoding is, as its newest keepalive says."""
        return self._intake.server_position

    @property
    def observed(self) -> int:
        """When the last message of any kind came, microseconds."""
        return self._intake.observed

    @property
    def synchronous(self) -> bool:
        """Commits at the source wait for us."""
        return self._handover.synchronous

    def _run(self) -> None:
        error: ArchiverError | None = None
        try:
            self._read()
        except Oversized as failure:
            error = self._told(failure)
        except ArchiverError as failure:
            error = failure
        except psycopg.Error as failure:
            error = explained(failure, "reading the replication stream")
        except Exception as failure:  # noqa: BLE001 - it must reach the loop, whatever it is
            error = Bug(f"the replication receiver failed: {type(failure).__name__}: {failure}", hint="report it with the log")
            error.__cause__ = failure
        finally:
            self._waker.close()
            self._ended(error)

    def _told(self, failure: Oversized) -> ArchiverError:
        """``failure`` with what is known of it, or what is worse."""
        failure.begun = self._packer.begun
        try:
            # What came before it will not come again when its transaction is left out.
            self._handover.hand_over(time.monotonic())
        except ArchiverError as worse:
            return worse
        failure.proven = self._handover.proven
        return failure

    def _read(self) -> None:
        handover, waker = self._handover, self._waker
        listening, pausing = waker.poller(self._pgconn.socket), waker.poller()
        # What came with the answer to START_REPLICATION is with libpq, where no poll sees it.
        got = self._intake.drain()
        while not self._abort:
            now = time.monotonic()
            # Nothing is acknowledged before it is proven: a slot that was moved on could prove nothing any more.
            self._updates.send(handover.received if handover.proven else 0, now)
            if self._quiesce:
                handover.hand_over(now)
                self.quiet.set()
                if self._finish:
                    end_stream(self._pgconn, self._buffer, lambda: self._abort)
                    return
                waker.wait(pausing, self._updates.wait(now))
                continue
            if self._queue.must_wait():
                waker.wait(pausing, self._updates.wait(now))
                self._intake.heard = time.monotonic()  # its silence while nobody listens is not its fault
                got = RUN_BYTES
                continue
            if got == 0:
                if not (handover.may_gather(now) and waker.wait(listening, LULL_SECONDS)):
                    now = time.monotonic()
                    handover.hand_over(now)
                    waker.wait(listening, self._patience(now))
            elif got < LITTLE_BYTES:
                time.sleep(NAP_SECONDS)
            self._intake.read()
            got = self._intake.drain()
            if handover.overdue(now := time.monotonic()):
                handover.hand_over(now)

    def _patience(self, now: float) -> float:
        """How long to wait for the server when everything was handed over. Raises ``Unavailable`` when it has been silent too long."""
        silent = now - self._intake.heard
        if silent > SILENCE_SECONDS:
            raise Unavailable(f"the source has been silent for {silent:.0f} s", hint="it is connected to again")
        return min(self._updates.wait(now), self._handover.heartbeat_wait(now))
