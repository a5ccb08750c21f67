"""Our publications while the stream runs: members as the catalog says, and tables that somebody else took out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.capture.postgres.catalog.horizon import running_here
from archiver.capture.postgres.catalog.publication import planned_changes, reconcile_publications, unpublishable
from archiver.capture.postgres.catalog.publication_members import Members, Membership, read_members

if TYPE_CHECKING:
    from archiver.capture.postgres.config import PostgresConfig
    from archiver.capture.postgres.session.access import Session
    from archiver.capture.postgres.watch.stale_marker import StaleMarker
    from archiver.postgres.records import Catalog

_log = structlog.get_logger()


class PublicationKeeper:
    """Keeps the members of our publications in line with the catalog, and finds tables that were no members for a while.

    ``journaled`` are, in every method, the tables whose rows the journal has, which they are only as long as they are members.
    """

    def __init__(self, source: str, config: PostgresConfig, marker: StaleMarker, journaled: Catalog | None) -> None:
        """``journaled``: the journal's newest catalog, if any. ``marker`` is told who joins."""
        self._source = source
        self._config = config
        self._marker = marker
        self._membership = Membership(journaled)
        self._blocked: frozenset[int] = frozenset()
        self.forbidden: frozenset[int] = frozenset()
        """Tables that the archiver's role may not publish."""
        self.relisted: frozenset[int] = frozenset()
        """Tables of which other columns are published since; the caller clears it when they are marked."""

    @property
    def known(self) -> Members:
        """The members whose changes the stream is known to have."""
        return self._membership.known

    @property
    def complete(self) -> bool:
        """Whether everybody was a member who should be one, when the publications were last brought in line."""
        return self._membership.complete

    @property
    def unpublished(self) -> frozenset[int]:
        """Tables that could not be published: the rights are missing, or DDL or VACUUM holds them."""
        return self.forbidden | self._blocked

    async def read(self, session: Session) -> Members:
        """Who is a member now."""
        return await read_members(session, self._config.publications)

    def in_line(self, seen: Members) -> bool:
        """Whether nobody joined or left, nobody is missing, and nobody whose list changed is to be marked."""
        return self._membership.unchanged(seen) and not self.forbidden and not self.relisted

    def came_back(self, seen: Members) -> frozenset[int]:
        """Tables that left our publications and came back since they were last looked at."""
        return self._membership.came_back(seen)

    async def returned(self, session: Session, seen: Members) -> frozenset[int]:
        """``came_back``; the marker is told that what runs now may have missed their return."""
        returned = self.came_back(seen)
        if returned:
            self._marker.missed(returned, await running_here(session))
        return returned

    async def rejoining(self, session: Session, catalog: Catalog, journaled: frozenset[int]) -> frozenset[int]:
        """Captured tables that somebody took out of our publications: the catalog itself will not show that they ever were."""
        return (await planned_changes(session, self._config, catalog)).added & journaled

    async def reconcile(
        self, session: Session, catalog: Catalog, *, journaled: frozenset[int], without: frozenset[int] = frozenset()
    ) -> None:
        """Bring the publications in line as far as the rights go, but for the tables ``without``."""
        config = self._config
        forbidden = await unpublishable(session, config, catalog)
        if forbidden - self.forbidden:
            names = [f"{table.schema}.{table.name}" for table in catalog.tables if table.oid in forbidden - self.forbidden]
            _log.error("tables_not_publishable", source=self._source, tables=names, hint="`archiver check` names the missing rights")
        self.forbidden = forbidden
        allowed = [table for table in catalog.tables if table.oid not in forbidden | without]
        wanted = msgspec.structs.replace(catalog, tables=allowed)
        changed = await reconcile_publications(session, config, wanted, partly=True, journaled=journaled)
        if joined := changed.added | changed.moved | changed.relisted:
            self._marker.joined(joined, await running_here(session))
        self.relisted |= changed.relisted
        self._blocked = changed.blocked
        # Whoever leaves after this reading is found by the next poll; who left before is still to be done, and looked for again.
        self.accept(await self.read(session), joined=joined, catalog=catalog)
        self._membership.complete = not (changed.blocked or await planned_changes(session, config, wanted))

    def accept(self, seen: Members, *, joined: frozenset[int], catalog: Catalog) -> None:
        """Count ``joined``, whose absence is or need not be recorded, among the known members; of who is absent only captured ones."""
        captured = frozenset(table.oid for table in catalog.tables if table.mode != "excluded")
        self._membership.accept(seen, joined=joined, captured=captured)
