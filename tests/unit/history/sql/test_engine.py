"""The engine takes what it is given and nothing else, whatever is asked."""

from __future__ import annotations

import pyarrow as pa
import pytest

from archiver.errors import Invalid
from archiver.history.sql.engine import opened_engine
from archiver.history.sql.named_tables import KnownTable

TABLE = KnownTable("d'b", "public", 'a"b')


def test_values_have_their_types_where_all_of_them_fit() -> None:
    """One that does not leaves its column text, and is told; names are taken as they are."""
    with opened_engine() as engine:
        assert engine.names('SELECT * FROM "d\'b".public."a""b"') == {'"d\'b".public."a""b"'}
        with engine.table(TABLE, ["n", "when", "big"], ["INTEGER", "TIMESTAMPTZ", "DECIMAL(4,2)"]) as filling:
            filling.add(pa.table({"n": ["1", None], "when": ["2026-01-01 00:00:00+00", "1999-01-01 00:00:00+00"], "big": ["1.50", "NaN"]}))
        assert filling.left == ["big"]
        titles, rows = engine.ask('SELECT n + 1 AS m, big, year("when") > 2000 AS late FROM "a""b" ORDER BY n')
        assert (titles, list(rows)) == (["m", "big", "late"], [(2, "1.50", True), (None, "NaN", False)])


@pytest.mark.parametrize(
    "question",
    ["DELETE FROM t", "SELECT 1; SELECT 2", "COPY (SELECT 1) TO 'x'", "ATTACH 'x'", "INSTALL httpfs", "", "SELECT FROM", "PRAGMA version"],
)
def test_only_one_select_is_asked(question: str) -> None:
    """Nothing else is even tried."""
    with opened_engine() as engine, pytest.raises(Invalid):
        engine.names(question)


@pytest.mark.parametrize(
    "question",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "SELECT 1 / 'x'",
    ],
)
def test_no_file_is_read(question: str) -> None:
    """The error says so in one line."""
    with opened_engine() as engine, pytest.raises(Invalid, match="cannot be answered") as error:
        list(engine.ask(question)[1])
    assert "\n" not in error.value.message


def test_columns_that_differ_in_case_alone() -> None:
    """The engine cannot have them: an error, and no bug."""
    with (
        opened_engine() as engine,
        pytest.raises(Invalid, match="cannot be put into DuckDB"),
        engine.table(TABLE, ["a", "A"], ["VARCHAR"] * 2),
    ):
        pass
