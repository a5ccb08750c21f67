"""COPY text format (PostgreSQL manual, COPY, "Text Format"), many rows at once.

A tab and a newline never occur inside a value there, so lines and columns are found by position alone.
Inside the fold one more token is used, which no server writes: a backslash and ``U`` stands for a value that is not known yet
because an update left it unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archiver.errors import Corrupt
from archiver.replay.postgres.columnar.values import NULL, UNCHANGED, VALUE, Tuples, gather

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

_TAB, _NEWLINE, _BACKSLASH = 9, 10, 92
_ESCAPES = ((b"\\", b"\\\\"), (b"\b", b"\\b"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\v", b"\\v"), (b"\f", b"\\f"), (b"\r", b"\\r"))
_UNESCAPES = {b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}
_ESCAPED = re.compile(rb"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)


def escape(value: bytes | bytearray) -> bytes | bytearray:
    """As COPY TO writes it. The result is ``value`` itself when nothing in it is special."""
    for special, code in _ESCAPES:
        if special in value:
            value = value.replace(special, code)
    return value


def unescape(value: bytes) -> bytes | None:
    """The value of one column of COPY text; None for NULL."""
    if value == b"\\N":
        return None
    return _ESCAPED.sub(_plain, value) if b"\\" in value else value


def _plain(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if code in _UNESCAPES:
        return _UNESCAPES[code]
    if code[:1].isdigit() and code[:1] < b"8":
        return bytes([int(code, 8) & 0xFF])
    if code[:1] == b"x" and len(code) > 1:
        return bytes([int(code[1:], 16)])
    return code


@dataclass(frozen=True, slots=True)
class CopyLines:
    """Rows of COPY text, each with its newline; row ``i`` is ``text[offsets[i]:offsets[i + 1]]``."""

    text: U8
    offsets: I64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def empty(cls) -> CopyLines:
        """No rows."""
        return cls(np.zeros(0, np.uint8), np.zeros(1, np.int64))

    def take(self, which: I64) -> CopyLines:
        """These rows, in this order."""
        return CopyLines(*gather(self.text, self.offsets[:-1], self.offsets[1:], which))


def split_lines(text: bytes | memoryview | U8) -> CopyLines:
    """Rows of COPY text. ``Corrupt`` when the last one is cut."""
    raw = text if isinstance(text, np.ndarray) else np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(raw == _NEWLINE) + 1
    if len(raw) and (not len(ends) or ends[-1] != len(raw)):
        raise Corrupt("rows end in the middle of a line")
    return CopyLines(raw, np.concatenate([np.zeros(1, np.int64), ends]))


def split_columns(text: U8, columns: int) -> Tuples:
    """Where the values of COPY text with ``columns`` columns lie; values stay escaped. ``Corrupt`` when a row has more or fewer."""
    if columns == 0:
        count = len(split_lines(text))
        none = np.zeros((count, 0), np.int64)
        return Tuples(text, none, none, none.astype(np.uint8), np.arange(1, count + 1))
    found = np.flatnonzero((text - _TAB) < 2)  # tab and newline; unsigned numbers wrap round
    if len(found) % columns or (len(text) and (not len(found) or found[-1] != len(text) - 1)):
        raise Corrupt(f"rows do not have {columns} columns each")
    ends = found.reshape(-1, columns)
    marks = text[ends]
    if (marks[:, -1] != _NEWLINE).any() or (marks[:, :-1] != _TAB).any():
        raise Corrupt(f"rows do not have {columns} columns each")
    starts = np.concatenate([np.zeros(min(1, len(found)), np.int64), found[:-1] + 1]).reshape(-1, columns)
    kinds = np.full(ends.shape, VALUE, np.uint8)
    token = np.flatnonzero((ends - starts).ravel() == 2)
    at = starts.ravel()[token]
    token, at = token[text[at] == _BACKSLASH], at[text[at] == _BACKSLASH]
    kinds.ravel()[token[text[at + 1] == ord("N")]] = NULL
    kinds.ravel()[token[text[at + 1] == ord("U")]] = UNCHANGED
    return Tuples(text, starts, ends, kinds, ends[:, -1] + 1)


@dataclass(frozen=True, slots=True)
class Picked:
    """What ``assemble`` makes lines of: for each row and column a slice of ``data``, or a token."""

    data: U8
    """Padded: one byte beyond every slice can be read, and it is not a special character."""
    starts: I64
    """Slices, never going backwards; flat."""
    ends: I64
    pick: I64
    """Row by column: which slice."""
    kinds: U8
    """Row by column: VALUE takes the slice, NULL and UNCHANGED make a token."""


def assemble(picked: Picked, *, escaped: bool) -> CopyLines:
    """Lines of COPY text. ``escaped``: the slices are COPY text already.

    A slice is taken with the byte behind it, which becomes the tab or newline. For escaping that byte is 0 first: the one
    byte that no text value of PostgreSQL can hold, so that structure and content cannot be confused whatever the values are.
    """
    rows, columns = picked.kinds.shape
    if columns == 0 or rows == 0:
        return CopyLines(np.full(rows, _NEWLINE, np.uint8), np.arange(rows + 1, dtype=np.int64))
    kinds = picked.kinds.ravel()
    token = kinds != VALUE
    pick = picked.pick.ravel()
    tokens = bool(token.any())
    data, starts, ends = picked.data, picked.starts.ravel(), picked.ends.ravel() + 1
    if tokens:
        # Room for a token: two bytes and what ends the column.
        data = np.concatenate([data, np.zeros(3, np.uint8)])
        pick = np.where(token, len(starts), pick)
    gathered, offsets = gather(data, starts, ends, pick, tail=3 * tokens)
    text = bytearray(gathered)
    out = np.frombuffer(text, np.uint8)
    last = offsets[1:] - 1
    if not escaped and any(special in text for special, _ in _ESCAPES):
        out[last] = 0
        if tokens:
            at = offsets[:-1][token]
            out[at] = out[at + 1] = 0
        del out
        text = bytearray(escape(text))
        out = np.frombuffer(text, np.uint8)
        zeros = np.flatnonzero(out == 0)
        upto = np.cumsum(np.where(token, 3, 1)) - 1 if tokens else np.arange(len(pick))
        if len(zeros) != upto[-1] + 1:
            raise Corrupt("a value holds a zero byte")
        last = zeros[upto]
    if tokens:
        out[last[token] - 2] = _BACKSLASH
        out[last[token] - 1] = np.where(kinds[token] == NULL, ord("N"), ord("U"))
    last = last.reshape(rows, columns)
    out[last[:, :-1]] = _TAB
    out[last[:, -1]] = _NEWLINE
    return CopyLines(out, np.concatenate([np.zeros(1, np.int64), last[:, -1] + 1]))


def blocks(text: bytes | memoryview | U8, size: int) -> Iterator[U8]:
    """Whole rows in pieces of about ``size`` bytes, over the same memory."""
    raw = text if isinstance(text, np.ndarray) else np.frombuffer(text, np.uint8)
    begin = 0
    while begin < len(raw):
        end = begin + size
        if end >= len(raw):
            end = len(raw)
        else:
            step = 4096
            while not len(found := np.flatnonzero(raw[end : end + step] == _NEWLINE)) and end + step < len(raw):
                step *= 4
            end = end + int(found[0]) + 1 if len(found) else len(raw)
        yield raw[begin:end]
        begin = end


def escape_all(text: U8, offsets: I64) -> tuple[U8, I64]:
    """Escape values that lie end to end. The same arrays when nothing in them is special."""
    raw = text.tobytes()
    if not any(special in raw for special, _ in _ESCAPES):
        return text, offsets
    marked = np.zeros(len(text) + len(offsets) - 1, np.uint8)
    ends = offsets[1:] + np.arange(len(offsets) - 1, dtype=np.int64)
    inside = np.ones(len(marked), np.bool_)
    inside[ends] = False
    marked[inside] = text
    out = np.frombuffer(escape(marked.tobytes()), np.uint8)
    zeros = np.flatnonzero(out == 0)
    if len(zeros) != len(ends):
        raise Corrupt("a value holds a zero byte")
    return out[out != 0], np.concatenate([np.zeros(1, np.int64), zeros - np.arange(len(zeros), dtype=np.int64)])


def concat_lines(parts: list[CopyLines]) -> CopyLines:
    """All lines, in order."""
    if len(parts) == 1:
        return parts[0]
    bases = np.cumsum([0] + [len(part.text) for part in parts])
    offsets = [part.offsets[:-1] + base for part, base in zip(parts, bases, strict=False)]
    return CopyLines(np.concatenate([part.text for part in parts]), np.concatenate([*offsets, bases[-1:]]))
