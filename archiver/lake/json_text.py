"""Rows as JSON text, many at once: one object a row, whose values are the source's own text or null. Pure.

What stands in a file is found again by the same text, so all of it is made here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from archiver.replay.postgres.columnar.values import NULL, UNCHANGED, VALUE, Tuples, gather, pack
from archiver.untrusted import decode_untrusted

_SHORT = {8: b"\\b", 9: b"\\t", 10: b"\\n", 12: b"\\f", 13: b"\\r", 34: b'\\"', 92: b"\\\\"}
_SPECIAL = (92, 34, *(code for code in range(32)))
"""The backslash first: the others bring some."""
_ESCAPES = {code: _SHORT.get(code, b"\\u%04x" % code).decode() for code in _SPECIAL}


def column(rows: Tuples, place: int) -> pa.LargeBinaryArray:
    """The values of one column; null for NULL and for what is unchanged."""
    import pyarrow.compute as pc

    there = rows.kinds[:, place] == VALUE
    starts = rows.starts[:, place]
    found = pack(*gather(rows.data, starts, np.where(there, rows.ends[:, place], starts)))
    return found if there.all() else pc.if_else(pa.array(there), found, pa.scalar(None, pa.large_binary()))


def objects(rows: Tuples, columns: Sequence[tuple[str, int]]) -> pa.LargeStringArray:
    """One JSON object a row, of ``columns`` (name, place) in this order; a value that is unchanged is left out."""
    pieces = [
        _members(name, as_text(column(rows, place)), rows.kinds[:, place] == UNCHANGED, rows.kinds[:, place] == NULL)
        for name, place in columns
    ]
    return _joined(pieces, len(rows.stops))


def key_text(key: Mapping[str, str | None]) -> str:
    """The object of one row, as ``objects`` writes it."""
    members = [f'"{name.translate(_ESCAPES)}":' + _value(value) for name, value in key.items()]
    return "{" + ",".join(members) + "}"


def _value(value: str | None) -> str:
    return "null" if value is None else f'"{value.translate(_ESCAPES)}"'


def row_of(text: str) -> dict[str, str | None]:
    """What ``objects`` wrote of one row. ``Unreadable`` for anything else."""
    body = text.encode("utf-8", "surrogatepass")
    return decode_untrusted(body, dict[str, str | None], most=len(body))


def as_text(values: pa.LargeBinaryArray) -> pa.LargeStringArray:
    """Bytes that are not UTF-8 are shown as such, as everywhere where text is for people."""
    try:
        return values.cast(pa.large_string())
    except pa.ArrowInvalid:
        texts = [None if value is None else value.decode("utf-8", "backslashreplace") for value in values.to_pylist()]
        return pa.array(texts, pa.large_string())


def _members(name: str, values: pa.LargeStringArray, absent: np.ndarray, null: np.ndarray) -> pa.LargeStringArray:
    """``,"name":"value"`` of each row."""
    import pyarrow.compute as pc

    label = "," + _quoted(pa.array([name], pa.large_string()))[0].as_py() + ":"
    texts = _quoted(values)
    if null.any():
        texts = pc.if_else(pa.array(null), pa.scalar("null", pa.large_string()), texts)
    found = pc.binary_join_element_wise(pa.scalar(label, pa.large_string()), texts, pa.scalar("", pa.large_string()))
    return pc.if_else(pa.array(absent), pa.scalar("", pa.large_string()), found) if absent.any() else found


def _quoted(values: pa.LargeStringArray) -> pa.LargeStringArray:
    import pyarrow.compute as pc

    data = values.buffers()[2]
    there = np.bincount(np.frombuffer(data, np.uint8), minlength=256) if data is not None and data.size else np.zeros(256, np.int64)
    for code in _SPECIAL:
        if there[code]:
            instead = _SHORT.get(code, b"\\u%04x" % code).decode()
            values = pc.replace_substring(values, chr(code), instead)
    quote, nothing = pa.scalar('"', pa.large_string()), pa.scalar("", pa.large_string())
    return pc.binary_join_element_wise(quote, values, quote, nothing)


def _joined(pieces: Sequence[pa.LargeStringArray], count: int) -> pa.LargeStringArray:
    import pyarrow.compute as pc

    nothing = pa.scalar("", pa.large_string())
    if not pieces:
        return pa.array(["{}"] * count, pa.large_string())
    members = pc.binary_join_element_wise(*pieces, nothing) if len(pieces) > 1 else pieces[0]
    bare = pc.ascii_ltrim(members, characters=",")
    return pc.binary_join_element_wise(pa.scalar("{", pa.large_string()), bare, pa.scalar("}", pa.large_string()), nothing)
