"""Between the sockets and the journal: a queue bounded in bytes, so that no socket ever waits for the store."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from archiver.errors import ArchiverError
from archiver.journal.entry import Kind

if TYPE_CHECKING:
    from archiver.journal.entry import Run
    from archiver.journal.writer import Writer

_OVERHEAD = 512


class Outbox:
    """Runs of all streams of one source, appended to the journal in the order in which they were offered. ``run`` must be running."""

    def __init__(self, writer: Writer, limit_bytes: int) -> None:
        self._writer = writer
        self._limit = limit_bytes
        self._queue: deque[tuple[Run, asyncio.Future[int] | None]] = deque()
        self._filled = asyncio.Event()
        self._moved = asyncio.Condition()
        self._failure: BaseException | None = None
        self.held_bytes = 0
        """Offered and not yet taken by the journal."""
        self.last = 0
        """Number of the newest entry that the journal took; 0 for none."""

    @property
    def full(self) -> bool:
        """Whether readers must stop reading."""
        return self.held_bytes >= self._limit

    def offer(self, run: Run) -> bool:
        """Take ``run`` in any case; False when the queue is full now and the caller must stop reading until ``room``."""
        self._put(run, None)
        return not self.full

    async def send(self, run: Run) -> int:
        """``offer``, then wait until the journal took it: number of its first entry. Not durable on return."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._put(run, future)
        return await future

    async def room(self) -> None:
        """Wait until the queue is at most half full."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._failure is not None or self.held_bytes * 2 <= self._limit)
        self._check()

    async def empty(self) -> int:
        """Wait until the journal took everything; ``last``."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._failure is not None or not self.held_bytes)
        self._check()
        return self.last

    async def run(self) -> None:
        """Hand over until cancelled. Raises what the journal raises, in all who wait too."""
        try:
            while True:
                while not self._queue:
                    self._filled.clear()
                    await self._filled.wait()
                run, future = self._queue[0]
                # Idle streams share a segment: each alone would cost one for every bookmark.
                first = await self._writer.append(run, patient=run.kind is Kind.PROGRESS)
                self._queue.popleft()
                self.last = first + run.count - 1
                self.held_bytes -= len(run.data) + _OVERHEAD
                if future is not None and not future.done():
                    future.set_result(first)
                if self.held_bytes * 2 <= self._limit:
                    async with self._moved:
                        self._moved.notify_all()
        except ArchiverError as error:
            await self._fail(error)
            raise

    def _put(self, run: Run, future: asyncio.Future[int] | None) -> None:
        self._check()
        self._queue.append((run, future))
        self.held_bytes += len(run.data) + _OVERHEAD
        self._filled.set()

    async def _fail(self, error: ArchiverError) -> None:
        self._failure = error
        for _, future in self._queue:
            if future is not None and not future.done():
                future.set_exception(error)
                future.exception()
        async with self._moved:
            self._moved.notify_all()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
