"""The columns of history files, in Arrow's words and in Delta's. Pure.

Columns may be added at the end, nullable; none changes its meaning. See docs/reference/format.md.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("relation", pa.int64(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("position", pa.string(), nullable=False),
        pa.field("as_of", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("committed", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("operation", pa.string(), nullable=False),
        pa.field("weight", pa.int64(), nullable=False),
        pa.field("row", pa.string()),
        pa.field("old", pa.string()),
        pa.field("unchanged", pa.list_(pa.field("element", pa.string()))),
        pa.field("xid", pa.int64(), nullable=False),
        pa.field("commit_lsn", pa.int64(), nullable=False),
        pa.field("end_lsn", pa.int64(), nullable=False),
        pa.field("commit_entry", pa.int64(), nullable=False),
        pa.field("entry", pa.int64(), nullable=False),
        pa.field("segment", pa.int64(), nullable=False),
    ]
)
"""Sorted by name, key, position."""

CONTROL = "entry"
"""Operation of an entry of the journal that is about no row: ``name`` is empty, ``key`` the kind, ``row`` its first body."""

EMPTIES = ("copy", "truncate", "drop")
"""Operations after which nothing of the relation counts that stands before."""

_TYPES: dict[Any, Any] = {pa.string(): "string", pa.int64(): "long", pa.timestamp("us", "UTC"): "timestamp"}


def _field(field: pa.Field) -> dict[str, Any]:
    listed = {"type": "array", "elementType": "string", "containsNull": True}
    return {"name": field.name, "type": _TYPES.get(field.type, listed), "nullable": field.nullable, "metadata": {}}


DELTA_SCHEMA: dict[str, Any] = {"type": "struct", "fields": [_field(field) for field in SCHEMA]}


def mark_position(era: int, lsn: int, entry: int) -> str:
    """Of what comes before every commit at ``lsn``."""
    return f"{era:06x}-{lsn:016x}-0{entry:013x}"


def row_positions(era: int, lsns: list[int], entries: list[int]) -> list[str]:
    """Of changes, by the LSNs of their commits and their entries."""
    return [f"{era:06x}-{lsn:016x}-1{entry:013x}" for lsn, entry in zip(lsns, entries, strict=True)]


def entry_position(entry: int) -> str:
    """Of an entry that nothing but its number places."""
    return f"{0:06x}-{0:016x}-1{entry:013x}"
