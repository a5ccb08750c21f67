"""Values in the text of a record."""

from __future__ import annotations

import pytest

from archiver.replay.postgres.write.owner_query import fields_of


@pytest.mark.parametrize(
    ("record", "fields"),
    [
        (r'("a, ""b"" (c) \\d",,1,"")', ['a, "b" (c) \\d', None, "1", ""]),
        ("()", [None]),
        ("(,)", [None, None]),
        ('("")', [""]),
        ('("""")', ['"']),
        ('("\n")', ["\n"]),
        ('("{""a"":1}")', ['{"a":1}']),
        ('("' + '""' * 2_000_000 + '")', ['"' * 2_000_000]),
        ("(" + "a" * 2_000_000 + ")", ["a" * 2_000_000]),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_record_is_read_as_the_server_writes_it(record: str, fields: list[str | None]) -> None:
    """However long a value is."""
    assert fields_of(record) == fields
