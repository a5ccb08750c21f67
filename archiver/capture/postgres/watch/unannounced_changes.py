"""Changes of the schema that nobody announced: each is a gap in the journal, once it is known that no announcement came.

The plan of a restore decides the same for each point, with all that the journal has. The entry is for whoever asks before that: metrics,
status, `verify`.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import structlog

from archiver.journal.entry import Kind, Run, SourceMark
from archiver.journal.records import Gap
from archiver.postgres.announcements import END_TRIGGER, UNANNOUNCED, may_differ, read_xid, shows_in_dump
from archiver.postgres.lsn import parse_lsn, parse_position
from archiver.postgres.records import SCHEMA_UNCERTAIN
from archiver.postgres.schema_comparison import same_content

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.writer import Writer
    from archiver.postgres.records import Schema

KEPT_SECONDS = 600.0
"""How long an announcement can explain a change: that of a large transaction comes long before its commit."""
MOST, MOST_BYTES = 256, 1 << 20
"""Announcements that are kept, and bytes of one; behind that any change counts as announced. Anybody may send them."""

_log = structlog.get_logger()


class _Change(NamedTuple):
    before: Schema
    after: Schema


class UnannouncedChanges:
    """Compares what was recorded with what was announced. ``heard`` may be called from any thread, all else by one task."""

    def __init__(self, source: str, writer: Writer, clock: Clock) -> None:
        self._source = source
        self._writer = writer
        self._clock = clock
        self._lock = threading.Lock()
        self._heard: deque[tuple[float, bytes | None]] = deque(maxlen=MOST)
        self._open: list[_Change] = []
        """Those that wait until the stream has passed them."""
        self._announcing: set[int | None] = set()
        """Transactions of what was heard since ``announcing`` was called last."""
        self.gaps = 0
        """Recorded so far."""
        self.count = 0
        """Announcements heard so far, whoever sent them."""
        self.looked = 0
        """Of those, how many a look at the catalog followed that the journal knows the outcome of."""

    def heard(self, content: bytes) -> None:
        """An announcement came through the stream."""
        with self._lock:
            self.count += 1
            if content:  # else one that was streamed has committed, and what it said was heard before
                # A flood of them tells no more than one that does not say its transaction.
                self._announcing.add(read_xid(content) if len(content) <= MOST_BYTES and len(self._announcing) < MOST else None)
            self._heard.append((self._clock.monotonic(), content if len(content) <= MOST_BYTES else None))

    def announcing(self) -> set[int | None]:
        """The transactions of what was heard since the last call, as the messages say (``read_xid``); ``None``: one does not say it."""
        with self._lock:
            told, self._announcing = self._announcing, set()
            return told

    async def recorded(self, before: tuple[Schema, bytes], after: tuple[Schema, bytes]) -> None:
        """The journal has ``after`` behind ``before``, each an entry and its dump."""
        if same_content(before, after):
            return
        if END_TRIGGER.encode() in before[1]:
            self._open.append(_Change(before[0], after[0]))
        else:
            await self._append(after[0])

    async def settle(self) -> None:
        """Record what the stream has passed, and did not announce."""
        position = parse_position(self._writer.marks.get(self._source, SourceMark()).position)
        passed = [change for change in self._open if parse_lsn(change.after.lsn) <= position]
        self._open = [change for change in self._open if change not in passed]
        for change in passed:
            if not self._was_announced(change):
                await self._append(change.after)

    def _was_announced(self, change: _Change) -> bool:
        now = self._clock.monotonic()
        with self._lock:
            full = len(self._heard) == MOST
            while self._heard and self._heard[0][0] < now - KEPT_SECONDS:
                self._heard.popleft()
            heard = [content for _, content in self._heard]
        one, other = change.before.catalog, change.after.catalog
        return full or any(content is None or shows_in_dump(content) or may_differ(content, one, other) for content in heard)

    async def _append(self, after: Schema) -> None:
        self.gaps += 1
        gap = Gap("schema", SCHEMA_UNCERTAIN, UNANNOUNCED, from_position=after.since, to_position=after.lsn, to_time=after.taken)
        _log.warning("schema_change_not_announced", source=self._source, since=after.since, until=after.lsn)
        await self._writer.append(Run.of(self._source, Kind.GAP, [msgspec.json.encode(gap)], observed=self._clock.now()))
