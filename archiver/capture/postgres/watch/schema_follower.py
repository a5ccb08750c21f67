"""What follows from a changed schema, in the order that leaves the journal true at every moment.

Publications first, so that no UPDATE fails longer than it must; catalog and dump under one snapshot; gaps of tables whose rows are no
longer known; PG_SCHEMA.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec

from archiver.capture.postgres.baseline.schema_entry import take_schema
from archiver.capture.postgres.catalog.catalog import read_catalog
from archiver.capture.postgres.catalog.fingerprint import read_fingerprint
from archiver.capture.postgres.catalog.horizon import Horizon, log_end_and_running
from archiver.capture.postgres.session.snapshot import hold_snapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from archiver.capture.postgres.catalog.scope import Scope
    from archiver.capture.postgres.session.access import Access, Session
    from archiver.capture.postgres.session.schema_dump import PgTools
    from archiver.capture.postgres.watch.database_poll import DatabasePoll
    from archiver.capture.postgres.watch.publication_keeper import PublicationKeeper
    from archiver.capture.postgres.watch.schema_recorder import SchemaRecorder
    from archiver.capture.postgres.watch.stale_marker import StaleMarker
    from archiver.capture.postgres.watch.table_gaps import TableGaps
    from archiver.clock import Clock
    from archiver.postgres.records import Catalog, Sealing

NAMED = 20
"""Tables of each kind that a gap names."""


class SchemaFollower:
    """Has publications, marked tables and journal follow a change of the schema."""

    def __init__(
        self,
        access: Access,
        tools: PgTools,
        scope: Scope,
        clock: Clock,
        horizon: Horizon,
        *,
        gaps: TableGaps,
        publications: PublicationKeeper,
        marker: StaleMarker,
        recorder: SchemaRecorder,
        sealing: Callable[[Session], Awaitable[Sealing | None]],
    ) -> None:
        """``horizon`` is kept here; ``gaps`` reads it. ``sealing`` is asked once the schema was taken."""
        self._sealing = sealing
        self._access = access
        self._tools = tools
        self._scope = scope
        self._clock = clock
        self._horizon = horizon
        self._gaps = gaps
        self._publications = publications
        self._marker = marker
        self._recorder = recorder
        self._observed: Catalog | None = None

    def changed(self, why: str) -> str:
        """What is known of a change that could not be followed, because of ``why``: the tables that are new or otherwise, and ``why``."""
        if self._observed is None:
            return why
        before = {table.oid: table for table in self._recorder.catalog.tables} if self._recorder.catalog else {}
        new = [f"{table.schema}.{table.name}" for table in self._observed.tables if table.oid not in before]
        other = [
            f"{table.schema}.{table.name}"
            for table in self._observed.tables
            if table.oid in before and table.version != before[table.oid].version
        ]
        return "; ".join([f"new: {', '.join(new[:NAMED])}"] * bool(new) + [f"changed: {', '.join(other[:NAMED])}"] * bool(other) + [why])

    async def follow(self, session: Session, cause: str) -> None:
        """Bring the publications in line, mark the tables whose rows are no longer known, and journal the schema as it is now."""
        at, since = self._clock.monotonic(), self._horizon.floor()
        lsn, running = await log_end_and_running(session)
        journaled = self._journaled()
        async with hold_snapshot(self._access) as held:
            async with held.reading() as reader:
                observed = await read_catalog(reader, self._scope)
            self._observed = observed.catalog
            members = await self._publications.read(session)
            returned = await self._publications.returned(session, members)
            rejoining = await self._publications.rejoining(session, observed.catalog, journaled)
            await self._publications.reconcile(session, observed.catalog, journaled=journaled, without=rejoining)
            taken = await take_schema(held, self._access, self._tools, self._scope, cause=cause)
        sealing = await self._sealing(session)
        # DDL while pg_dump ran: parts of the dump may be newer than the snapshot, so it is taken again at once.
        exact = await read_fingerprint(session) == taken.schema.fingerprint
        catalog = taken.schema.catalog
        before = self._recorder.catalog or catalog
        relisted = self._publications.relisted
        await self._marker.mark(before, catalog, forbidden=self._publications.forbidden, unpublished=rejoining | returned | relisted)
        self._publications.relisted -= relisted
        self._publications.accept(members, joined=returned, catalog=catalog)
        self._horizon.add(lsn, running, at)
        schema = msgspec.structs.replace(taken.schema, floor=self._horizon.floor(), since=since, sealing=sealing)
        entry = await self._recorder.record(dataclasses.replace(taken, schema=schema), exact=exact)
        self._observed = None
        self._marker.files_seen({})
        if rejoining:
            # Once such a table is a member again, nothing but the journal tells that it was none.
            await self._recorder.durable(entry)
            await self._publications.reconcile(session, catalog, journaled=self._journaled())

    async def follow_members(self, session: Session, cause: str, seen: DatabasePoll, catalog: Catalog) -> None:
        """The schema is the journal's ``catalog`` still: follow what else may have changed, the members of our publications."""
        in_line = self._publications.in_line(seen.members)
        if not in_line:
            left = self._publications.came_back(seen.members) or await self._publications.rejoining(session, catalog, self._journaled())
            if left:
                await self.follow(session, cause)
                return
            await self._publications.reconcile(session, catalog, journaled=self._journaled())
            if self._publications.relisted:
                # The catalog was so before, and the list was not.
                await self.follow(session, cause)
                return
        self._marker.files_seen(seen.filenodes)
        self._horizon.add(seen.lsn, seen.running, self._clock.monotonic())

    def _journaled(self) -> frozenset[int]:
        catalog = self._recorder.catalog
        return self._gaps.journaled(catalog) if catalog else frozenset()
