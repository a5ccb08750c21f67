"""Which history files are merged, and how."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from archiver.lake.merging import MOST_RUNS, SortedMerge, path_of, to_merge

Record = tuple[str, str, str]
TEXTS = st.sampled_from(["", "a", "b", "é", "\uffff", "\U0001f600"])


def order(record: Record) -> tuple[bytes, ...]:
    """As files are sorted."""
    return tuple(text.encode() for text in record)


def table(records: list[Record]) -> pa.Table:
    """A piece of a file."""
    names = ("name", "key", "position")
    return pa.table({name: pa.array([record[place] for record in records], pa.string()) for place, name in enumerate(names)})


@given(st.lists(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=12), max_size=5), st.integers(1, 4))
def test_a_merge_has_all_in_order(inputs: list[list[Record]], size: int) -> None:
    """Every record of every input once; what is given later never comes before."""
    pieces = [[sorted(records, key=order)[at : at + size] for at in range(0, len(records), size)] for records in inputs]
    merge = SortedMerge(len(inputs))
    found: list[Record] = []
    while True:
        for number in merge.needed():
            merge.add(number, table(pieces[number].pop(0)) if pieces[number] else None)
        taken = [tuple(row.values()) for each in merge.take() for row in each.to_pylist()]
        if not taken:
            break
        assert not found or order(found[-1]) <= min(map(order, taken))
        found += sorted(taken, key=order)
    assert found == sorted((record for records in inputs for record in records), key=order)


def test_runs_of_one_level_become_one_of_the_next() -> None:
    """The lowest level that has enough of them. Each file of a step is a run, a merge's files are one; foreign files are none."""
    ids = [f"{number:032x}" for number in range(9)]
    steps = [path_of(0, each, 0) for each in ids[:6]] + [path_of(0, ids[0], 1)]
    assert to_merge([*steps, "part-0001.parquet", "x.parquet"]) == (0, [])
    assert to_merge([*steps, path_of(0, ids[7], 0)]) == (0, [[each] for each in sorted([*steps, path_of(0, ids[7], 0)])])
    above = [[path_of(1, each, 0), path_of(1, each, 1)] for each in ids[:8]]
    assert to_merge([*steps, *(path for run in above for path in run)]) == (1, above)
    assert to_merge([*steps, *(path for run in above[1:] for path in run)]) == (0, [])
    assert above[0][0] == f"l1-{ids[0]}-000000.parquet"
    many = [path_of(0, ids[0], number) for number in range(100)]
    assert to_merge(many) == (0, [[each] for each in many[:MOST_RUNS]])
