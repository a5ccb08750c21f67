"""An event loop in which time is a number: it jumps to the next timer when nothing is ready. No sockets, no threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


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
