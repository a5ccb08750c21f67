"""Which tables and columns can be computed from changes alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from archiver.lake.progress import Identity, Progress
from archiver.maintenance.proof.comparable import comparable
from archiver.postgres.records import Catalog, Column, Schema, Table, TableRows, TypeShape

ROWS = TableRows(9, "public", "t", "key", ["id", "a"], [1, 2], [])
COLUMNS = [Column(1, "id", "integer", 23), Column(2, "a", "text", 25)]


def schema(columns: list[Column] = COLUMNS, types: tuple[TypeShape, ...] = ()) -> Schema:
    """One that has the table."""
    table = Table(9, "public", "t", "r", "p", "d", 1, "key", columns, [1], types=[each.oid for each in types])
    return Schema("0/1", "", 0, "ddl", 180000, "18", Catalog([table], types=list(types)))


def progress(*keys: list[str] | None) -> Progress:
    """Its rows were told apart in these ways."""
    base: dict[str, Any] = {"archive": "", "source": "db", "covered": 0, "segment": 0, "chain": "", "resume_entry": 0, "resume_segment": 0}
    return Progress(**base, identities=[Identity(9, list(keys))] if keys else [])


ADDED = [*COLUMNS[:1], msgspec.structs.replace(COLUMNS[1], type="varchar")]
RENAMED = [msgspec.structs.replace(COLUMNS[0], name="other"), COLUMNS[1]]


@pytest.mark.parametrize(
    ("schemas", "copied", "keys", "titles", "reason"),
    [
        ([(1, schema())], {}, [["id"]], ("id", "a"), ""),
        ([(1, schema()), (5, schema(ADDED))], {}, [["id"]], ("id",), ""),
        ([(1, schema(ADDED)), (5, schema())], {9: 6}, [["id"]], ("id", "a"), ""),
        ([(1, schema(ADDED)), (5, schema())], {9: 4}, [["id"]], ("id",), ""),
        ([(1, schema(RENAMED)), (5, schema())], {}, [["id"]], (), "a column of its key was changed"),
        ([(1, schema()), (5, schema())], {}, [["id"], ["a"]], (), "its key was another one before"),
        ([(1, schema())], {}, [], (), "history files say nothing of it"),
        ([], {}, [["id"]], (), "no schema entry of it is in the history files"),
        ([(1, schema()), (5, schema(ADDED))], {}, [None], (), "it has no key, and its columns were changed"),
        ([(1, schema())], {}, [None], ("id", "a"), ""),
        (
            [(1, schema(types=(TypeShape(3, {"1": "old"}),))), (5, schema(types=(TypeShape(3, {"1": "new"}),)))],
            {}, [["id"]], (), "a type of its values was changed",
        ),
    ],
)  # fmt: skip
def test_only_what_was_always_so_is_compared(
    schemas: list[tuple[int, Schema]], copied: dict[int, int], keys: list[list[str] | None], titles: tuple[str, ...], reason: str
) -> None:
    """Columns of the same name, number and type since the table was copied last; and the reason where there is nothing to compare."""
    found = comparable(ROWS, schemas, copied, progress(*keys))
    assert (found.titles if not found.reason else (), found.reason) == (titles, reason)
    assert found.key == ((1,) if keys and keys[0] and not reason else ())
