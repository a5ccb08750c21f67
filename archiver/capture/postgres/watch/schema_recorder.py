"""PG_SCHEMA entries while the stream runs, and which schema the journal has by now."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.capture.postgres.catalog.publication_members import with_members
from archiver.journal.entry import Kind, Run
from archiver.journal.records import Gap
from archiver.postgres.lsn import parse_lsn, parse_position
from archiver.postgres.records import SCHEMA_UNCERTAIN, Look
from archiver.postgres.visibility import Visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from archiver.capture.postgres.baseline.schema_entry import SchemaEntry
    from archiver.capture.postgres.watch.publication_keeper import PublicationKeeper
    from archiver.capture.postgres.watch.table_gaps import TableGaps
    from archiver.capture.postgres.watch.unannounced_changes import UnannouncedChanges
    from archiver.capture.postgres.watch.write_counts import WriteCounts
    from archiver.clock import Clock
    from archiver.journal.writer import Writer
    from archiver.postgres.records import Catalog, Schema

LOOK_SECONDS = 30.0
"""A look at the catalog that found nothing new is journaled this often: what an archiver that is killed has looked at would be lost."""

_log = structlog.get_logger()


class SchemaRecorder:
    """Journals the schema, with the tables that are still to be copied and the members of our publications."""

    def __init__(
        self,
        source: str,
        writer: Writer,
        clock: Clock,
        gaps: TableGaps,
        counts: WriteCounts,
        publications: PublicationKeeper,
        journaled: Schema | None,
        *,
        dump: bytes = b"",
        settled: bool = True,
        changes: UnannouncedChanges | None = None,
    ) -> None:
        """``journaled``: the newest schema that the journal has, if any, and its ``dump``. ``changes`` is told of each that follows.

        ``settled``: one of a baseline was taken just now, with the settings of now, and need not be taken again.
        """
        self._source = source
        self._writer = writer
        self._clock = clock
        self._gaps = gaps
        self._counts = counts
        self._publications = publications
        self._journaled = journaled
        self._dump = dump
        self._changes = changes
        self._taken: SchemaEntry | None = None
        self._pending = journaled.catalog.pending if journaled else []
        self.fingerprint = journaled.fingerprint if journaled and journaled.cause == "baseline" and settled else ""
        """Of the schema that was recorded; empty as long as it must be taken (again)."""
        self.unknown_since: int | None = None
        """When it was first seen that the journal does not have the schema as it is; ``None`` while it has it."""
        self.gaps = 0
        """Gaps recorded so far."""
        self._told_at = clock.monotonic()
        """When the journal was last told how far the schema is known."""
        self._announced_until = 0
        """LSN before which changes were announced that the journal does not know to be in the schema or to be none; 0 for none."""
        self._announcing: set[int | None] = set()
        """Transactions that announced them, as their messages say; ``None``: one does not."""

    @property
    def catalog(self) -> Catalog | None:
        """The newest that the journal has."""
        return self._journaled.catalog if self._journaled else None

    def has(self, fingerprint: str) -> bool:
        """Whether the journal's newest schema is the one with this fingerprint."""
        return self._journaled is not None and fingerprint == self._journaled.fingerprint

    async def unknown(self, since: str, why: str) -> None:
        """Record, once until the next schema is, that it may be another one from LSN ``since`` on."""
        self.fingerprint = ""
        if self.unknown_since is not None:
            return
        self.unknown_since = self._clock.now()
        self.gaps += 1
        gap = Gap(what="schema", reason=SCHEMA_UNCERTAIN, detail=why, from_position=since, from_time=self.unknown_since)
        _log.error("schema_unknown", source=self._source, since=since, reason=why)
        await self._writer.append(Run.of(self._source, Kind.GAP, [msgspec.json.encode(gap)], observed=self._clock.now()))

    @property
    def settled(self) -> bool:
        """Whether the journal knows what became of everything that was announced before the newest look."""
        return bool(self.fingerprint) and not self._announced_until

    @property
    def gaps_recorded(self) -> bool:
        """Whether the journal has the gaps of the tables that its newest catalog says are to be copied: behind a baseline they follow."""
        return self._journaled is not None and self._journaled.cause != "baseline"

    @property
    def pending_recorded(self) -> bool:
        """Whether the journal names the tables that are to be copied now."""
        return self._gaps.pending == self._pending

    async def record(self, taken: SchemaEntry, *, exact: bool) -> int:
        """Append PG_SCHEMA; the number of its last entry. ``exact``: no DDL ran during the dump, so it need not be taken again."""
        self._taken = taken
        entry = await self._append(taken)
        if self._changes is not None and self._journaled is not None and self._dump and self.unknown_since is None:
            await self._changes.recorded((self._journaled, self._dump), (taken.schema, taken.dump))
        self._dump = taken.dump
        self._journaled, self.unknown_since, self._told_at = taken.schema, None, self._clock.monotonic()
        self._forget_announced()
        self.fingerprint = taken.schema.fingerprint if exact else ""
        return entry

    def announced(self, until: str, by: Iterable[int | None] = (None,)) -> None:
        """Changes were announced before LSN ``until``. Anybody who may log in can say so: if there were none, a look soon tells.

        ``by``: transactions that say they did.
        """
        self._announced_until = parse_position(until)
        self._announcing.update(by)

    async def looked(self, look: Look) -> None:
        """The schema is the journal's still: append PG_LOOK, if that is due."""
        now = self._clock.monotonic()
        settles = self._announced_until > 0 and self._settled_by(look)
        if now - self._told_at < LOOK_SECONDS and not settles:
            return
        self._told_at = now
        if settles:
            self._forget_announced()
        await self._writer.append(Run.of(self._source, Kind.PG_LOOK, [msgspec.json.encode(look)], observed=self._clock.now()))

    def _settled_by(self, look: Look) -> bool:
        """Whether ``look`` saw all that was announced: its floor stands still while any transaction is open, its snapshot does not."""
        if self._announced_until <= parse_position(look.floor):
            return True
        if not look.visible or not look.end:
            return False
        visible, before = Visible.of_look(look), parse_lsn(look.end) - 1
        return all(xid is not None and visible.sees(xid, before) for xid in self._announcing)

    def _forget_announced(self) -> None:
        self._announced_until = 0
        self._announcing.clear()

    async def repeat(self) -> bool:
        """Append PG_SCHEMA once more, because other tables are pending now; False when nothing was recorded here that can be repeated."""
        if self._taken is None:
            return False
        await self._append(self._taken)
        return True

    async def durable(self, entry: int) -> None:
        """Return once ``entry`` is durable."""
        await self._writer.durable(entry)

    async def _append(self, taken: SchemaEntry) -> int:
        catalog = msgspec.structs.replace(self._counts.annotate(taken.schema.catalog), pending=self._gaps.pending)
        catalog = with_members(catalog, self._publications.known)
        schema = msgspec.structs.replace(taken.schema, catalog=catalog)
        run = dataclasses.replace(taken, schema=schema).run(self._source, self._clock.now())
        first = await self._writer.append(run)
        self._pending = schema.catalog.pending
        _log.info("schema_recorded", source=self._source, cause=schema.cause, lsn=schema.lsn, to_copy=len(schema.catalog.pending))
        return first + run.count - 1
