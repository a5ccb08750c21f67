"""Which tables are marked after a change, and what a copy of them waits for."""

from __future__ import annotations

import msgspec

from archiver.capture.postgres.watch.stale_marker import StaleMarker
from archiver.capture.postgres.watch.table_gaps import TableGaps
from archiver.postgres.records import Catalog, Column, Table

TABLE = Table(10, "public", "t", "r", "p", "d", 100, "key", [Column(1, "id", "integer", 23)], [1], version="1")
OTHER = msgspec.structs.replace(TABLE, oid=11, name="u")
NONE: frozenset[int] = frozenset()


class MarkedTables(TableGaps):
    """Remembers what it is told and journals nothing."""

    def __init__(self) -> None:
        self.marks: list[tuple[int, str, str, frozenset[int]]] = []
        self.held: list[tuple[int, frozenset[int]]] = []
        self.kept: list[int] = []

    async def mark(
        self, table: Table, reason: str, detail: str, *, cause: str = "table_added", since: str = "", waits: frozenset[int] = NONE
    ) -> None:
        self.marks.append((table.oid, reason, cause, waits))

    def hold(self, oid: int, waits: frozenset[int]) -> None:
        self.held.append((oid, waits))

    def keep_only(self, catalog: Catalog) -> None:
        self.kept = [table.oid for table in catalog.tables]


async def test_a_new_table_waits_for_who_may_have_missed_that_it_joined() -> None:
    """It is marked with the transactions that ran when it joined, and a copy that began before does not count."""
    tables = MarkedTables()
    marker = StaleMarker(tables)
    marker.joined([11], frozenset({7}))
    marker.missed([11], frozenset({8}))
    await marker.mark(Catalog([TABLE]), Catalog([TABLE, OTHER]), forbidden=NONE, unpublished=NONE)
    assert tables.held == [(11, frozenset({7}))]
    assert tables.marks == [(11, "table_added", "table_added", frozenset({7, 8}))]
    assert tables.kept == [10, 11]


async def test_what_was_missed_is_forgotten_once_it_is_marked() -> None:
    """The next change of the same table waits for nobody of before."""
    tables = MarkedTables()
    marker = StaleMarker(tables)
    marker.missed([10], frozenset({7}))
    await marker.mark(Catalog([TABLE]), Catalog([TABLE]), forbidden=NONE, unpublished=frozenset({10}))
    await marker.mark(Catalog([TABLE]), Catalog([TABLE]), forbidden=NONE, unpublished=frozenset({10}))
    assert [waits for *_, waits in tables.marks] == [frozenset({7}), NONE]


async def test_a_table_that_may_not_be_published_says_so() -> None:
    """The reason of its gap is the missing right, not the change."""
    tables = MarkedTables()
    await StaleMarker(tables).mark(Catalog([]), Catalog([TABLE]), forbidden=frozenset({10}), unpublished=NONE)
    assert tables.marks == [(10, "table_not_readable", "table_added", NONE)]


async def test_a_table_is_marked_once_although_two_things_happened_to_it() -> None:
    """What the catalogs show goes before that it was unpublished; a dropped table is not marked."""
    tables = MarkedTables()
    after = msgspec.structs.replace(TABLE, filenode=101, version="2")
    await StaleMarker(tables).mark(Catalog([TABLE]), Catalog([after]), forbidden=NONE, unpublished=frozenset({10, 12}))
    assert tables.marks == [(10, "table_rewritten", "table_rewritten", NONE)]


async def test_a_file_seen_later_than_the_catalog_is_what_the_next_is_compared_with() -> None:
    """A table that was truncated before has another file than its catalog says, and was not rewritten."""
    tables = MarkedTables()
    marker = StaleMarker(tables)
    marker.files_seen({10: 101})
    after = msgspec.structs.replace(TABLE, filenode=101, version="2")
    await marker.mark(Catalog([TABLE]), Catalog([after]), forbidden=NONE, unpublished=NONE)
    assert tables.marks == []
