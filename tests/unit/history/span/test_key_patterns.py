"""Whether a pattern can match a key at all, beside fnmatch and the keys themselves."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.history.span.changes import key_label
from archiver.history.span.key_patterns import may_match

COLUMNS = st.lists(st.sampled_from(["id", "a", "b=", "*"]), max_size=3, unique=True)
PATTERNS = st.text(alphabet="ida=, *?[]!4-", max_size=12)


@given(PATTERNS, COLUMNS, st.data())
@settings(max_examples=400, deadline=None)
def test_what_matches_some_key_may_match(pattern: str, columns: list[str], data: st.DataObject) -> None:
    """No row that is shown is of a table that could not be."""
    key = {column: data.draw(st.none() | st.text(alphabet="ida=, 4[]", max_size=4)) for column in columns}
    assert not fnmatchcase(key_label(key), pattern) or may_match(pattern, columns)


@pytest.mark.parametrize(
    ("pattern", "columns", "may"),
    [
        ("id=4*", ["id"], True),
        ("id=4*", ["code"], False),
        ("id=4*", ["id", "part"], True),
        ("id=4", ["id", "part"], False),
        ("part=4", ["id", "part"], False),
        ("*part=4", ["id", "part"], True),
        ("i[a-e]=?", ["id"], True),
        ("i[!d]=?", ["id"], False),
        ("agents/run-*", ["id"], False),
        ("*", [], True),
        ("?", [], False),
        ("id=?", ["id"], True),
        ("[id", ["[id"], False),
    ],
)
def test_patterns(pattern: str, columns: list[str], may: bool) -> None:
    """By what the names of the columns leave open. A value may hold what looks like the next column."""
    assert may_match(pattern, columns) is may
