"""Changes in a Parquet file: every one with its types, or no file at all."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from archiver.errors import ArchiverError, Invalid
from archiver.history.span import parquet_file as made
from archiver.history.span.changes import Change, Field
from archiver.history.span.parquet_file import SCHEMA, parquet_file

ROW = Change(
    7,
    9,
    1_700_000_000_000_001,
    "db",
    "update",
    table="public.a",
    within=["public.p"],
    key={"id": "5", "part": None},
    fields=[Field("x", "1", "2"), Field("y", None, "z"), Field("w", new="n", old_known=False)],
    transaction=1 << 31,
    lsn="0/1",
)
OBJECT = Change(8, 8, 1, "k", "modified", kind="runs.g.io", namespace="n", name="a", fields=[Field("spec.n", new={"a": [1]})], late=True)


def test_each_field_is_a_row_with_types(tmp_path: Path) -> None:
    """As in CSV; what CSV cannot tell apart, NULL and nothing, has columns of its own."""
    file = tmp_path / "a.parquet"
    file.write_text("older")
    with parquet_file(file) as rows:
        for change in (ROW, OBJECT, Change(0, 0, 0, "", "unknown", detail="a gap")):
            rows.add(change)
    table = pq.read_table(file)
    assert table.schema.equals(SCHEMA)
    found = table.to_pylist()
    assert [each["change"] for each in found] == [1, 1, 1, 2, 3]
    assert found[0]["time"].isoformat() == "2023-11-14T22:13:20.000001+00:00"
    assert (found[0]["key"], found[0]["within"], found[0]["transaction"]) == ([("id", "5"), ("part", None)], ["public.p"], 1 << 31)
    told = [(each["field"], each["old"], each["new"], each["had_old"], each["has_new"], each["old_known"]) for each in found]
    assert told == [
        ("x", "1", "2", True, True, True),
        ("y", None, "z", True, True, True),
        ("w", None, "n", None, True, False),
        ("spec.n", None, '{"a":[1]}', False, True, True),
        (None, None, None, None, None, None),
    ]
    assert (found[3]["key"], found[3]["late"], found[4]["detail"], found[4]["entry"]) == (None, True, "a gap", None)
    assert [each.name for each in tmp_path.iterdir()] == ["a.parquet"]


def test_a_long_answer_is_written_as_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row group is all that is held: so many rows, or so many bytes of text."""
    monkeypatch.setattr(made, "GROUP_ROWS", 100)
    file = tmp_path / "a.parquet"
    with parquet_file(file) as rows:
        for _ in range(300):
            rows.add(OBJECT)
            assert len(rows._rows) < 100
        monkeypatch.setattr(made, "GROUP_BYTES", 1000)
        for _ in range(10):
            rows.add(Change(1, 1, 1, "db", "insert", fields=[Field("x", new="y" * 1000)]))
            assert not rows._rows
    assert [pq.ParquetFile(file).metadata.row_group(n).num_rows for n in range(13)] == [100] * 3 + [1] * 10


@contextmanager
def _small_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _write(file: Path, *changes: Any) -> None:
    with parquet_file(file) as rows:
        for change in changes:
            rows.add(change)


def test_what_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No half file, under no name: whoever reads later cannot tell it from a whole one."""
    file = tmp_path / "a.parquet"
    file.write_text("older")
    monkeypatch.setattr(made, "GROUP_ROWS", 1)
    with pytest.raises(ArchiverError, match="cannot write the answer"), _small_files():
        _write(file, *(Change(number, 1, 1, "db", "insert", detail=str(hash(str(number)))) for number in range(500)))
    with pytest.raises(AttributeError):
        _write(file, ROW, None)
    with pytest.raises(ArchiverError, match="cannot write the answer"), parquet_file(tmp_path / "no/where"):
        pass
    with pytest.raises(Invalid, match="is there and is no file"), parquet_file(Path("/dev/null")):
        pass
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.parquet", "older")]
