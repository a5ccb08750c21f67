"""Types of PostgreSQL -> types of DuckDB that hold the same values. Pure.

What has no such type stays the text that PostgreSQL prints.
"""

from __future__ import annotations

import re

TEXT = "VARCHAR"
_SAME = {
    "smallint": "SMALLINT",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "real": "FLOAT",
    "double precision": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "uuid": "UUID",
    "json": "JSON",
    "jsonb": "JSON",
    "timestamp without time zone": "TIMESTAMP",
    "timestamp with time zone": "TIMESTAMPTZ",
}
_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)", re.ASCII)
_MOST_DIGITS = 38


def column_type(of: str) -> str:
    """``of``: as ``format_type`` prints it."""
    if (numeric := _NUMERIC.fullmatch(of)) and int(numeric[2]) <= int(numeric[1]) <= _MOST_DIGITS:
        return f"DECIMAL({numeric[1]},{numeric[2]})"
    return _SAME.get(re.sub(r"\(\d+\)", "", of), TEXT)
