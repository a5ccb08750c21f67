"""An event that a thread sets and a task awaits."""

from __future__ import annotations

import asyncio
import contextlib


class ThreadEvent:
    """An asyncio event that any thread may set, from the moment a task listens to it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self) -> None:
        """Accept ``set`` from now on, for tasks of the running loop."""
        self._loop = asyncio.get_running_loop()

    def set(self) -> None:
        """Set it. Does nothing before ``listen`` and after the loop is closed. May be called from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        """Return once it is set."""
        await self._event.wait()

    def reset(self) -> bool:
        """Clear it; whether it was set."""
        was_set = self._event.is_set()
        self._event.clear()
        return was_set
