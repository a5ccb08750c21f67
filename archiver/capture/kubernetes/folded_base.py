"""Whether a folded checkpoint serves instead of full lists, so that a verifying list need not be journaled whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from archiver.errors import ArchiverError
from archiver.kubernetes.cluster_checkpoints import newest_cluster_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from archiver.clock import Clock
    from archiver.journal.reader import Reader

_log = structlog.get_logger()

LOOK_SECONDS = 600.0
"""Between looks at the archive: all streams of a source share one."""
_PATIENCE_SECONDS = 10.0
"""A store that is slower than that has other worries than a full list."""
_FRESH_SECONDS = 3 * 3600.0
_FRESH_HEARTBEATS = 3 * 256
"""Three times as old as maintenance lets a checkpoint become that it looks after (``is_stale`` in ``archiver/maintenance/cadence.py``)."""


class FoldedBase:
    """Looks for the newest folded checkpoint of one source now and then. Whatever goes wrong means that none serves."""

    def __init__(self, reader: Callable[[], Reader], source: str, clock: Clock, heartbeat_seconds: float) -> None:
        self._reader, self._source, self._clock = reader, source, clock
        self._fresh = max(_FRESH_SECONDS, _FRESH_HEARTBEATS * heartbeat_seconds)
        self._received: dict[str, int] = {}
        self._look_at = float("-inf")
        self._looking = asyncio.Lock()

    async def serves(self, stream: str) -> bool:
        """Whether a checkpoint has ``stream`` nearly as it is now. False as soon as maintenance has not been done for some hours."""
        async with self._looking:
            if self._clock.monotonic() >= self._look_at:
                self._received = await self._look()
                self._look_at = self._clock.monotonic() + LOOK_SECONDS
        received = self._received.get(stream)
        return received is not None and self._clock.now() - received <= self._fresh * 1_000_000

    async def _look(self) -> dict[str, int]:
        """By stream, when the newest of what a checkpoint has of it was received."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                reader = self._reader()
                tail = await reader.tail()
                if tail is None:
                    return {}
                checkpoint = await newest_cluster_checkpoint(reader, self._source, tail.first + tail.count - 1)
        except (ArchiverError, TimeoutError) as error:
            _log.warning("folded_checkpoint_not_found", source=self._source, reason=str(error) or "the store did not answer in time")
            return {}
        return {stream.name: stream.received for stream in checkpoint.streams} if checkpoint is not None else {}
