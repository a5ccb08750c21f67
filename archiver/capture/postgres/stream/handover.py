"""When received frames become a run, and when a run must say that nothing happened. Told the time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archiver.capture.postgres.stream.packer import Packer
    from archiver.capture.postgres.stream.queued_bytes import QueuedBytes
    from archiver.clock import Clock
    from archiver.journal.entry import Run
    from archiver.postgres.replication_messages import Keepalive

GATHER_SECONDS = 0.01
"""A run is handed over when its first frame has waited this long."""


class Handover:
    """Packs what was received into runs and delivers them, and delivers the heartbeat of an idle source. Times are monotonic seconds."""

    def __init__(
        self,
        packer: Packer,
        queue: QueuedBytes,
        clock: Clock,
        deliver: Callable[[Run], None],
        *,
        heartbeat_seconds: float,
        synchronous: bool,
        now: float,
    ) -> None:
        """``deliver`` is called in the receiving thread and must not block."""
        self._packer = packer
        self._queue = queue
        self._clock = clock
        self._deliver = deliver
        self._heartbeat = heartbeat_seconds
        self.synchronous = synchronous
        """Commits wait for us: nothing is gathered, and what a keepalive says is delivered at once. Set from the event loop."""
        self._first = now
        self._moved = now

    @property
    def received(self) -> int:
        """Resume position of everything handed over."""
        return self._packer.received

    @property
    def proven(self) -> bool:
        """Whether what comes is known to go on with what the journal has."""
        return self._packer.proven

    def gather(self, now: float) -> list[bytes]:
        """Return the list to which whole XLogData messages are appended. If it is empty, its first frame begins to wait now."""
        frames = self._packer.frames
        if not frames:
            self._first = now
        return frames

    def may_gather(self, now: float) -> bool:
        """There are frames, and they may wait for more."""
        return bool(self._packer.frames) and not self.synchronous and now - self._first < GATHER_SECONDS

    def overdue(self, now: float) -> bool:
        """There are frames that have waited long enough."""
        return bool(self._packer.frames) and now - self._first > GATHER_SECONDS

    def keepalive(self, keepalive: Keepalive) -> None:
        """Note what the server says while it has nothing else to say."""
        self._packer.keepalive(keepalive.lsn)
        if keepalive.reply:
            # The server may be waiting for this position before it shuts down: the heartbeat is due at once.
            self._moved = -math.inf

    def heartbeat_wait(self, now: float) -> float:
        """Seconds until ``hand_over`` has a heartbeat to deliver; infinite when it has none."""
        return max(0.0, self._moved + self._heartbeat - now) if self._packer.confirmed else math.inf

    def hand_over(self, now: float) -> None:
        """Deliver all that was gathered, and the heartbeat if it is due or if commits wait for its position."""
        run = self._packer.pack(self._clock.now())
        if run is not None:
            # Before the frames: whoever has these has that.
            if (announced := self._packer.announced(self._clock.now())) is not None:
                self._give(announced)
            self._give(run)
            if run.position:
                self._moved = now
        if (self._packer.unjournaled and self.synchronous) or (self._packer.confirmed and now - self._moved >= self._heartbeat):
            run = self._packer.progress(self._clock.now())
            if run is not None:
                self._give(run)
            self._moved = now

    def _give(self, run: Run) -> None:
        self._queue.delivered(len(run.data) + len(run.lengths))
        self._deliver(run)
