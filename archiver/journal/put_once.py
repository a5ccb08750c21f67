"""Put an object and learn whether it is ours. The one place where the journal writes to the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from archiver.errors import Unavailable
from archiver.waiting import GrowingPause

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.latency import Latencies
    from archiver.store.protocol import Store

FIRST_PAUSE_SECONDS = 0.1
PAUSE_LIMIT_SECONDS = 5.0
LOG_EVERY_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
"""What does not keep the journal going gives up after so long: a command ends with the reason, maintenance tries again later."""
FOREIGN_BYTES = 1 << 25
"""What is read, at most, of an object that somebody else made: a fence has its header and one entry."""

_log = structlog.get_logger()


async def put_once(
    store: Store, clock: Clock, key: str, data: bytes, *, patience_seconds: float | None = PATIENCE_SECONDS, tries: Latencies | None = None
) -> bytes | None:
    """Create ``key`` with ``data``; ``None``: it is durable with exactly these bytes. Otherwise the other bytes that ``key`` has, or their
    beginning.

    Every try sends the same bytes, so a try that was thought lost and lands later does no harm. An existing object is read
    back: the same bytes are our own, of a try whose answer was lost. ``Unavailable`` is raised only when ``patience_seconds``
    have passed without an answer (``None``: never); like cancellation, that leaves open whether the object will appear.
    ``tries``: where each try is counted that ended, with an answer or without.
    """
    began, logged = clock.monotonic(), float("-inf")
    pause = GrowingPause(FIRST_PAUSE_SECONDS, PAUSE_LIMIT_SECONDS, least=0.5, most=1.0)
    while True:
        tried = clock.monotonic()
        try:
            if await store.put_if_absent(key, data):
                return None
            found = await store.get(key, 0, max(len(data) + 1, FOREIGN_BYTES))
            if found is not None:
                return None if found == data else found
            trouble = Unavailable(f"{store.url} says that {key} exists and does not return it")
        except Unavailable as error:
            trouble = error
        finally:
            if tries is not None:
                tries.add(clock.monotonic() - tried)
        now = clock.monotonic()
        if patience_seconds is not None and now - began >= patience_seconds:
            raise trouble
        if now - logged >= LOG_EVERY_SECONDS:
            logged = now
            _log.warning("store_unavailable", store=store.url, key=key, reason=trouble.message, seconds=round(now - began, 1))
        await clock.sleep(pause.next(clock.random()))
