"""Keeps the journal's knowledge of the schema true while the stream runs, over ordinary sessions of its own.

A round: look (cheap) -> on a change: publications first, so that no UPDATE fails longer than it must; catalog and dump under one snapshot;
gaps of tables whose rows are no longer known; PG_SCHEMA. Copies of such tables run beside the rounds (``table_keeper``).

Every entry is complete in itself. PG_SCHEMA says which tables are still to be copied, so a stop at any moment loses nothing: the next start
compares the catalog with the journal's newest PG_SCHEMA and goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.capture.postgres.baseline.copy_tables import Limits
from archiver.capture.postgres.baseline.schema_entry import Taken, take_schema
from archiver.capture.postgres.catalog import ddl_triggers
from archiver.capture.postgres.catalog.catalog import read_catalog
from archiver.capture.postgres.catalog.catalog_diff import compare
from archiver.capture.postgres.catalog.fingerprint import read_fingerprint
from archiver.capture.postgres.catalog.horizon import Horizon, position, running_here
from archiver.capture.postgres.catalog.publication import planned_changes, reconcile_publications, unpublishable
from archiver.capture.postgres.catalog.publication_members import Members, Membership, noted, read_members
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.catalog.sequences import take_sequences
from archiver.capture.postgres.session.snapshot import hold_snapshot
from archiver.capture.postgres.watch.database_poll import Look, look
from archiver.capture.postgres.watch.table_recopier import TableKeeper
from archiver.errors import Refused, Unavailable
from archiver.journal.entry import Kind, Run
from archiver.postgres.records import Catalog, Schema, SequenceValue

if TYPE_CHECKING:
    from archiver.capture.postgres.config import PostgresConfig
    from archiver.capture.postgres.session.access import Access, Session
    from archiver.capture.postgres.session.schema_dump import PgTools
    from archiver.clock import Clock
    from archiver.journal.writer import Writer

SOON_SECONDS = 0.25
"""Until the next round while something waits to be finished; doubles as long as nothing comes of it."""

_log = structlog.get_logger()


class SchemaWatcher:
    """Appends PG_SCHEMA, PG_SEQUENCES, and through its keeper GAP and PG_TABLES entries."""

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
        compression_level: int = 1,
    ) -> None:
        """``known``: the baseline's schema, or the journal's newest (``start.journal_view.newest_schema``), to compare with."""
        self._source = source
        self._access = access
        self._config = config
        self._tools = tools
        self._writer = writer
        self._clock = clock
        self._scope = Scope(config.schemas, config.exclude_tables)
        self._known = known
        self._taken: Taken | None = None
        self._fingerprint = known.fingerprint if known and known.cause == "baseline" else ""
        self._filenodes: dict[int, int] = {}
        self._membership = Membership(known.catalog if known else None)
        self._forbidden: frozenset[int] = frozenset()
        self._blocked: frozenset[int] = frozenset()
        self._earlier: frozenset[int] = frozenset()
        self._unseen: dict[int, frozenset[int]] = {}
        """Tables that joined or moved, with the transactions that may have missed it, until they are marked."""
        self._journaled_pending = known.catalog.pending if known else []
        self._sequences: list[SequenceValue] | None = None
        self._horizon = Horizon((known.floor or known.lsn) if known else "")
        self._keeper = TableKeeper(
            source,
            access,
            self._scope,
            writer,
            clock,
            self._horizon,
            limits=Limits(config.baseline_jobs, config.part_bytes, compression_level),
            interval_seconds=config.insert_only_snapshot_seconds,
        )
        self._pause = SOON_SECONDS
        self._noticed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._problem = ""

    @property
    def gaps(self) -> int:
        """Gaps recorded by this watcher."""
        return self._keeper.gaps

    def warnings(self) -> list[str]:
        """What keeps the journal from knowing schema and tables as they are, for the status."""
        found = [f"schema: {self._problem}"] if self._problem else []
        if self._forbidden:
            found.append(f"{len(self._forbidden)} tables may not be published; `archiver check` names the missing rights")
        if self._keeper.pending:
            found.append(f"{len(self._keeper.pending)} tables wait to be copied")
        return found

    def ddl_seen(self, content: bytes = b"") -> None:
        """A message with prefix ``announcements.PREFIX`` came through the stream: look at once. May be called from any thread."""
        del content  # That something changed is enough: what changed is read from the catalog.
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._noticed.set)

    async def run(self) -> None:
        """Watch until cancelled. Raises ``Unavailable`` when the database is gone, and what the writer raises.

        Cancellation at any moment leaves the journal true. The first round writes a PG_SCHEMA (cause ``start``) unless ``known`` is the
        baseline's and still true.
        """
        self._loop = asyncio.get_running_loop()
        session = await self._access.connect()
        try:
            await self._install(session)
            # Whatever an earlier life changed in the publications, only what runs now can have missed it.
            self._earlier = await running_here(session)
            if self._known is not None:
                await self._keeper.recall(self._known.catalog, self._earlier)
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
                    pause = min(2 * max(pause, SOON_SECONDS), self._config.poll_seconds)
                    _log.warning("schema_round_failed", source=self._source, error=error.message, hint=error.hint, again_seconds=pause)
                cause = "ddl" if await self._wait(pause) else "poll"
        finally:
            await self._keeper.close()
            await session.close()

    async def read_sequences(self, session: Session) -> int:
        """Append PG_SEQUENCES if they moved since the last reading; the number of the entry, 0 for none. Raises ``Unavailable``.

        Every poll does it, and a clean stop once more: what rolled back drew numbers too, and nothing in the stream tells of those.
        """
        read = await take_sequences(session, self._scope)
        if read.values == self._sequences:
            return 0
        run = Run.of(self._source, Kind.PG_SEQUENCES, [msgspec.json.encode(read)], observed=self._clock.now())
        entry = await self._writer.append(run)
        self._sequences = read.values
        return entry

    async def _wait(self, seconds: float) -> bool:
        """Until a DDL message, the end of a copy, or for ``seconds``; whether it was a message."""
        waiting = [asyncio.create_task(self._noticed.wait()), asyncio.create_task(self._keeper.wait())]
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        noticed = self._noticed.is_set()
        self._noticed.clear()
        return noticed

    async def _install(self, session: Session) -> None:
        if self._config.ddl == "poll":
            return
        try:
            installed = await ddl_triggers.install(session)
        except Unavailable as error:
            installed = False
            _log.warning("ddl_trigger_not_installed", source=self._source, reason=error.message)
        if not installed:
            _log.warning("schema_changes_by_poll", source=self._source, poll_seconds=self._config.poll_seconds)

    async def _round(self, session: Session, cause: str) -> float:
        """One look and what follows from it; how long to wait for the next."""
        seen = await look(session, self._config.publications, self._known.catalog if self._known else None)
        if seen.fingerprint != self._fingerprint:
            await self._follow(session, cause)
        elif self._known is not None:
            changed = not self._membership.same(seen.members) or bool(self._forbidden)
            if changed and (self._membership.came_back(seen.members) or await self._rejoining(session, self._known.catalog)):
                await self._follow(session, cause)
            else:
                if changed:
                    await self._reconcile(session, self._known.catalog)
                self._filenodes = seen.filenodes
                self._horizon.add(seen.lsn, seen.running, self._clock.monotonic())
        moved = await self._keep_tables(session, seen)
        await self.read_sequences(session)
        soon = self._keeper.waits or not self._fingerprint
        self._pause = min(2 * self._pause if soon and not moved else SOON_SECONDS, self._config.poll_seconds)
        return self._pause if soon else self._config.poll_seconds

    async def _follow(self, session: Session, cause: str) -> None:
        """The schema is another: bring the publications in line, journal it, and find the tables whose rows are no longer known."""
        at, since = self._clock.monotonic(), self._horizon.clean()
        lsn, running = await position(session)
        async with hold_snapshot(self._access) as held:
            observed = await read_catalog(held.connection, self._scope)
            members = await read_members(session, self._config.publications)
            returned = await self._returned(session, members)
            rejoining = await self._rejoining(session, observed.catalog)
            await self._reconcile(session, observed.catalog, without=rejoining)
            taken = await take_schema(held, self._access, self._tools, self._scope, cause=cause)
        exact = await read_fingerprint(session) == taken.schema.fingerprint
        await self._mark(self._known.catalog if self._known else taken.schema.catalog, taken.schema.catalog, rejoining | returned)
        self._membership.take(members, joined=returned, captured=_captured(taken.schema.catalog))
        self._horizon.add(lsn, running, at)
        schema = msgspec.structs.replace(taken.schema, floor=self._horizon.clean(), since=since)
        self._taken = dataclasses.replace(taken, schema=schema)
        entry = await self._append_schema(self._taken)
        self._known = schema
        self._filenodes = {}
        # DDL while pg_dump ran: parts of the dump may be newer than the snapshot, so it is taken again at once.
        self._fingerprint = schema.fingerprint if exact else ""
        if rejoining:
            # Once such a table is a member again, nothing but the journal tells that it was none.
            await self._writer.durable(entry)
            await self._reconcile(session, schema.catalog)

    async def _append_schema(self, taken: Taken) -> int:
        """The number of the last entry."""
        catalog = noted(self._keeper.annotate(taken.schema.catalog), self._membership.known)
        schema = msgspec.structs.replace(taken.schema, catalog=catalog)
        run = Run.of(self._source, Kind.PG_SCHEMA, [msgspec.json.encode(schema), taken.dump], observed=self._clock.now())
        first = await self._writer.append(run)
        self._journaled_pending = schema.catalog.pending
        _log.info("schema_recorded", source=self._source, cause=schema.cause, lsn=schema.lsn, to_copy=len(schema.catalog.pending))
        return first + run.count - 1

    async def _rejoining(self, session: Session, catalog: Catalog) -> frozenset[int]:
        """Captured tables that somebody took out of our publications: the catalog itself will not show that they ever were."""
        return (await planned_changes(session, self._config, catalog)).added & self._settled()

    async def _returned(self, session: Session, seen: Members) -> frozenset[int]:
        """Tables that left our publications and came back since they were last looked at; what runs now may have missed their return."""
        returned = self._membership.came_back(seen)
        waits = await running_here(session) if returned else frozenset()
        self._unseen |= {oid: self._unseen.get(oid, frozenset()) | waits for oid in returned}
        return returned

    async def _reconcile(self, session: Session, catalog: Catalog, *, without: frozenset[int] = frozenset()) -> None:
        """Bring the publications in line as far as the rights go, but for the tables ``without``."""
        config = self._config
        forbidden = await unpublishable(session, config, catalog)
        if forbidden - self._forbidden:
            names = [f"{table.schema}.{table.name}" for table in catalog.tables if table.oid in forbidden - self._forbidden]
            _log.error("tables_not_publishable", source=self._source, tables=names, hint="`archiver check` names the missing rights")
        self._forbidden = forbidden
        allowed = [table for table in catalog.tables if table.oid not in forbidden | without]
        wanted = msgspec.structs.replace(catalog, tables=allowed)
        changed = await reconcile_publications(session, config, wanted, partly=True, settled=self._settled())
        if joined := changed.added | changed.moved:
            waits = await running_here(session)
            for oid in joined:
                self._unseen[oid] = self._unseen.get(oid, frozenset()) | waits
                self._keeper.hold(oid, waits)
        self._blocked = changed.blocked
        # Whoever leaves after this reading is found by the next look; who left before is still to be done, and looked for again.
        self._membership.take(await read_members(session, config.publications), joined=joined, captured=_captured(catalog))
        self._membership.settled = not (changed.blocked or await planned_changes(session, config, wanted))

    def _settled(self) -> frozenset[int]:
        """Tables whose rows the journal has, which they are only as long as they are members."""
        known = self._known.catalog.tables if self._known else []
        return frozenset(table.oid for table in known if table.mode != "excluded" and not self._keeper.holds(table.oid))

    async def _mark(self, before: Catalog, after: Catalog, rejoining: frozenset[int]) -> None:
        tables = {table.oid: table for table in after.tables}
        found = {change.oid: change for change in compare(before, after, self._filenodes)}
        for oid, change in found.items():
            waits = self._unseen.get(oid, frozenset()) | self._earlier
            if oid in self._forbidden:
                await self._keeper.mark(tables[oid], "table_not_readable", "the archiver's role may not publish it", waits=waits)
            else:
                await self._keeper.mark(tables[oid], change.reason, change.detail, cause=change.reason, waits=waits)
        for oid in sorted(rejoining & tables.keys() - found.keys()):
            waits = self._unseen.get(oid, frozenset()) | self._earlier
            await self._keeper.mark(tables[oid], "table_added", "it was in no publication for a while", waits=waits)
        self._unseen.clear()
        self._keeper.keep_only(after)

    async def _keep_tables(self, session: Session, seen: Look) -> bool:
        """Copy what can be copied; whether it became more or less than the journal says."""
        if self._known is None:
            return False
        await self._keeper.watch_writes(self._known.catalog, seen.writes)
        await self._keeper.step(session, seen.writes, self._forbidden | self._blocked)
        if self._keeper.pending == self._journaled_pending:
            return False
        if self._taken is None:
            await self._follow(session, "poll")
        else:
            await self._append_schema(self._taken)
        return True


def _captured(catalog: Catalog) -> frozenset[int]:
    return frozenset(table.oid for table in catalog.tables if table.mode != "excluded")
