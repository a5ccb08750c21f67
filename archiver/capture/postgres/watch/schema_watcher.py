"""Keeps the journal's knowledge of the schema true while the stream runs, over ordinary sessions of its own.

A round: poll (cheap) -> on a change: publications, marks, PG_SCHEMA (``schema_follower``). Copies of tables whose rows are no longer known
run beside the rounds (``table_gaps``, ``table_recopier``).

Every entry is complete in itself. PG_SCHEMA says which tables are still to be copied, so a stop at any moment loses nothing: the next start
compares the catalog with the journal's newest PG_SCHEMA and goes on from there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from archiver.capture.postgres.baseline.copy_tables import CopyLimits
from archiver.capture.postgres.catalog import ddl_triggers
from archiver.capture.postgres.catalog.horizon import Horizon
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.catalog.seal_keys import read_seal_keys
from archiver.capture.postgres.watch.database_poll import DatabasePoll, poll_database
from archiver.capture.postgres.watch.publication_keeper import PublicationKeeper
from archiver.capture.postgres.watch.schema_follower import SchemaFollower
from archiver.capture.postgres.watch.schema_recorder import SchemaRecorder
from archiver.capture.postgres.watch.sealed_span import SealedSpan
from archiver.capture.postgres.watch.sequence_recorder import SequenceRecorder
from archiver.capture.postgres.watch.stale_marker import StaleMarker
from archiver.capture.postgres.watch.table_gaps import TableGaps
from archiver.capture.postgres.watch.table_recopier import TableRecopier
from archiver.capture.postgres.watch.thread_event import ThreadEvent
from archiver.capture.postgres.watch.unannounced_changes import UnannouncedChanges
from archiver.capture.postgres.watch.write_counts import WriteCounts
from archiver.errors import Refused, Unavailable
from archiver.postgres.announcements import NOT_ANNOUNCED
from archiver.postgres.records import Look, Sealing
from archiver.waiting import first_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from archiver.capture.postgres.catalog.redaction import Redaction
    from archiver.capture.postgres.config import PostgresConfig
    from archiver.capture.postgres.session.access import Access, Session
    from archiver.capture.postgres.session.schema_dump import PgTools
    from archiver.clock import Clock
    from archiver.journal.writer import Writer
    from archiver.postgres.announcement_seal import SealKeys
    from archiver.postgres.records import Catalog, Schema

HURRY_SECONDS = 0.1
"""Before a round that a stop waits for."""
SOON_SECONDS = 0.25
"""Until the next round while something waits to be finished; doubles as long as nothing comes of it."""

_log = structlog.get_logger()


class SchemaWatcher:
    """Polls the database in rounds, sooner after a DDL message, and has the journal follow what changed."""

    def __init__(
        self,
        source: str,
        access: Access,
        config: PostgresConfig,
        tools: PgTools,
        writer: Writer,
        clock: Clock,
        *,
        known: Schema | None,
        known_dump: bytes = b"",
        changes: UnannouncedChanges | None = None,
        lacking: dict[int, float] | None = None,
        compression_level: int = 1,
        settled: bool = True,
        redaction: Redaction | None = None,
        learn: Callable[[SealKeys | None], None] = lambda _: None,
        sealed: SealedSpan | None = None,
    ) -> None:
        """``known``: the baseline's schema, or the journal's newest (``start.journal_view.newest_schema``), to compare with.

        ``known_dump`` is its dump. ``changes`` hears announcements, also before this begins. ``lacking`` as ``TableGaps`` has it,
        ``settled`` as ``SchemaRecorder``. ``learn`` is told in each round by which keys announcements are sealed;
        ``sealed`` knows since when they were.
        """
        self._source = source
        self._access = access
        self._config = config
        self._clock = clock
        self._scope = scope = Scope.of(config, redaction)
        horizon = Horizon((known.floor or known.lsn) if known else "")
        counts = WriteCounts(known.catalog if known else None)
        self._gaps = TableGaps(source, writer, clock, horizon, interval_seconds=config.insert_only_snapshot_seconds, lacking=lacking)
        self._recopier = TableRecopier(
            source,
            access,
            scope,
            writer,
            clock,
            horizon,
            gaps=self._gaps,
            counts=counts,
            limits=CopyLimits(config.baseline_jobs, config.part_bytes, compression_level, config.largest_row_bytes),
        )
        self._marker = StaleMarker(self._gaps)
        self._publications = PublicationKeeper(source, config, self._marker, known.catalog if known else None)
        self._changes = changes or UnannouncedChanges(source, writer, clock)
        self._gaps_before = self._changes.gaps
        self._recorder = SchemaRecorder(
            source, writer, clock, self._gaps, counts, self._publications, known, dump=known_dump, settled=settled, changes=self._changes
        )
        self._follower = SchemaFollower(
            access,
            tools,
            scope,
            clock,
            horizon,
            gaps=self._gaps,
            publications=self._publications,
            marker=self._marker,
            recorder=self._recorder,
            sealing=self._sealing,
        )
        self._sealed = sealed or SealedSpan()
        self._sequences = SequenceRecorder(source, scope, writer, clock)
        self._learn = learn
        self._ddl = ThreadEvent()
        self._hurry = asyncio.Event()
        self._pause = SOON_SECONDS
        self._problem = ""
        self._horizon = horizon
        self._announced = True
        self._following = False
        self._seen = ""
        """Fingerprint of the schema in the newest round; empty when it could not be read."""

    @property
    def gaps(self) -> int:
        """Gaps recorded by this watcher."""
        return self._gaps.recorded + self._recorder.gaps + self._changes.gaps - self._gaps_before

    @property
    def unknown_since(self) -> int | None:
        """Since when the journal does not have schema or rows as they are; ``None`` while it has. Unpublished updates do not count."""
        known = [since for since in (self._recorder.unknown_since, self._gaps.unknown_since) if since is not None]
        return min(known, default=None)

    @property
    def catalog(self) -> Catalog | None:
        """The newest in the journal; ``None`` before the first."""
        return self._recorder.catalog

    def warnings(self) -> list[str]:
        """What keeps the journal from knowing schema and tables as they are, for the status."""
        found = [f"schema: {self._problem}"] if self._problem else []
        if self._following:
            found.append("schema: it changed, and what it is now is being read")
        if not self._announced:
            found.append(f"{NOT_ANNOUNCED}, up to {self._config.poll_seconds:g} s later")
        if forbidden := self._publications.forbidden:
            found.append(f"{len(forbidden)} tables may not be published; `archiver check` names the missing rights")
        if large := self._gaps.too_large:
            found.append(f"{len(large)} tables hold rows that are too large to be captured: {', '.join(large[:5])}; see largest_row_bytes")
        if hidden := self._left_alone():
            found.append(
                f"{len(hidden)} tables are not captured because of what `redact` hides: {', '.join(hidden[:5])}; see `archiver check`"
            )
        if pending := self._gaps.pending:
            found.append(f"{len(pending)} tables wait to be copied")
        return found

    def _left_alone(self) -> list[str]:
        """Tables of which too much is hidden."""
        return [
            f"{table.schema}.{table.name}"
            for table in (self.catalog.tables if self.catalog else ())
            if table.redacted and (table.mode, table.kind, table.persistence) == ("excluded", "r", "p")
            if self._scope.covers(table.schema, table.name)
        ]

    def ddl_seen(self) -> None:
        """A message with prefix ``ddl_triggers.PREFIX`` came through the stream: poll at once. May be called from any thread."""
        # That something changed is enough: what changed is read from the catalog.
        self._ddl.set()

    async def settle(self) -> None:
        """Return once a look followed everything that was announced so far, beside ``run``; rounds follow each other quickly meanwhile."""
        while self._changes.looked < self._changes.count:
            self._hurry.set()
            await asyncio.sleep(0.02)

    async def run(self) -> None:
        """Watch until cancelled. Raises ``Unavailable`` when the database is gone, and what the writer raises.

        Cancellation at any moment leaves the journal true. The first round writes a PG_SCHEMA (cause ``start``) unless ``known`` is that of
        a baseline that was taken just now and still true.
        """
        self._ddl.listen()
        session = await self._access.connect()
        try:
            await self._install(session)
            await self._marker.begin(session, self._recorder.catalog, gaps_recorded=self._recorder.gaps_recorded)
            cause, pause = "start", SOON_SECONDS
            while True:
                try:
                    pause = await self._round(session, cause)
                    self._problem = ""
                except (Unavailable, Refused) as error:
                    # A locked table, a lost right: it must not end the stream, and the status tells of it.
                    if session.closed:
                        raise
                    self._problem = error.message
                    if not self._recorder.has(self._seen):
                        await self._recorder.unknown(self._horizon.floor(), self._follower.changed(error.message))
                    pause = min(2 * max(pause, SOON_SECONDS), self._config.poll_seconds)
                    _log.warning("schema_round_failed", source=self._source, error=error.message, hint=error.hint, again_seconds=pause)
                cause = "ddl" if await self._wait(pause) else "poll"
        finally:
            await self._recopier.close()
            await session.close()

    async def read_sequences(self, session: Session) -> int:
        """Append PG_SEQUENCES if they moved since the last reading; the number of the entry, 0 for none. Raises ``Unavailable``.

        Every round does it, and a clean stop once more.
        """
        return await self._sequences.record(session)

    async def _wait(self, seconds: float) -> bool:
        """Until a DDL message, the end of a copy, or for ``seconds``; whether it was a message."""
        waiting = [asyncio.create_task(each) for each in (self._ddl.wait(), self._recopier.wait(), self._hurry.wait())]
        try:
            await first_of(*waiting, seconds=seconds)
            if self._hurry.is_set():
                await first_of(*waiting[:2], seconds=HURRY_SECONDS)
        finally:
            for task in waiting:
                task.cancel()
        self._hurry.clear()
        return self._ddl.reset()

    async def _install(self, session: Session) -> None:
        if self._config.ddl == "poll":
            self._announced = await ddl_triggers.announcing(session) != "none"
            return
        try:
            await ddl_triggers.install(session)
        except Unavailable as error:
            _log.warning("ddl_trigger_not_installed", source=self._source, reason=error.message)
        self._announced = await ddl_triggers.announcing(session) != "none"
        if not self._announced:
            _log.warning("schema_changes_by_poll", source=self._source, poll_seconds=self._config.poll_seconds)

    async def _round(self, session: Session, cause: str) -> float:
        """One poll and what follows from it; how long to wait for the next."""
        self._seen = ""
        heard = self._changes.count
        keys = await self._keys(session)
        seen = await poll_database(session, self._config.publications, self._recorder.catalog)
        self._seen = seen.fingerprint
        self._sealed.looked(keys, seen.lsn)
        if cause == "ddl":
            self._recorder.announced(seen.lsn, self._changes.announcing())
        if seen.fingerprint != self._recorder.fingerprint:
            self._following = not self._recorder.has(seen.fingerprint)
            try:
                await self._follower.follow(session, cause)
            finally:
                self._following = False
        elif (catalog := self._recorder.catalog) is not None:
            await self._follower.follow_members(session, cause, seen, catalog)
        await self._changes.settle()
        moved = await self._keep_tables(session, seen)
        if self._recorder.settled:
            self._changes.looked = heard
        await self.read_sequences(session)
        soon = self._gaps.waits or not self._recorder.settled
        self._pause = min(2 * self._pause if soon and not moved else SOON_SECONDS, self._config.poll_seconds)
        return self._pause if soon else self._config.poll_seconds

    async def _keys(self, session: Session) -> SealKeys | None:
        """The keys by which everything is announced that changes the schema; ``None``: not everything is, or nobody can tell."""
        found = None
        try:
            keys = await read_seal_keys(session)
            self._learn(keys)
            if keys is not None and await ddl_triggers.announcing(session) == "current":
                found = keys
        finally:
            # Also where the round fails: what is announced until the next one was judged without keys, or nobody knows by which.
            if found is None:
                self._sealed.broken()
        return found

    async def _sealing(self, session: Session) -> Sealing | None:
        return self._sealed.still(await self._keys(session))

    async def _tell_look(self, seen: DatabasePoll, counted: tuple[str, float] | None) -> None:
        """Journal how far this round found nothing new. ``counted`` as ``watch_writes`` has it."""
        if seen.fingerprint != self._recorder.fingerprint:
            return
        known = self._horizon.floor_and_age(self._clock.monotonic())
        # Behind a transaction that was open from the beginning on, what the journal knew then is all.
        floor, taken = (known[0], seen.time - int(known[1] * 1e6)) if known is not None else (self._horizon.floor(), 0)
        until, ago = counted or ("", 0.0)
        counted_at = seen.time - int(ago * 1e6) if until else 0
        await self._recorder.looked(Look(floor, taken, until, counted_at, seen.end, seen.visible))

    async def _keep_tables(self, session: Session, seen: DatabasePoll) -> bool:
        """Copy what can be copied; whether it became more or less than the journal says."""
        catalog = self._recorder.catalog
        if catalog is None:
            return False
        await self._tell_look(seen, await self._recopier.watch_writes(catalog, seen.writes))
        await self._recopier.step(session, seen.writes, self._publications.unpublished)
        if self._recorder.pending_recorded:
            return False
        if not await self._recorder.repeat():
            await self._follower.follow(session, "poll")
        return True
