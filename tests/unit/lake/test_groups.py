"""Row groups of a file: whoever reads or merges holds one of each file, so none may be large."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

from archiver.lake.columns import CONTROL, SCHEMA
from archiver.lake.data_file import GROUP_BYTES, GROUP_ROWS, to_parquet


def records(keys: list[str], size: int, operation: str = "insert") -> pa.Table:
    """One for each key, whose row has so many bytes."""
    fixed = {"source": "db", "name": "" if operation == CONTROL else "t", "position": "1", "operation": operation, "row": "x" * size}
    rows = [{**dict.fromkeys(SCHEMA.names, 0), **fixed, "old": None, "unchanged": None, "key": key} for key in keys]
    return pa.Table.from_pylist(rows, SCHEMA)


def groups(tables: list[pa.Table]) -> list[list[str]]:
    """The keys of each row group."""
    data, rows = to_parquet(tables)
    file = pq.ParquetFile(io.BytesIO(data))
    found = [file.read_row_group(number)["key"].to_pylist() for number in range(file.num_row_groups)]
    assert sum(map(len, found)) == rows
    return found


def test_large_records_are_fewer_in_a_group() -> None:
    """By rows and by bytes, entries of the journal apart; all are sorted, and a record that is larger than a group stands alone."""
    small = [f"{number:05d}" for number in range(GROUP_ROWS + 2)]
    found = groups([records(small[::-1], 1)])
    assert [len(each) for each in found] == [GROUP_ROWS, 2]
    assert [key for each in found for key in each] == small
    large = records([f"{number}" for number in range(5)], GROUP_BYTES // 3)
    assert groups([large, records(["7"], GROUP_BYTES + 1)]) == [["0", "1"], ["2", "3"], ["4"], ["7"]]
    assert groups([records(["a", "b"], 1), records(["PG_SCHEMA"], 1, CONTROL)]) == [["PG_SCHEMA"], ["a", "b"]]
