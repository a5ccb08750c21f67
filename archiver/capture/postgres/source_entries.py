"""Entries that say what the archiver itself does at one database: its slot, streams, schemas, gaps and checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from archiver.journal.entry import Kind, Run
from archiver.postgres.records import Slot

if TYPE_CHECKING:
    from archiver.capture.postgres.start.decision import ServerView
    from archiver.clock import Clock
    from archiver.journal.writer import Writer


class SourceEntries:
    """Hands entries of one source to the journal, and knows the newest that it took."""

    def __init__(self, source: str, writer: Writer, clock: Clock) -> None:
        self._source = source
        self._writer = writer
        self._clock = clock
        self.newest = 0
        """Number of the newest entry; 0 for none."""

    async def append(self, kind: Kind, *bodies: bytes, position: str = "") -> int:
        """Append a run of our own; the number of its last entry."""
        return await self.take(Run.of(self._source, kind, bodies, observed=self._clock.now(), position=position))

    async def take(self, run: Run) -> int:
        """Append ``run``, which the stream brought; the number of its last entry."""
        first = await self._writer.append(run)
        last = first + run.count - 1
        self.newest = max(self.newest, last)
        return last

    async def record_slot(self, name: str, server: ServerView, action: Literal["creating", "created", "dropped"], point: str = "") -> None:
        """Journal what is about to be done, or was done, with the slot ``name``; durable on return. ``point``: where it is consistent."""
        slot = Slot(action, name, server.system_id, server.timeline, server.database, point)
        await self._writer.durable(await self.append(Kind.PG_SLOT, msgspec.json.encode(slot)))

    async def durable(self) -> None:
        """Return once everything that was handed in is durable."""
        await self._writer.durable(self.newest)
