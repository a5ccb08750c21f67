"""Records that are asked for, out of those of a row group; and what a question does without."""

from __future__ import annotations

import io
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from archiver.lake.columns import SCHEMA
from archiver.lake.data_file import ASKED, DataFile, Wanted, chosen, seal_of, to_parquet

RECORD = st.tuples(st.sampled_from(["", "a", "b", "é"]), st.sampled_from(["t", "u"]), st.integers(0, 2), st.integers(1, 9))


def records(told: list[tuple[str, str, int, int]]) -> pa.Table:
    """One of each: key, name, relation, entry."""
    fixed = {"source": "db", "operation": "insert", "old": None, "row": "{}", "unchanged": ["x"]}
    rows = [
        {**dict.fromkeys(SCHEMA.names, 7), **fixed, "key": key, "name": name, "relation": relation, "entry": entry, "position": str(entry)}
        for key, name, relation, entry in told
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


@given(
    st.lists(RECORD, min_size=1, max_size=20),
    st.lists(st.integers(0, 2), max_size=2),
    st.none() | st.lists(st.sampled_from(["", "a", "é"]), max_size=2),
    st.none() | st.lists(st.sampled_from(["t", "u"]), max_size=1),
    st.integers(0, 9),
    st.integers(0, 9),
)
def test_what_is_wanted_is_found(
    told: list[tuple[str, str, int, int]], relations: list[int], keys: list[str] | None, names: list[str] | None, first: int, last: int
) -> None:
    """Through a file's row groups as one by one, with times as numbers."""
    wanted = Wanted(relations, keys, names, first, last)
    data, _ = to_parquet([records(told)])
    file = DataFile("f", len(data), data, seal_of(data))
    groups = file.groups(wanted)
    found = chosen(file.read(groups, [(0, data)], ASKED), wanted) if groups else []
    expected = [
        each
        for each in told
        if each[2] in relations and (keys is None or each[0] in keys) and (names is None or each[1] in names) and first <= each[3] <= last
    ]
    assert sorted((each["key"], each["name"], each["relation"], each["entry"]) for each in found) == sorted(expected)
    assert all((each["as_of"], each["committed"], each["unchanged"], each["old"]) == (7, 7, ["x"], None) for each in found)
    assert pq.read_table(io.BytesIO(data)).num_rows == len(told)


def test_a_question_loads_no_compute_functions() -> None:
    """They take as long to load as a key to be found."""
    script = "import sys, archiver.history.rows; sys.exit('pyarrow.compute' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
