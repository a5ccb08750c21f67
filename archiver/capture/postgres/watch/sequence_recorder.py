"""Sequences in the journal: what rolled back drew numbers too, and nothing in the stream tells of those."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.capture.postgres.catalog.sequences import read_sequences
from archiver.journal.entry import Kind, Run

if TYPE_CHECKING:
    from archiver.capture.postgres.catalog.scope import Scope
    from archiver.capture.postgres.session.access import Session
    from archiver.clock import Clock
    from archiver.journal.writer import Writer
    from archiver.postgres.records import SequenceValue


class SequenceRecorder:
    """Appends PG_SEQUENCES when sequences moved."""

    def __init__(self, source: str, scope: Scope, writer: Writer, clock: Clock) -> None:
        self._source = source
        self._scope = scope
        self._writer = writer
        self._clock = clock
        self._recorded: list[SequenceValue] | None = None

    async def record(self, session: Session) -> int:
        """Append PG_SEQUENCES if they moved since the last reading; the number of the entry, 0 for none. Raises ``Unavailable``."""
        read = await read_sequences(session, self._scope)
        if read.values == self._recorded:
            return 0
        run = Run.of(self._source, Kind.PG_SEQUENCES, [msgspec.json.encode(read)], observed=self._clock.now())
        entry = await self._writer.append(run)
        self._recorded = read.values
        return entry
