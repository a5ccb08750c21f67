"""The thread that owns the replication connection once START_REPLICATION was accepted.

It drains, packs, hands runs over to the event loop, and answers the server on its own timer, so that neither a busy loop nor a full
journal makes the server believe that we are gone. How it waits decides the speed: the server sends frame by frame, and every wake-up
costs both sides, so while data flows in small pieces it naps for a moment instead of polling, and polls only when nothing came.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn

from archiver.capture.postgres.session.replication import Unpublished, explained
from archiver.capture.postgres.stream.feedback import Feedback
from archiver.capture.postgres.stream.packer import Packer
from archiver.errors import ArchiverError, Bug, Unavailable
from archiver.postgres.replication_messages import KEEPALIVE_BYTES, parse_keepalive, status_update

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.entry import Run

RUN_BYTES = 1 << 20
"""A run is handed over when it holds this much …"""
GATHER_SECONDS = 0.01
"""… or when its first frame has waited this long, or …"""
LULL_SECONDS = 0.001
"""… when nothing came for this long. While commits wait for us: at once when nothing came."""
NAP_SECONDS = 0.0003
LITTLE_BYTES = 4096
"""Less than this in a round, while data flows: nap before the next one."""
UNSENT_SECONDS = 0.02
"""An update that the network did not take is tried again this soon."""
SILENCE_SECONDS = 60.0
"""A server that was asked for an answer and gave none, nor anything else, for this long is given up."""
ENDING_SECONDS = 3.0
"""How long the end of the stream may take once everything is acknowledged."""


class Reader:
    """Reads one started stream to its end. All methods but the thread's own are called from the event loop."""

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
        deliver: Callable[[Run], None],
        ended: Callable[[ArchiverError | None], None],
    ) -> None:
        """``deliver`` and ``ended`` are called in the thread and must not block; ``ended`` comes last, with why (``None``: ``finish``)."""
        self._pgconn = pgconn
        self._packer = packer
        self._feedback = feedback
        self._clock = clock
        self._queue_bytes = queue_bytes
        self._heartbeat = heartbeat_seconds
        self.synchronous = synchronous
        self._deliver = deliver
        self._ended = ended
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        self._handed = 0
        self._taken = 0
        self._quiesce = False
        self._finish = False
        self._abort = False
        self._stream_over = False
        self._unsent = False
        self._paused = False
        self.server_position = 0
        """Where the server's decoding is, as its newest keepalive says."""
        self.observed = 0
        """When the last message of any kind came, microseconds."""
        self.received = feedback.acknowledged
        """Resume position of everything handed over."""
        self.quiet = threading.Event()
        """After ``quiesce``: nothing more will be delivered."""
        self._heard = time.monotonic()
        self._first = 0.0
        self._moved = self._heard
        self._thread = threading.Thread(target=self._run, name="replication", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def durable(self, position: int) -> None:
        """Everything before ``position`` is in the journal: acknowledge it at once."""
        if position > self._feedback.durable:
            self._feedback.durable = position
            self.wake()

    def taken(self, size: int) -> None:
        """``size`` bytes of delivered runs were taken over by the journal's buffer."""
        self._taken += size
        if self._paused:
            self.wake()

    def quiesce(self) -> None:
        """Read no more, deliver what was received, go on acknowledging."""
        self._quiesce = True
        self.wake()

    def finish(self) -> None:
        """Acknowledge what is durable, end the stream in order, end the thread."""
        self._finish = True
        self.wake()

    def abort(self) -> None:
        """End the thread now."""
        self._abort = True
        self.wake()

    def join(self, seconds: float) -> bool:
        """Wait for the thread to end; whether it did."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def acknowledged(self) -> int:
        """Newest position that was confirmed to the server."""
        return self._feedback.acknowledged

    @property
    def waiting_bytes(self) -> int:
        """Delivered and not yet taken."""
        return self._handed - self._taken

    def wake(self) -> None:
        """Interrupt the thread's waiting."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._waker.send(b"w")

    def _run(self) -> None:
        error: ArchiverError | None = None
        try:
            self._read()
        except ArchiverError as failure:
            error = failure
        except psycopg.Error as failure:
            error = explained(failure, "reading the replication stream")
        except Exception as failure:  # noqa: BLE001 - it must reach the loop, whatever it is
            error = Bug(f"the replication reader failed: {type(failure).__name__}: {failure}", hint="report it with the log")
            error.__cause__ = failure
        finally:
            self._waker.close()
            self._wakened.close()
            self._ended(error)

    def _read(self) -> None:
        fd = self._pgconn.socket
        listening, pausing = select.poll(), select.poll()
        listening.register(fd, select.POLLIN)
        for poller in (listening, pausing):
            poller.register(self._wakened, select.POLLIN)
        got = 0
        while not self._abort:
            now = time.monotonic()
            self._answer(now)
            self._paused = self._quiesce or self._handed - self._taken >= self._queue_bytes
            if self._quiesce:
                self._hand_over(now)
                self.quiet.set()
                if self._finish:
                    self._end()
                    return
                self._wait(pausing, self._feedback.wait(now))
                continue
            if self._paused:
                self._wait(pausing, self._feedback.wait(now))
                self._heard = time.monotonic()  # its silence while nobody listens is not its fault
                got = RUN_BYTES
                continue
            if got == 0:
                gathering = bool(self._packer.frames) and not self.synchronous and now - self._first < GATHER_SECONDS
                if not (gathering and self._wait(listening, LULL_SECONDS)):
                    now = time.monotonic()
                    self._hand_over(now)
                    self._wait(listening, self._patience(now))
            elif got < LITTLE_BYTES:
                time.sleep(NAP_SECONDS)
            self._pgconn.consume_input()
            got = self._drain()
            if self._packer.frames and (now := time.monotonic()) - self._first > GATHER_SECONDS:
                self._hand_over(now)

    def _patience(self, now: float) -> float:
        """How long to wait for the server when everything was handed over."""
        if now - self._heard > SILENCE_SECONDS:
            raise Unavailable(f"the source has been silent for {now - self._heard:.0f} s", hint="it is connected to again")
        seconds = self._feedback.wait(now)
        if self._packer.confirmed:
            seconds = min(seconds, max(0.0, self._moved + self._heartbeat - now))
        return seconds

    def _drain(self) -> int:
        """Take the frames that libpq holds; their bytes. Stops early where the queue is full."""
        get, frames = self._pgconn.get_copy_data, self._packer.frames
        append, total, size = frames.append, 0, 0
        if not frames:
            self._first = time.monotonic()
        while True:
            count, view = get(1)
            if count > KEEPALIVE_BYTES:
                append(bytes(view))
                size += count
                if size >= RUN_BYTES:
                    total += size
                    size = 0
                    self._hand_over(time.monotonic())
                    if self._handed - self._taken >= self._queue_bytes:
                        break
            elif count == 0:
                break
            elif count == KEEPALIVE_BYTES:
                self._keepalive(view)
                total += 1
            else:
                self._server_ended()
        if total + size:
            self._heard = time.monotonic()
            self.observed = self._clock.now()
        return total + size

    def _keepalive(self, view: memoryview) -> None:
        keepalive = parse_keepalive(view)
        self.server_position = max(self.server_position, keepalive.lsn)
        self._packer.keepalive(keepalive.lsn)
        if keepalive.reply:
            self._feedback.ask()
            # The server may be waiting for this position before it shuts down.
            self._moved = float("-inf")

    def _hand_over(self, now: float) -> None:
        run = self._packer.pack(self._clock.now())
        if run is not None:
            self._give(run)
            if run.position:
                self._moved = now
        if (self._packer.unjournaled and self.synchronous) or (self._packer.confirmed and now - self._moved >= self._heartbeat):
            run = self._packer.progress(self._clock.now())
            if run is not None:
                self._give(run)
            self._moved = now

    def _give(self, run: Run) -> None:
        self._handed += len(run.data) + len(run.lengths)
        self.received = self._packer.received
        self._deliver(run)

    def _wait(self, poller: select.poll, seconds: float) -> bool:
        """Until the server sent something (if ``poller`` listens), ``wake`` was called, or ``seconds`` passed; false: the last."""
        if self._unsent:
            seconds = min(seconds, UNSENT_SECONDS)
        # poll takes whole milliseconds: rounded up, or it would return too early and spin.
        ready = poller.poll(math.ceil(seconds * 1000))
        if any(found == self._wakened.fileno() for found, _ in ready):
            with contextlib.suppress(BlockingIOError):
                self._wakened.recv(4096)
        return bool(ready)

    def _answer(self, now: float) -> None:
        if self._unsent:
            self._unsent = self._pgconn.flush() == 1
            if self._unsent:
                return
        position = self._feedback.due(self.received, now)
        if position is None:
            return
        update = status_update(position, self._clock.now(), reply=self._feedback.by_timer(now))
        if self._pgconn.put_copy_data(update) == 1:
            self._feedback.sent(position, now)
        self._unsent = self._pgconn.flush() == 1

    def _end(self) -> None:
        """Nothing read from here on is wanted: it was not handed over, so it is not acknowledged, so it will be sent again."""
        deadline = time.monotonic() + ENDING_SECONDS
        self._pgconn.put_copy_end()
        poller = select.poll()
        while (now := time.monotonic()) < deadline and not self._abort:
            unsent = self._pgconn.flush() == 1
            poller.register(self._pgconn.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
            poller.poll((deadline - now) * 1000)
            self._pgconn.consume_input()
            count = 1
            while count > 0:
                count, _ = self._pgconn.get_copy_data(1)
            if count == -1:
                return

    def _server_ended(self) -> None:
        """The stream is over although nobody here asked: say why."""
        while (result := self._pgconn.get_result()) is not None:
            if result.status == ExecStatus.FATAL_ERROR:
                error = psycopg.errors.error_from_result(result)
                found = explained(error, "the server ended the replication stream")
                # Undefined object: the only one that decoding looks for by name is a publication.
                raise Unpublished(found.message, hint=found.hint) if error.sqlstate == "42704" else found
            if result.status != ExecStatus.COMMAND_OK:
                break
        raise Unavailable("the server ended the replication stream", hint="it is connected to again")
