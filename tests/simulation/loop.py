"""An event loop in which time is a number: it jumps to the next timer when nothing is ready. No sockets, no threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(Exception):
    """Nothing is ready and nobody sleeps: the tasks wait for each other for ever."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks in the order in which they were scheduled, so one seed gives one history."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self
        self._virtual = 0.0
        self.steps = 0
        self.kill_at_step: int | None = None
        self.kill: Callable[[], None] | None = None

    def time(self) -> float:
        return self._virtual

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:  # type: ignore[override]
        """Every timer takes a microsecond at least: a wait that a float cannot show would never pass."""
        return super().call_later(max(delay, 1e-6), callback, *args, context=context)

    def select(self, timeout: float | None) -> tuple[()]:
        if timeout is None:
            raise Stuck("every task waits for another one")
        self._virtual += max(0.0, timeout)
        self.steps += 1
        if self.steps == self.kill_at_step and self.kill is not None:
            self.kill()
        return ()

    def _process_events(self, event_list: Any) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


async def inline(function: Any, *arguments: Any) -> Any:
    """Stands in for ``asyncio.to_thread``."""
    return function(*arguments)


class VirtualClock:
    """A ``Clock`` on the running loop's time."""

    def __init__(self, start: int = 1_700_000_000_000_000) -> None:
        self.start = start
        self._count = 0

    def now(self) -> int:
        return self.start + int(self.monotonic() * 1_000_000)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def random(self) -> float:
        return 0.5

    def unique(self) -> str:
        self._count += 1
        return f"{self._count:032x}"


def play(story: Coroutine[Any, Any, T]) -> T:
    """Run ``story`` on virtual time; it takes as long as its work, not as its waits."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(asyncio.wait_for(story, 1e6))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
