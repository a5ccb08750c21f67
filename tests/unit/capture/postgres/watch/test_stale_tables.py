"""When a table can be copied again, and which gap it has meanwhile."""

from __future__ import annotations

from archiver.capture.postgres.watch.stale_tables import StaleTable, StaleTables


def stale(**fields: object) -> StaleTable:
    values: dict[str, object] = {"name": "public.t", "reason": "table_rewritten", "detail": "", "cause": "table_rewritten", "since": "0/10"}
    return StaleTable(**{**values, **fields})  # type: ignore[arg-type]


def test_a_table_waits_for_transactions_its_time_and_its_rights() -> None:
    """It is ready only when nothing that it waits for runs, its moment has come, and it may be read."""
    tables = StaleTables()
    assert tables.mark(1, stale(waits=frozenset({7, 8}), not_before=5.0))
    assert tables.ready(frozenset({8, 9}), 10.0, frozenset()) == {}
    assert tables.ready(frozenset({9}), 4.0, frozenset()) == {}
    assert tables.ready(frozenset({9}), 10.0, frozenset({1})) == {}
    assert list(tables.ready(frozenset({9}), 5.0, frozenset())) == [1]


def test_a_second_change_keeps_the_open_gap_and_the_transactions() -> None:
    """The gap is recorded once; what the first change waited for is still waited for; an added table stays added."""
    tables = StaleTables()
    assert tables.mark(1, stale(cause="table_added", waits=frozenset({7})))
    assert not tables.mark(1, stale())
    assert tables.tables[1].waits == {7}
    assert tables.tables[1].cause == "table_added"


def test_a_change_during_the_copy_is_not_forgotten() -> None:
    """A copy that began before the newest change does not end what that change began."""
    tables = StaleTables()
    tables.mark(1, stale())
    began = tables.tables[1].round
    tables.mark(1, stale(since="0/20"))
    again = tables.copied(1, began)
    assert again is not None
    assert again.gap().from_position == "0/20"
    assert tables.copied(1, again.round) is None
    assert tables.tables == {}


def test_tables_that_are_not_captured_are_forgotten() -> None:
    """A dropped table is not copied."""
    tables = StaleTables()
    tables.mark(1, stale())
    tables.mark(2, stale())
    tables.keep_only([2, 3])
    assert list(tables.tables) == [2]
