"""Values with the types of the source, by the statement of docs/howto/query-history.md: what fits, and what is null because it does not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import duckdb
import msgspec
import pytest

from archiver.postgres.records import Column
from tests.integration.maintenance.outside_readers import statement

HEADING = "Values with the types of the source"
ODD = "o\"d'd/~"
TYPES = {
    "id": "integer", "ok": "boolean", "s": "smallint", "b": "bigint", "r": "real", "d": "double precision", "n": "numeric(10,2)", "u": "uuid",
    "day": "date", "t": "timestamp(3) without time zone", "z": "timestamp with time zone", "raw": "bytea", ODD: "integer",
    "any": "numeric", "back": "numeric(3,5)", "long": "numeric(39,0)", "j": "jsonb", "list": "integer[]",
}  # fmt: skip


def typed(*rows: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """Of each row, in order."""
    columns = [Column(number, name, of, 0) for number, (name, of) in enumerate(TYPES.items(), 1)]
    told = {"catalog": {"tables": [{"oid": 7, "schema": "public", "name": "a", "columns": msgspec.to_builtins(columns)}]}}
    with duckdb.connect() as session:
        session.execute("CREATE TABLE history (operation TEXT, key TEXT, entry BIGINT, relation BIGINT, row TEXT)")
        records = [("entry", "PG_SCHEMA", 1, 0, json.dumps(told))]
        records += [("insert", "k", entry, 7, json.dumps(row)) for entry, row in enumerate(rows, 2)]
        session.executemany("INSERT INTO history VALUES (?, ?, ?, ?, ?)", [*records, ("delete", "k", 100, 7, None)])
        ((view,),) = session.execute(statement(HEADING), {"name": "public.a"}).fetchall()
        return [found for (found,) in session.execute(f"SELECT typed FROM ({view}) ORDER BY entry").fetchall()]


def test_values_have_their_types() -> None:
    """As the source has them; what has no such type is left to the text."""
    row = {
        "id": "1", "ok": "t", "s": "-3", "b": "9223372036854775807", "r": "1.5", "d": "NaN", "n": "-12345678.90", ODD: "5",
        "u": "b5b1b3c4-0000-4000-8000-000000000001", "day": "2024-02-29", "t": "2024-02-29 10:00:00.123", "z": "2024-02-29 10:00:00.5+05:30",
        "raw": "\\x00ff", "any": "1e400", "j": "{}", "list": "{1}",
    }  # fmt: skip
    (found,) = typed(row)
    assert math.isnan(found.pop("d"))
    assert found.pop("z").astimezone(UTC) == datetime(2024, 2, 29, 4, 30, 0, 500000, UTC)
    assert found == {
        "id": 1, "ok": True, "s": -3, "b": 2**63 - 1, "r": 1.5, "n": Decimal("-12345678.90"), ODD: 5,
        "u": UUID("b5b1b3c4-0000-4000-8000-000000000001"), "day": date(2024, 2, 29), "t": datetime(2024, 2, 29, 10, 0, 0, 123000),
        "raw": b"\x00\xff",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("id", ["1.5", "99999999999", "", "x", " 1"]),
        ("ok", ["maybe", "true", "1"]),
        ("s", ["70000"]),
        ("b", ["9223372036854775808"]),
        ("r", ["x", ""]),
        ("n", ["NaN", "Infinity", "1.234", "123456789.00"]),
        ("u", ["no"]),
        ("day", ["infinity", "-infinity", "0044-03-15 BC", "2024-01-01 10:00:00", "2024-02-30"]),
        ("t", ["infinity", "0044-03-15 10:00:00 BC", "2024-01-01"]),
        ("z", ["infinity", "294277-01-01 00:00:00+00", "2024-01-01 00:00:00", "0044-03-15 10:00:00+00 BC"]),
        ("raw", ["\\xzz", "\\x0", "abc"]),
    ],
)
def test_what_does_not_fit_is_null(name: str, texts: list[str]) -> None:
    """Never another value than the text says: of a type that the column had before, or one that the engine does not have."""
    assert [found[name] for found in typed(*({name: text} for text in texts), {name: None}, {})] == [None] * (len(texts) + 2)
