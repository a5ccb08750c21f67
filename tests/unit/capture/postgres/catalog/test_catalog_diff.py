"""Which tables must be copied again after a change of the catalog, and which need not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from archiver.capture.postgres.catalog.catalog_diff import Change, compare
from archiver.postgres.records import Catalog, Column, Table, TypeShape

ID, VALUE = Column(1, "id", "integer", 23), Column(2, "v", "text", 25)
TABLE = Table(10, "public", "t", "r", "p", "d", 100, "key", [ID, VALUE], [1], version="1", types=[50, 51])
ENUM = TypeShape(50, labels={"1": "sad", "2": "ok"})
COMPOSITE = TypeShape(51, attributes=[[1, 23]])


def catalog(table: Table | None = TABLE, *types: TypeShape) -> Catalog:
    return Catalog([table] if table else [], types=list(types or (ENUM, COMPOSITE)))


def changed(**fields: Any) -> Table:
    return msgspec.structs.replace(TABLE, **fields)


@pytest.mark.parametrize(
    "after",
    [
        catalog(),
        catalog(changed(filenode=101)),
        catalog(changed(version="2")),
        catalog(changed(name="renamed", columns=[ID, msgspec.structs.replace(VALUE, name="w")])),
        catalog(changed(columns=[ID, VALUE, Column(3, "n", "integer", 23, missing="5")], version="2")),
        catalog(changed(columns=[ID], version="2")),
        catalog(changed(columns=[ID, msgspec.structs.replace(VALUE, type="character varying(20)")], version="2")),
        catalog(changed(mode="insert", key=[], identity="n")),
        catalog(changed(mode="excluded", persistence="u", key=[])),
        catalog(TABLE, TypeShape(50, labels={"1": "sad", "2": "ok", "3": "new"}), COMPOSITE),
        catalog(None),
    ],
    ids=["same", "truncated", "touched", "renamed", "constant", "dropped", "widened", "identity-lost", "unlogged", "label-added", "gone"],
)
def test_rows_that_read_as_before_are_not_copied(after: Catalog) -> None:
    """A new file alone, new names, constant defaults and new labels leave the rows what they were."""
    assert compare(catalog(), after) == []


@pytest.mark.parametrize(
    ("after", "detail"),
    [
        (catalog(changed(filenode=101, version="2")), "rewritten"),
        (catalog(changed(columns=[ID, msgspec.structs.replace(VALUE, type="bytea", type_oid=17)], version="2")), "type of column v"),
        (catalog(changed(key=[2])), "identity"),
        (catalog(changed(mode="full", key=[])), "identity"),
        (catalog(TABLE, TypeShape(50, labels={"1": "gloomy", "2": "ok"}), COMPOSITE), "label"),
        (catalog(TABLE, ENUM, TypeShape(51, attributes=[[1, 23], [2, 25]])), "attributes"),
    ],
)
def test_rows_that_changed_without_events_are_copied(after: Catalog, detail: str) -> None:
    """Rewrites, other types, another identity, renamed labels and other attributes make the table's rows unknown."""
    [change] = compare(catalog(), after)
    assert (change.oid, change.reason) == (10, "table_rewritten")
    assert detail in change.detail


@pytest.mark.parametrize(
    ("columns", "natts", "copied"),
    [
        ([ID, Column(3, "v", "text", 25)], 3, True),
        ([ID, Column(3, "v", "bigint", 20)], 3, False),
        ([ID, VALUE, Column(4, "w", "bigint", 20)], 4, True),
        ([ID, VALUE], 3, False),
    ],
    ids=["same-type", "another-type", "one-unseen", "came-and-went"],
)
def test_columns_that_came_and_went_unseen_are_copied(columns: list[Column], natts: int, copied: bool) -> None:
    """Unless types or places tell which column a value of the time between belongs to."""
    after = catalog(changed(columns=columns, natts=natts, version="2"))
    assert bool(compare(catalog(changed(natts=2)), after)) == copied


def test_a_column_that_is_no_longer_generated_is_copied() -> None:
    """Its values were never carried, so the journal cannot know them."""
    before = catalog(changed(columns=[ID, msgspec.structs.replace(VALUE, generated="s")]))
    assert [change.reason for change in compare(before, catalog())] == ["table_rewritten"]


def test_new_tables_are_added() -> None:
    """A table that appears, or that is captured from now on (SET LOGGED), has rows the journal does not know."""
    added = [Change(10, "table_added", "it is captured from now on")]
    assert compare(catalog(None), catalog()) == added
    assert compare(catalog(changed(mode="excluded", persistence="u")), catalog(changed(filenode=101))) == added


def test_newer_filenodes_tell_a_truncate_from_a_rewrite() -> None:
    """After a TRUNCATE that a look has seen, a touched column alone is no rewrite."""
    after = catalog(changed(filenode=101, version="2"))
    assert compare(catalog(), after, {10: 101}) == []
    assert compare(catalog(), after, {10: 100}) != []
