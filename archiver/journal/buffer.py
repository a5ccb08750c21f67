"""Runs that wait to become durable: bounded, in call order. No I/O and no clock; futures of the running loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from archiver.errors import ArchiverError
from archiver.journal.entry import Run

RUN_OVERHEAD_BYTES = 128
"""What a run costs beside its bytes; keeps the number of tiny runs bounded too."""


def weight(run: Run) -> int:
    """What ``run`` counts for against every limit in bytes."""
    return len(run.lengths) + len(run.data) + RUN_OVERHEAD_BYTES


class Buffer:
    """Gives sequence numbers, holds runs until they are released, makes callers wait while it is full."""

    def __init__(self, limit_bytes: int, segment_bytes: int, following: int, wake: Callable[[], None]) -> None:
        """``following``: the number of the next entry. ``wake`` is called when there is something new for the commit loop to decide."""
        self._limit = limit_bytes
        self._segment = segment_bytes
        self._next = following
        self._wake = wake
        self._pending: deque[Run] = deque()
        self._waiting: deque[tuple[asyncio.Future[int], Run]] = deque()
        self._pending_bytes = 0
        self._urgent = False
        self.held_bytes = 0
        """Everything admitted and not yet released."""

    @property
    def empty(self) -> bool:
        """Nothing is pending and nobody waits."""
        return not self._pending and not self._waiting

    @property
    def pending(self) -> bool:
        """Whether there is a run to take."""
        return bool(self._pending)

    @property
    def urgent(self) -> bool:
        """Whether there is a run to take that should not wait for the next heartbeat."""
        return self._urgent

    @property
    def full_segment(self) -> bool:
        """Whether what is pending fills a segment."""
        return self._pending_bytes >= self._segment

    @property
    def full(self) -> bool:
        """Waiting for more before the next segment would gain nothing: it is full, or callers are held up."""
        return self.full_segment or (bool(self._waiting) and bool(self._pending))

    def offer(self, run: Run, *, patient: bool = False) -> int | asyncio.Future[int]:
        """Take ``run``: the number of its first entry, at once or, when there is no room, as a future.

        Whoever came first is served first. A run larger than the whole buffer is admitted when nothing else is held.
        ``patient``: it goes with what comes next, or with the next heartbeat.
        """
        if not self._waiting and self._fits(run):
            return self._admit(run, patient=patient)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, run))
        if len(self._waiting) == 1:
            self._wake()
        return future

    def hurry(self) -> None:
        """Somebody waits for what is pending: it should not wait for a heartbeat any more."""
        if self._pending and not self._urgent:
            self._urgent = True
            self._wake()

    def take(self) -> tuple[list[Run], int]:
        """Runs for the next segment, at most ``segment_bytes`` unless one alone is larger, and their weight. They stay held."""
        runs: list[Run] = []
        total = 0
        while self._pending and (not runs or total + weight(self._pending[0]) <= self._segment):
            total += weight(self._pending[0])
            runs.append(self._pending.popleft())
        self._pending_bytes -= total
        self._urgent = bool(self._pending)
        return runs, total

    def release(self, taken: int) -> None:
        """``taken`` bytes are durable: admit who waits."""
        self.held_bytes -= taken
        while self._waiting:
            future, run = self._waiting[0]
            if future.done():  # its caller was cancelled
                self._waiting.popleft()
            elif self._fits(run):
                self._waiting.popleft()
                future.set_result(self._admit(run))
            else:
                return

    def fail(self, error: ArchiverError) -> None:
        """Raise ``error`` in everybody who waits."""
        for future, _ in self._waiting:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()

    def _fits(self, run: Run) -> bool:
        return self.held_bytes == 0 or self.held_bytes + weight(run) <= self._limit

    def _admit(self, run: Run, *, patient: bool = False) -> int:
        first, before = self._next, self._pending_bytes
        self._next += run.count
        self._pending.append(run)
        self._pending_bytes += weight(run)
        self.held_bytes += weight(run)
        newly = not patient and not self._urgent
        self._urgent |= newly
        if newly or before < self._segment <= self._pending_bytes:
            self._wake()
        return first
