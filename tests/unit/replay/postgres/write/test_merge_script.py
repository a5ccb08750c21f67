"""Lines of a script, and which rows differ; the same on a real server: ``tests/integration/replay/postgres/test_merge_scripts.py``."""

from __future__ import annotations

import pytest

from archiver.errors import Refused
from archiver.replay.postgres.write.merge_script import ScriptColumn, ScriptTable, delete, head, insert, row_text, update, values_of
from archiver.replay.postgres.write.row_comparison import Change, RowComparison

TABLE = ScriptTable(
    "s",
    't"\n',
    only=True,
    columns=[ScriptColumn("id", always_identity=True), ScriptColumn("v\n")],
    key={"id": ("pg_catalog", "=")},
    layout=["id 23 -1", "v\n 25 -1"],
)


def test_each_row_is_one_line_of_sql() -> None:
    """Whatever stands in names and values."""
    evil = "'; DROP TABLE x; --\n\\! id\x1b"
    assert delete(TABLE, ["1", evil]).count("\n") == 1
    assert insert(TABLE, ["1", evil]).count("\n") == 1
    changed = update(TABLE, ["1", evil], ["1", None])
    assert changed.count("\n") == 2
    assert changed.startswith("-- was ")
    for line in (head(TABLE, [("point", "a\nDROP TABLE x")]) + changed).splitlines():
        assert not line.startswith(("DROP", "\\")), line
        assert "\x1b" not in line


def test_an_identity_that_no_update_sets_is_refused() -> None:
    """Rather than a script that fails."""
    with pytest.raises(Refused, match="no UPDATE can set it"):
        update(TABLE, ["1", "a"], ["2", "a"])


def test_bytes_that_are_no_text_are_refused() -> None:
    """A script is text."""
    with pytest.raises(Refused, match="is no UTF-8"):
        values_of(b"1\t\xff", TABLE)
    assert values_of(b"1\t\\N", TABLE) == ["1", None]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (["1", None, ""], '(1,,"")'),
        (['a"b', "c\\d", "e f"], '("a""b","c\\\\d","e f")'),
        (["(", ",", "\t", "\u00a0é"], '("(",",","\t",\u00a0é)'),
        ([None], "()"),
    ],
)
def test_a_row_as_the_server_writes_it(row: list[str | None], text: str) -> None:
    """Quoted only where it must be."""
    assert row_text(row) == text


def test_rows_are_compared_by_key() -> None:
    """What is gone first, then what changes, then what comes."""
    rows = RowComparison("t", [1])
    rows.add_past(b"a\t1\nb\t2\nc\t3\n")
    rows.add_live([b"a\t1\n", b"x\t2\n", b"d\t4\n"])
    assert rows.counts() == (1, 1, 1, 1)
    assert list(rows.changes()) == [Change("delete", b"", b"d\t4"), Change("update", b"b\t2", b"x\t2"), Change("insert", b"c\t3", b"")]
    rows.close()
    twice = RowComparison("t", [0])
    with pytest.raises(Refused, match="share a key"):
        twice.add_past(b"1\ta\n1\tb\n")
    twice.close()
