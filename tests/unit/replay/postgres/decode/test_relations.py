"""From the names in Relation messages to attnums."""

from __future__ import annotations

import msgspec
import pytest

from archiver.errors import Corrupt
from archiver.postgres.records import Catalog, Column, Schema, Table
from archiver.postgres.visibility import Committed
from archiver.replay.postgres.decode.pgoutput import Relation, RelationColumn
from archiver.replay.postgres.decode.relations import Catalogs

A, B = 25, 23


def entry(visible: str, columns: list[tuple[int, str]] | None, cause: str = "ddl", natts: int = 0, **more: str) -> Schema:
    tables = []
    if columns is not None:
        made = [Column(attnum, name, "text", A, generated=more.get(name, "")) for attnum, name in columns]
        tables = [Table(7, "public", "t", "r", "p", "d", 7, "key", made, [1], natts=natts)]
    # Each transaction of these tests commits where its id says.
    return Schema(f"0/{int(visible.split(':')[1]):X}", visible, 0, cause, 160000, "", Catalog(tables))


def relation(*names: str, identity: str = "d", key: str = "id") -> Relation:
    return Relation(7, "public", "t", identity, tuple(RelationColumn(name, A, -1, identity == "f" or name == key) for name in names))


def attnums(catalogs: Catalogs, described: Relation, xid: int) -> tuple[int, ...]:
    layout, notes = catalogs.layout(described, Committed(xid, xid))
    assert layout is not None
    assert not notes
    return layout.attnums


def test_a_rename_keeps_its_attnum() -> None:
    """Before and after a rename the same attnum is found, by whichever name was valid."""
    catalogs = Catalogs([entry("10:10:", [(1, "id"), (2, "a")]), entry("20:20:", [(1, "id"), (2, "b")])])
    assert attnums(catalogs, relation("id", "a"), 15) == (1, 2)
    assert attnums(catalogs, relation("id", "b"), 15) == (1, 2)


def test_swapped_names_go_by_the_order_of_columns() -> None:
    """Columns come in attnum order, so two that swapped names are not mixed up."""
    catalogs = Catalogs([entry("10:10:", [(1, "id"), (2, "a"), (3, "b")]), entry("20:20:", [(1, "id"), (2, "b"), (3, "a")])])
    assert attnums(catalogs, relation("id", "a", "b"), 15) == (1, 2, 3)
    assert attnums(catalogs, relation("id", "b", "a"), 15) == (1, 2, 3)


def test_generated_columns_are_left_out() -> None:
    """Whether or not they are published, no output has them."""
    catalogs = Catalogs([entry("10:10:", [(1, "id"), (2, "g"), (3, "a")], g="s")])
    layout, _ = catalogs.layout(relation("id", "g", "a"), Committed(15, 15))
    assert layout is not None
    assert (layout.width, layout.attnums, layout.positions) == (3, (1, 3), (0, 2))
    assert attnums(catalogs, relation("id", "a"), 15) == (1, 3)


def dropped_and_added(cause: str) -> Catalogs:
    return Catalogs([entry("10:10:", [(1, "id"), (2, "a")]), entry("20:20:", [(1, "id"), (3, "a")], cause)])


def test_a_column_added_under_a_dropped_ones_name_needs_the_ddl_message() -> None:
    """Before the message of the change it is the old column, after it the new one."""
    catalogs = dropped_and_added("ddl")
    assert attnums(catalogs, relation("id", "a"), 12) == (1, 2)
    catalogs.ddl(Committed(13, 13), b'{"objects": [{"oid": "8"}]}')
    assert attnums(catalogs, relation("id", "a"), 14) == (1, 2)
    catalogs.ddl(Committed(15, 15), b'{"objects": [{"oid": 7}]}')
    assert attnums(catalogs, relation("id", "a"), 16) == (1, 3)


def test_a_ddl_message_from_before_the_change_can_lie_does_not_count() -> None:
    """The catalog was looked at behind position 14 and was still the old one: an earlier message, whoever sent it, tells of nothing."""
    old, new = entry("10:10:", [(1, "id"), (2, "a")]), entry("20:20:", [(1, "id"), (3, "a")])
    catalogs = Catalogs([old, msgspec.structs.replace(new, since="0/E")])
    catalogs.ddl(Committed(13, 13), b'{"objects": [{"oid": 7}]}')
    assert attnums(catalogs, relation("id", "a"), 15) == (1, 2)
    catalogs.ddl(Committed(16, 16), b'{"objects": [{"oid": 7}]}')
    assert attnums(catalogs, relation("id", "a"), 17) == (1, 3)


def test_without_ddl_messages_it_is_an_error_not_a_guess() -> None:
    """The poll found the change, so nobody knows when it happened."""
    with pytest.raises(Corrupt, match="several ways"):
        dropped_and_added("poll").layout(relation("id", "a"), Committed(15, 15))


def test_outside_the_interval_there_is_no_doubt() -> None:
    """A transaction that the first entry sees wrote the old column; one that the last does not see, the new one."""
    catalogs = dropped_and_added("poll")
    assert attnums(catalogs, relation("id", "a"), 5) == (1, 2)
    assert attnums(catalogs, relation("id", "a"), 25) == (1, 3)


def test_a_column_between_two_entries_is_noted_and_left_out() -> None:
    """Added and dropped again before anybody looked: no target has it."""
    catalogs = Catalogs([entry("10:10:", [(1, "id"), (2, "a")]), entry("20:20:", [(1, "id"), (2, "a")])])
    layout, notes = catalogs.layout(relation("id", "a", "ghost"), Committed(15, 15))
    assert layout is not None
    assert layout.attnums == (1, 2)
    assert layout.width == 3
    assert "ghost" in notes[0]


def test_a_name_that_no_entry_has_is_a_column_that_was_renamed() -> None:
    """Renamed twice, or added under another name than it has now: what it can be by its place, it is."""
    catalogs = Catalogs([entry("10:10:", [(1, "id"), (2, "a")]), entry("20:20:", [(1, "id"), (2, "c")])])
    assert attnums(catalogs, relation("id", "b"), 15) == (1, 2)
    catalogs = Catalogs([entry("10:10:", [(1, "id"), (2, "a")]), entry("20:20:", [(1, "id"), (3, "a")])])
    assert attnums(catalogs, relation("id", "a", "a_new"), 15) == (1, 2, 3)
    catalogs = Catalogs([entry("10:10:", None), entry("20:20:", [(1, "id"), (2, "c")])])
    assert attnums(catalogs, relation("id", "b"), 15) == (1, 2)


def test_a_name_that_can_be_two_columns_is_not_guessed() -> None:
    """A column that is still there under another name, or one that came and went: an attnum in between tells that both are possible."""
    for natts in (2, 0):
        catalogs = Catalogs([entry("10:10:", [(1, "id"), (2, "a")], natts=natts), entry("20:20:", [(1, "id"), (2, "a"), (4, "c")])])
        with pytest.raises(Corrupt, match="several ways"):
            catalogs.layout(relation("id", "a", "ghost"), Committed(15, 15))
    catalogs = Catalogs([entry("10:10:", [(1, "id"), (2, "a")], natts=3), entry("20:20:", [(1, "id"), (2, "a"), (4, "c")])])
    assert attnums(catalogs, relation("id", "a", "ghost"), 15) == (1, 2, 4)


def test_many_renames_at_once_are_read_at_once() -> None:
    """The order of columns leaves one reading, and the others are never begun."""
    old, new = [(n, f"a{n}") for n in range(2, 200)], [(n, f"c{n}") for n in range(2, 200)]
    catalogs = Catalogs([entry("10:10:", [(1, "id"), *old]), entry("20:20:", [(1, "id"), *new])])
    assert attnums(catalogs, relation("id", *(f"b{n}" for n in range(2, 200))), 15) == tuple(range(1, 200))


def test_an_unknown_table_is_noted() -> None:
    """Rows of a table that came and went between two entries are left out, and it is said."""
    layout, notes = Catalogs([entry("10:10:", None)]).layout(relation("id"), Committed(5, 5))
    assert layout is None
    assert "7" in notes[0]


def test_columns_that_no_entry_explains_are_corrupt() -> None:
    """A column that was there before and after cannot be missing in between."""
    catalogs = Catalogs([entry("10:10:", [(1, "id"), (2, "a")]), entry("20:20:", [(1, "id"), (2, "a")])])
    with pytest.raises(Corrupt, match="explain"):
        catalogs.layout(relation("id"), Committed(15, 15))


def test_modes_follow_the_identity_of_the_moment() -> None:
    """Key columns, the whole row, or nothing, as the message says."""
    catalogs = Catalogs([entry("10:10:", [(1, "id"), (2, "a")])])
    found = [
        catalogs.layout(one, Committed(5, 5))[0]
        for one in (relation("id", "a"), relation("id", "a", identity="f"), relation("id", "a", key=""))
    ]
    assert [(layout.mode, layout.key) for layout in found if layout] == [("key", (1,)), ("full", ()), ("insert", ())]


def test_a_key_that_the_message_has_only_in_part_identifies_nothing() -> None:
    """With a generated column in its key a table is captured by inserts alone; the rest of the key is marked all the same."""
    made = [Column(1, "id", "text", A), Column(2, "g", "text", A, generated="s")]
    schema = Schema("0/1", "10:10:", 0, "ddl", 160000, "", Catalog([Table(7, "public", "t", "r", "p", "d", 7, "insert", made, [])]))
    layout, _ = Catalogs([schema]).layout(relation("id"), Committed(5, 5))
    assert layout is not None
    assert (layout.mode, layout.key) == ("insert", ())


def test_defaults_of_added_columns_come_from_the_entry_that_still_knows() -> None:
    """The server forgets them when the table is rewritten."""
    first, last = entry("10:10:", [(1, "id")]), entry("20:20:", [(1, "id"), (2, "a")])
    known = Column(2, "a", "text", A, missing="x\ty")
    middle = Schema("0/1", "15:15:", 0, "ddl", 160000, "", Catalog([Table(7, "public", "t", "r", "p", "d", 7, "key", [known], [1])]))
    assert Catalogs([first, middle, last]).missing(7) == {1: None, 2: b"x\\ty"}
