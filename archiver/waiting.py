"""Waiting for the first of several tasks, ending tasks, and pauses that grow. Each has its one home here."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def first_of(*tasks: asyncio.Task[Any], seconds: float | None = None) -> set[asyncio.Task[Any]]:
    """Wait until one of ``tasks`` has ended; return those that have. The set is empty when ``seconds`` passed first.

    Nothing is cancelled and no task's error is raised, also when the caller is cancelled.
    """
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    return done


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel ``tasks`` and return when they have ended. What they raise is dropped."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Return what ``work`` returns, or ``None`` when ``stop`` came first: then ``work`` was cancelled. Raises what it raises."""
    doing = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await first_of(doing, stopping)
        return doing.result() if doing.done() else None
    finally:
        await cancel(doing, stopping)


class GrowingPause:
    """The pause before the next try of something that failed: it doubles from ``first`` to ``longest``.

    What is slept is a random share of it, between ``least`` and ``most``, so that many who failed together do not come again together.
    """

    def __init__(self, first: float, longest: float, *, least: float, most: float) -> None:
        self._first, self._longest = first, longest
        self._least, self._spread = least, most - least
        self._next = first

    def next(self, chance: float, *, at_longest: bool = False) -> float:
        """Return the seconds to wait now and double the next pause. ``chance`` in [0, 1); ``at_longest``: as if it had grown fully."""
        pause = self._longest if at_longest else self._next
        self._next = min(2 * self._next, self._longest)
        return pause * (self._least + chance * self._spread)

    def reset(self) -> None:
        """Begin with the first pause again."""
        self._next = self._first
