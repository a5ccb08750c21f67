"""Redacting takes as long as whoever writes the objects has it take: the event loop has leases and other streams to serve meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 32 << 10
"""Bytes of objects that are redacted in the event loop; more are in a thread."""


async def off_loop(size: int, work: Callable[[], T]) -> T:
    """What ``work``, which is pure, makes of ``size`` bytes."""
    return work() if size <= AT_ONCE else await asyncio.to_thread(work)
