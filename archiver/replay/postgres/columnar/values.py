"""Values in the bytes of many tuples at once: where they start and end, and gathering them, without a loop over rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archiver.errors import Corrupt

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

VALUE, NULL, UNCHANGED = ord("t"), ord("n"), ord("u")
"""Kinds of a column in TupleData: text follows, NULL, a TOASTed value that the update left alone."""


def big_endian(data: U8, where: I64, width: int) -> npt.NDArray[np.unsignedinteger]:
    """Unsigned big-endian numbers of ``width`` 2, 4 or 8 bytes at ``where``. ``Corrupt`` when one lies outside."""
    if len(where) if where.ndim else True:
        if len(data) < width:
            raise Corrupt("a message ends too early")
        view: npt.NDArray[np.unsignedinteger] = np.ndarray((len(data) - width + 1,), f">u{width}", data.data, strides=(1,))
        try:
            found: npt.NDArray[np.unsignedinteger] = view[where]
        except IndexError:
            raise Corrupt("a message ends too early") from None
        return found
    return np.zeros(0, f">u{width}")


def bytes_at(data: U8, where: I64) -> U8:
    """The bytes at ``where``. ``Corrupt`` when one lies outside."""
    try:
        return data[where]
    except IndexError:
        raise Corrupt("a message ends too early") from None


@dataclass(frozen=True, slots=True)
class Tuples:
    """TupleData of many rows with the same columns: row by column, where each value lies.

    What the slices of NULL and unchanged columns hold means nothing. Slices lengthened by one byte neither overlap nor go backwards
    in row-major order: ``gather`` needs that.
    """

    data: U8
    starts: I64
    ends: I64
    kinds: U8
    stops: I64
    """Where each row's TupleData ends."""


def walk(data: U8, where: I64, columns: int) -> Tuples:
    """Find the values of TupleData at each of ``where`` (increasing). ``data`` must be padded by 8 bytes.

    ``Corrupt``: a row does not have ``columns`` columns, runs over the end, or is not in text mode.
    """
    count = len(where)
    starts = np.empty((count, columns), np.int64)
    ends = np.empty((count, columns), np.int64)
    kinds = np.empty((count, columns), np.uint8)
    if count and (big_endian(data, where, 2) != columns).any():
        raise Corrupt(f"a row does not have the {columns} columns of its relation")
    at = where + 2
    for column in range(columns):
        kind = bytes_at(data, at)
        kinds[:, column] = kind
        value = kind == VALUE
        if value.all():
            start = at + 5
            at = start + big_endian(data, at + 1, 4)
        else:
            if (~value & (kind != NULL) & (kind != UNCHANGED)).any():
                raise Corrupt("a row holds a column of an unknown kind", hint="only text mode is understood")
            start = at + np.where(value, 5, 1)
            at = start + np.where(value, big_endian(data, at + 1, 4), 0)
        starts[:, column] = start
        ends[:, column] = at
    return Tuples(data, starts, ends, kinds, at)


def gather(data: U8, starts: I64, ends: I64, pick: I64 | None = None, *, tail: int = 0) -> tuple[U8, I64]:
    """Bytes of slices end to end, and where each begins (and the last ends). ``pick``: which slices, in any order; all by default.

    ``tail``: so many last bytes of ``data`` are one slice more, behind the others. Slices must neither overlap nor go backwards, nor lie
    outside: ``Corrupt`` otherwise, because pyarrow believes what it is told and would read foreign memory.
    It does the copying: a binary array whose elements are by turns a slice and what lies between two slices, of which only the former
    are taken.
    """
    import pyarrow.compute as pc  # takes long to load, and what only names these functions needs none of it

    size = 2 * starts.size
    offsets = np.empty(size + 1 + 2 * bool(tail), np.int64)
    offsets[0:size:2] = starts.ravel()
    offsets[1:size:2] = ends.ravel()
    if tail:
        offsets[size : size + 2] = len(data) - tail, len(data)
    offsets[-1] = len(data)
    if offsets[0] < 0 or (offsets[1:] < offsets[:-1]).any():
        raise Corrupt("a message ends too early")
    array = pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    chosen = np.arange(0, 2 * starts.size, 2, dtype=np.int64) if pick is None else pick.ravel() * 2
    return unpack(pc.take(array, pa.array(chosen), boundscheck=False))


def pack(data: U8, offsets: I64) -> pa.LargeBinaryArray:
    """A pyarrow array over the same memory."""
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def unpack(array: pa.LargeBinaryArray) -> tuple[U8, I64]:
    """Bytes and offsets of a pyarrow array without NULLs; over the same memory, to be read only."""
    _, offsets, data = array.buffers()
    found = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    raw = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    if len(found) and found[0]:
        return raw[found[0] : found[-1]], found - found[0]
    return raw[: found[-1]] if len(found) else raw, found
