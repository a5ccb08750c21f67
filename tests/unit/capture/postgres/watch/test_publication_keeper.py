"""Who is a member of our publications, and who was none for a while."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from archiver.capture.postgres.catalog.horizon import Horizon
from archiver.capture.postgres.catalog.publication import MemberChanges
from archiver.capture.postgres.catalog.publication_members import Members
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.session.access import Session
from archiver.capture.postgres.watch import publication_keeper
from archiver.capture.postgres.watch.publication_keeper import PublicationKeeper
from archiver.capture.postgres.watch.stale_marker import StaleMarker
from archiver.capture.postgres.watch.table_gaps import TableGaps
from archiver.postgres.records import Catalog, Column, Table
from tests.unit.capture.postgres.watch.recording_writer import RecordingWriter
from tests.unit.capture.set_clock import SetClock

TABLE = Table(10, "public", "t", "r", "p", "d", 100, "key", [Column(1, "id", "integer", 23)], [1], member="a")
OTHER = msgspec.structs.replace(TABLE, oid=11, name="u", member="")
CATALOG = Catalog([TABLE, OTHER])
CONFIG = PostgresConfig(dsn="", slot="s")
SESSION = cast("Session", None)
NONE: frozenset[int] = frozenset()


class HeardMarker(StaleMarker):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(TableGaps("db", RecordingWriter(), SetClock(), Horizon(), interval_seconds=0))
        self.told: list[tuple[str, list[int]]] = []

    def joined(self, oids: Any, running: frozenset[int]) -> None:
        self.told.append(("joined", sorted(oids)))

    def missed(self, oids: Any, running: frozenset[int]) -> None:
        self.told.append(("missed", sorted(oids)))


class Server:
    """What the database has and answers."""

    def __init__(self) -> None:
        self.members: Members = {0: "p", 10: "a"}
        self.forbidden = NONE
        self.planned = MemberChanges()
        self.changed = MemberChanges()
        self.wanted: list[int] = []

    async def read_members(self, session: Session, publications: tuple[str, str]) -> Members:
        return self.members

    async def unpublishable(self, session: Session, config: PostgresConfig, catalog: Catalog) -> frozenset[int]:
        return self.forbidden

    async def planned_changes(self, session: Session, config: PostgresConfig, catalog: Catalog) -> MemberChanges:
        return self.planned

    async def reconcile_publications(self, session: Session, config: PostgresConfig, catalog: Catalog, **_: Any) -> MemberChanges:
        self.wanted = [table.oid for table in catalog.tables]
        return self.changed

    async def running_here(self, session: Session) -> frozenset[int]:
        return frozenset({7})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    for name in ("read_members", "unpublishable", "planned_changes", "reconcile_publications", "running_here"):
        monkeypatch.setattr(publication_keeper, name, getattr(made, name))
    return made


async def test_who_joins_is_told_to_the_marker_and_counts_as_known(server: Server) -> None:
    """From then on nobody is missing."""
    marker = HeardMarker()
    keeper = PublicationKeeper("db", CONFIG, marker, CATALOG)
    server.members, server.changed = {0: "p", 10: "a", 11: "b"}, MemberChanges(added=frozenset({11}))
    await keeper.reconcile(SESSION, CATALOG, journaled=NONE)
    assert marker.told == [("joined", [11])]
    assert keeper.in_line(server.members)
    assert keeper.complete


async def test_a_member_that_left_and_came_back_is_another_one(server: Server) -> None:
    """It is found until it is accepted, and the marker hears who may have missed its return."""
    marker = HeardMarker()
    keeper = PublicationKeeper("db", CONFIG, marker, CATALOG)
    again = {0: "p", 10: "other"}
    assert not keeper.in_line(again)
    assert await keeper.returned(SESSION, again) == {10}
    assert marker.told == [("missed", [10])]
    keeper.accept(again, joined=frozenset({10}), catalog=CATALOG)
    assert keeper.came_back(again) == NONE


async def test_a_table_that_may_not_be_published_is_left_out_and_keeps_things_out_of_line(server: Server) -> None:
    """So that the right, once it is given, is noticed."""
    keeper = PublicationKeeper("db", CONFIG, HeardMarker(), CATALOG)
    server.forbidden = frozenset({11})
    await keeper.reconcile(SESSION, CATALOG, journaled=NONE)
    assert server.wanted == [10]
    assert keeper.forbidden == keeper.unpublished == {11}
    assert not keeper.in_line(server.members)


async def test_a_locked_table_is_unpublished_until_the_next_time(server: Server) -> None:
    """The publications are not complete without it."""
    keeper = PublicationKeeper("db", CONFIG, HeardMarker(), CATALOG)
    server.changed = MemberChanges(blocked=frozenset({11}))
    await keeper.reconcile(SESSION, CATALOG, journaled=NONE)
    assert keeper.unpublished == {11}
    assert not keeper.complete


async def test_a_journaled_table_that_somebody_took_out_rejoins(server: Server) -> None:
    """One that the journal does not have yet joins as new."""
    keeper = PublicationKeeper("db", CONFIG, HeardMarker(), CATALOG)
    server.planned = MemberChanges(added=frozenset({10, 11}))
    assert await keeper.rejoining(SESSION, CATALOG, frozenset({10})) == {10}
