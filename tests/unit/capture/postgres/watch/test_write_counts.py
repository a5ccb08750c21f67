"""What the statistics of insert-only tables tell."""

from __future__ import annotations

import msgspec

from archiver.capture.postgres.watch.write_counts import WriteCounts
from archiver.postgres.records import NOT_COUNTED, Catalog, Column, Table

LOG = Table(10, "public", "log", "r", "p", "n", 100, "insert", [Column(1, "id", "integer", 23)], [])
KEYED = msgspec.structs.replace(LOG, oid=11, name="keyed", mode="key", key=[1])


def test_a_table_that_was_never_copied_counts_as_changed() -> None:
    """Nothing is known of its rows, whatever the statistics say."""
    counts = WriteCounts(None)
    assert counts.changed(10, 0, "0/20")
    assert counts.known_until(10) == ""


def test_a_count_that_stays_moves_forward_until_when_rows_are_known() -> None:
    """Up to the position of which the statistics know for sure, and never back."""
    counts = WriteCounts(None)
    counts.copied(10, 5, "0/10")
    assert not counts.changed(10, 5, "0/20")
    assert not counts.changed(10, 5, "0/18")
    assert counts.known_until(10) == "0/20"


def test_what_is_not_counted_counts_as_changed() -> None:
    """Also when it was not counted before: then nothing says that rows are as they were copied."""
    counts = WriteCounts(None)
    counts.copied(10, NOT_COUNTED, "0/10")
    assert counts.changed(10, NOT_COUNTED, "0/20")
    assert counts.known_until(10) == "0/10"


def test_another_count_leaves_until_when_rows_were_known() -> None:
    """The gap begins there."""
    counts = WriteCounts(None)
    counts.copied(10, 5, "0/10")
    assert counts.changed(10, 6, "0/20")
    assert counts.known_until(10) == "0/10"


def test_no_count_says_that_rows_were_changed() -> None:
    """Only that they may have been: of a table made just now, after a crash, with a count that rose."""
    counts = WriteCounts(None)
    assert "not known how many" in counts.suspicion(10, 0)
    counts.copied(10, 5, "0/10")
    for count, why in ((7, "counted 2 since"), (1, "began anew"), (NOT_COUNTED, "track_counts is off")):
        assert counts.changed(10, count, "0/20")
        assert counts.suspicion(10, count).startswith("rows may have been updated or deleted: ")
        assert why in counts.suspicion(10, count)


def test_the_next_start_goes_on_from_the_catalog() -> None:
    """What ``annotate`` wrote is read again; tables that the stream keeps true are not annotated."""
    counts = WriteCounts(None)
    counts.copied(10, 5, "0/10")
    counts.copied(11, 7, "0/10")
    catalog = counts.annotate(Catalog([LOG, KEYED]))
    assert [(table.copied_writes, table.known_until) for table in catalog.tables] == [(5, "0/10"), (-1, "")]
    assert not WriteCounts(catalog).changed(10, 5, "0/20")
