"""Rows as JSON text."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from archiver.lake.json_text import key_text, objects, row_of
from archiver.replay.postgres.columnar.values import walk

Value = bytes | None | str


def tuple_data(values: list[Value]) -> bytes:
    """TupleData; a text stands for a value that is unchanged."""
    pieces = [b"n" if each is None else b"u" if isinstance(each, str) else b"t" + len(each).to_bytes(4, "big") + each for each in values]
    return len(values).to_bytes(2, "big") + b"".join(pieces)


def texts(rows: list[list[Value]], names: list[str]) -> list[str]:
    """Each row as an object."""
    bodies = [tuple_data(row) for row in rows]
    where = np.cumsum([0] + [len(body) for body in bodies])[:-1]
    found = walk(np.frombuffer(b"".join(bodies) + b"w" * 8, np.uint8), where, len(names))
    return [str(text) for text in objects(found, [(name, place) for place, name in enumerate(names)]).to_pylist()]


VALUES = st.one_of(st.none(), st.just("unchanged"), st.text(st.characters(exclude_categories=["Cs"])).map(str.encode))


@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(VALUES, min_size=width, max_size=width), max_size=6)))
def test_every_value_comes_back(rows: list[list[Value]]) -> None:
    """Whatever the values are, JSON's own reader finds them again, NULL as null, and nothing of what is unchanged."""
    names = ["id", 'odd "name\\', "é", "tab\t"][: len(rows[0]) if rows else 1]
    expected = [
        {
            name: value.decode() if isinstance(value, bytes) else None
            for name, value in zip(names, row, strict=True)
            if not isinstance(value, str)
        }
        for row in rows
    ]
    found = texts(rows, names)
    assert [json.loads(text) for text in found] == expected
    assert [row_of(text) for text in found] == expected
    assert [key_text(each) for each in expected] == found


def test_bytes_that_are_not_text_are_shown() -> None:
    """As everywhere that text is for people."""
    assert texts([[b"\xff\x00a", b"b"]], ["one", "two"]) == ['{"one":"\\\\xff\\u0000a","two":"b"}']
    assert texts([[], []], []) == ["{}", "{}"]
