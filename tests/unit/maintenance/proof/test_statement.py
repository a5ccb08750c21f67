"""The statement over records of random changes says what a model's rows say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.lake.columns import EMPTIES
from archiver.lake.json_text import key_text
from archiver.maintenance.proof.engines import COLUMNS, DuckDigests, duckdb_digests
from archiver.maintenance.proof.statement import NONE, Sample, TableDigest

RELATION = 7
COLUMN = ("id", "a", "b")
WHOLE, THIRDS = Sample(), [Sample(3, turn) for turn in range(3)]
Engines = dict[Sample, DuckDigests]
TEXTS = st.sampled_from(["", "x", "NULL", 'quoted " \\ and\n', "ü", None])


class Change(NamedTuple):
    """Of one row."""

    action: str
    id: str
    a: str | None
    b: str | None


CHANGES = st.lists(
    st.builds(Change, st.sampled_from(["put", "put", "keep b", "delete", *EMPTIES]), st.sampled_from("1234"), TEXTS, TEXTS), max_size=30
)


def record(
    at: int, operation: str, weight: int, key: str, row: dict[str, str | None] | None, unchanged: list[str] | None = None
) -> dict[str, Any]:
    """As history files have it."""
    text = key_text(row) if row is not None else None
    return dict(zip(COLUMNS, (RELATION, key, f"{at:05d}", at, operation, weight, text, unchanged), strict=True))


def played(changes: list[Change]) -> tuple[list[dict[str, Any]], dict[str, dict[str, str | None]]]:
    """Records, and the rows that there are in the end."""
    records, rows = list[dict[str, Any]](), dict[str, dict[str, str | None]]()
    for at, (action, identity, a, b) in enumerate(changes):
        key, there = key_text({"id": identity}), identity in rows
        whole: dict[str, str | None] = {"id": identity, "a": a, "b": b}
        if action in EMPTIES:
            records.append(record(at, action, 0, "", None))
            rows.clear()
        elif action == "delete" and there:
            records.append(record(at, "delete", -1, key, None))
            del rows[identity]
        elif action == "keep b" and there:
            records.append(record(at, "update", 0, key, {"id": identity, "a": a}, ["b"]))
            rows[identity] = {**rows[identity], "a": a}
        elif action == "put":
            records.append(record(at, "update" if there else "insert", 0 if there else 1, key, whole))
            rows[identity] = whole
    return records, rows


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    """One for each sample: to open one takes longer than to ask it."""
    with ExitStack() as opened:
        wanted = [(RELATION, name) for name in COLUMN]
        yield {sample: opened.enter_context(duckdb_digests(wanted, sample)) for sample in (WHOLE, *THIRDS)}


def digest(engine: DuckDigests, records: list[dict[str, Any]], entry: int) -> TableDigest:
    """By DuckDB."""
    types = {"relation": pa.int64(), "commit_entry": pa.int64(), "weight": pa.int64(), "unchanged": pa.list_(pa.string())}
    arrays = [pa.array([each[name] for each in records], types.get(name, pa.string())) for name in COLUMNS]
    engine.add(pa.Table.from_arrays(arrays, list(COLUMNS)))
    return engine.digests(entry).get(RELATION, NONE)


@settings(max_examples=40, deadline=None)
@given(CHANGES, st.integers(0, 30), st.integers(0, 2))
def test_changes_come_to_the_rows_of_a_model(engines: Engines, changes: list[Change], entry: int, turn: int) -> None:
    """At any entry, for a third of the keys and for all; and rows with one value otherwise have another digest."""
    records, _ = played(changes)
    _, rows = played(changes[: entry + 1])
    expected = [record(0, "copied", 1, key_text({"id": identity}), row) for identity, row in rows.items()]
    for engine in (engines[WHOLE], engines[THIRDS[turn]]):
        assert digest(engine, records, entry) == digest(engine, expected, 0)
    whole = engines[WHOLE]
    found = digest(whole, records, entry)
    assert (found.rows, found.cells) == (len(rows), 3 * len(rows))
    if expected:
        other = {**next(iter(rows.values())), "a": "another"}
        expected[0] = record(0, "copied", 1, expected[0]["key"], other)
        assert digest(whole, expected, 0)[:2] == found[:2]
        assert digest(whole, expected, 0) != found


def test_a_key_that_lived_before_tells_nothing_of_a_row_that_was_given_it(engines: Engines) -> None:
    """What stands outside of the row stayed as it was under the other key: it is lacking, and not taken from the earlier life."""
    one, other = key_text({"id": "1"}), key_text({"id": "2"})
    records = [
        record(0, "insert", 1, one, {"id": "1", "a": "x", "b": "earlier"}),
        record(1, "delete", -1, one, None),
        record(2, "insert", 1, other, {"id": "2", "a": "x", "b": "later"}),
        record(3, "moved", -1, other, {"id": "1", "a": "x"}, ["b"]),
        record(3, "update", 1, one, {"id": "1", "a": "x"}, ["b"]),
    ]
    assert digest(engines[WHOLE], records, 3)[:2] == (1, 2)


def test_rows_without_a_key_count_as_often_as_they_are_there(engines: Engines) -> None:
    """Three times the same, and one of them deleted."""
    row: dict[str, str | None] = {"id": None, "a": "x", "b": None}
    records = [record(at, "insert", 1, "hash", row) for at in range(3)] + [record(3, "delete", -1, "hash", None)]
    twice = [record(0, "copied", 1, "hash", row)] * 2
    whole = engines[WHOLE]
    assert digest(whole, records, 3) == digest(whole, twice, 0)
    one = digest(whole, twice[:1], 0)
    assert one.plus(one) == digest(whole, twice, 0)
