"""Keeping a process small that works on much: what is freed goes back to the system, and heavy work does not wander from thread to thread.

With its usual settings the C library keeps much of what was freed, for each thread anew: a fold that held 100 MB took 1.3 GB.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

_MMAP_THRESHOLD = -3
_ARENA_MAX = -8
_OWN_BYTES = 1 << 20
"""Blocks of this size get memory of their own, which is given back when they are freed."""
_ARENAS = 2

P = ParamSpec("P")
Result = TypeVar("Result")


def give_back() -> None:
    """For this process, from now on. Does nothing where the C library has no such switch."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        # Setting the threshold also ends its growth: glibc raises it with each large block that is freed, up to 32 MiB.
        mallopt(_MMAP_THRESHOLD, _OWN_BYTES)
        mallopt(_ARENA_MAX, _ARENAS)


class OneThread:
    """Runs what it is given in a thread of its own, one after the other."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="heavy")

    async def run(self, work: Callable[P, Result], *args: P.args, **named: P.kwargs) -> Result:
        """As ``asyncio.to_thread``."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **named))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
