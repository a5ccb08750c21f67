"""What the log says of a file keeps no reader from records that are in it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from archiver.lake.columns import SCHEMA
from archiver.lake.data_file import statistics, to_parquet
from archiver.lake.delta_log import Added, commit
from archiver.lake.progress import Progress

PROGRESS = Progress(archive="a", source="db", covered=9, segment=2, chain="", resume_entry=10, resume_segment=2)


def records() -> pa.Table:
    """Two; the second has no `row`, the first no `old`."""
    fixed = {name: [7, 8] for name, kind in zip(SCHEMA.names, SCHEMA.types, strict=True) if kind == pa.int64()}
    times = {name: pa.array([7, 8], pa.timestamp("us", "UTC")) for name in ("as_of", "committed")}
    texts = {"source": ["db", "db"], "name": ["t", "t"], "key": ["1", "2"], "position": ["1", "2"], "operation": ["insert", "delete"]}
    return pa.table({**fixed, **times, **texts, "row": ["{}", None], "old": [None, "{}"], "unchanged": [None, ["a"]]}, schema=SCHEMA)


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("as_of <= to_timestamp(1)", 2),
        ("committed > to_timestamp(1)", 0),
        ("operation = 'insert'", 1),
        ("source = 'db'", 2),
        ("weight >= 8", 1),
        ("segment = 7", 1),
        ("row IS NOT NULL", 1),
        ("row LIKE '{%'", 1),
        ("old IS NULL", 1),
        ("name = 't' AND key = '2'", 1),
    ],
)
def test_conditions_on_any_column_find_what_is_there(tmp_path: Path, condition: str, found: int) -> None:
    """Through a dataset of `deltalake`, which takes a column without bounds, beside others that have some, for one without values."""
    table = records()
    data, rows = to_parquet([table])
    (tmp_path / "one.parquet").write_bytes(data)
    (tmp_path / "_delta_log").mkdir()
    added = [Added("one.parquet", len(data), 0, statistics(rows))]
    (tmp_path / "_delta_log" / f"{0:020}.json").write_bytes(commit(PROGRESS, added, [], now=0, by="1", first=True, identity="i"))
    with duckdb.connect() as session:
        session.register("history", DeltaTable(tmp_path.as_uri()).to_pyarrow_dataset())
        assert session.execute(f"SELECT count(*) FROM history WHERE {condition}").fetchall() == [(found,)]
