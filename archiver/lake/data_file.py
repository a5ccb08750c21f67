"""Records -> one Parquet file, sorted; and what a reader of one key needs of it, without the rest. Pure.

A row group is found by its statistics; the Bloom filters on ``key`` are for engines that read them, beside those.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from archiver.errors import Corrupt
from archiver.journal.remedies import HISTORY_ANEW
from archiver.lake.columns import CONTROL, SCHEMA

GROUP_ROWS = 16384
GROUP_BYTES = 8 << 20
"""Of records in one row group, unless one alone has more: whoever reads or merges holds a group of each file."""
_FIXED_BYTES = 160
"""Of a record beside its texts."""
_LEVEL = 3
_UNASKED = ("position", "weight")
"""Columns that no question of ours needs: entries tell what they do."""
ASKED = [name for name in SCHEMA.names if name not in _UNASKED]
_TIMES = ("as_of", "committed")
_RAW_LIMIT = 1 << 32
"""Bytes, before compression, of the row groups that are read at once: a row has less than 1 GiB, and few are so large."""
_END_BYTES = 8


def to_parquet(tables: Sequence[pa.Table]) -> tuple[bytes, int]:
    """The file of all records, by name, key and position, and how many there are.

    Entries of the journal itself are row groups of their own, before the others. Memory: the records twice, then once, beside a row group
    and the file.
    """
    import pyarrow.compute as pc  # takes as long to load as a key to be found, which needs none of it

    whole = pa.concat_tables(tables).combine_chunks()
    order = pc.sort_indices(whole, sort_keys=[(name, "ascending") for name in ("name", "key", "position")])
    groups = list(_groups(whole, order.to_numpy()))
    bloom = {"key": {"ndv": max((count for _, count in groups), default=1), "fpp": 0.01}}
    checks: dict[str, Any] = {"bloom_filter_options": bloom, "write_page_index": True, "write_page_checksum": True}
    out = io.BytesIO()
    with pq.ParquetWriter(out, SCHEMA, compression="zstd", compression_level=_LEVEL, **checks) as writer:
        for at, count in groups:
            writer.write_table(whole.take(order.slice(at, count)), row_group_size=count)
    return out.getvalue(), whole.num_rows


def _groups(whole: pa.Table, order: npt.NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Where each row group begins in ``order``, and its rows."""
    import pyarrow.compute as pc

    control = pc.sum(pc.equal(whole["operation"], CONTROL)).as_py() or 0
    ends = np.cumsum(_sizes(whole)[order])
    at = 0
    while at < len(order):
        begun = int(ends[at - 1]) if at else 0
        end = max(at + 1, int(np.searchsorted(ends, begun + GROUP_BYTES, side="right")))
        end = min(end, at + GROUP_ROWS, control if at < control else len(order))
        yield at, end - at
        at = end


def _sizes(records: pa.Table) -> npt.NDArray[np.int64]:
    """Bytes of each record, about."""
    import pyarrow.compute as pc

    found = np.full(records.num_rows, _FIXED_BYTES, np.int64)
    for name in ("name", "key", "row", "old"):
        found += pc.fill_null(pc.binary_length(records[name]), 0).to_numpy()
    return found


def statistics(rows: int) -> dict[str, object]:
    """As the Delta log has them: no bounds of columns, which the file has itself.

    Bounds of some columns are worse than none: datasets of ``deltalake`` take each other column for one without values, and a condition
    on it finds nothing. All columns cannot have them: a long text would have to be cut, and rounded.
    """
    return {"numRecords": rows}


class Range(NamedTuple):
    """Bytes of a file."""

    start: int
    end: int


class Wanted(NamedTuple):
    """Records that are asked for."""

    relations: Sequence[int]
    keys: Sequence[str] | None
    """``None``: any. Those of a whole relation, or a whole kind of objects, have an empty one."""
    names: Sequence[str] | None = None
    """``None``: any."""
    first: int = 0
    """The first entry of the journal that is of interest."""
    last: int = (1 << 63) - 1
    """The last."""


class Seal(msgspec.Struct, frozen=True):
    """SHA-256, hex, of what is read of a file.

    Nothing is given to the Parquet reader that does not match: damaged bytes can end its process.
    """

    footer: str
    footer_bytes: int
    """Last bytes of the file."""
    groups: list[str]
    """Of each row group's bytes."""
    counts: str = ""
    """Of what the file counts to, which stands beside it; empty: that does not."""
    counts_bytes: int = 0


def seal_of(data: bytes) -> Seal:
    """The seal of a file that was just written."""
    metadata = pq.read_metadata(io.BytesIO(data))
    size = footer_bytes("", data)
    ranges = [_range(metadata.row_group(group)) for group in range(metadata.num_row_groups)]
    return Seal(hash_of(data[-size:]), size, [hash_of(data[each.start : each.end]) for each in ranges])


class DataFile:
    """One file whose footer is known. Raises ``Corrupt`` when it is not what its seal says."""

    def __init__(self, key: str, size: int, tail: bytes, seal: Seal) -> None:
        """``tail``: its last ``seal.footer_bytes`` bytes, or more."""
        self.key, self.size, self._seal = key, size, seal
        self._tail = (size - len(tail), tail)
        if not 0 < seal.footer_bytes <= len(tail) or hash_of(tail[-seal.footer_bytes :]) != seal.footer:
            raise _unreadable(key)
        try:
            # The reader asks for more than the footer, unless it is the whole file.
            self._metadata = pq.read_metadata(io.BytesIO(b"PAR1" + tail[-seal.footer_bytes :]))
            fields = list(self._metadata.schema.to_arrow_schema())
        except _UNREADABLE as error:
            raise _unreadable(key) from error
        if [(each.name, each.type) for each in fields[: len(SCHEMA)]] != [(each.name, each.type) for each in SCHEMA]:
            raise _unreadable(key)

    def groups(self, wanted: Wanted) -> list[int]:
        """Row groups that may have records that are ``wanted``."""
        found = []
        for group in range(self._metadata.num_row_groups):
            row_group = self._metadata.row_group(group)
            of = {name: row_group.column(SCHEMA.names.index(name)).statistics for name in ("relation", "name", "key", "entry")}
            if (
                any(_within(of["relation"], each) for each in wanted.relations)
                and (wanted.names is None or any(_within(of["name"], each) for each in wanted.names))
                and (wanted.keys is None or any(_within(of["key"], each) for each in wanted.keys))
                and _meets(of["entry"], wanted.first, wanted.last)
            ):
                found.append(group)
        return found

    @property
    def count(self) -> int:
        """How many row groups there are."""
        return int(self._metadata.num_row_groups)

    @property
    def group_bytes(self) -> int:
        """What the largest row group takes when it is read."""
        return max((self._metadata.row_group(group).total_byte_size for group in range(self.count)), default=0)

    def ranges(self, groups: Sequence[int]) -> list[Range]:
        """Bytes that hold these row groups; neighbours are one range."""
        found: list[Range] = []
        for group in groups:
            start, end = _range(self._metadata.row_group(group))
            if found and found[-1].end >= start:
                found[-1] = Range(found[-1].start, max(end, found[-1].end))
            else:
                found.append(Range(start, end))
        return found

    def read(self, groups: Sequence[int], held: Sequence[tuple[int, bytes]], columns: Sequence[str] | None = None) -> pa.Table:
        """The records of these row groups. ``held``: bytes of ``ranges``, with where each begins. ``columns``: only these are decoded."""
        if sum(self._metadata.row_group(group).total_byte_size for group in groups) > _RAW_LIMIT:
            raise _unreadable(self.key)
        for group in groups:
            start, end = _range(self._metadata.row_group(group))
            if all(hash_of(data[start - at : end - at]) != self._seal.groups[group] for at, data in held if at <= start <= at + len(data)):
                raise _unreadable(self.key)
        try:
            # Reading ahead goes on in threads of its own after an error, over a file that is gone: the process ended by that.
            file = pq.ParquetFile(
                _Ranges(self.size, [*held, self._tail]), metadata=self._metadata, page_checksum_verification=True, pre_buffer=False
            )
            return file.read_row_groups(list(groups), columns=columns, use_threads=False)
        except _UNREADABLE as error:
            raise _unreadable(self.key) from error


def chosen(records: pa.Table, wanted: Wanted) -> list[dict[str, Any]]:
    """Those of ``records`` that are ``wanted``, by column. Times are numbers: microseconds since 1970."""
    which = np.isin(_plain(records, "relation"), wanted.relations)
    entries = _plain(records, "entry")
    which &= (entries >= wanted.first) & (entries <= wanted.last)
    for name, values in (("key", wanted.keys), ("name", wanted.names)):
        if values is not None and which.any():
            of_interest = set(values)
            which &= np.array([each in of_interest for each in records[name].to_pylist()], bool)
    edges = np.flatnonzero(np.diff(which.astype(np.int8), prepend=0, append=0)).tolist()
    # Sorted by key: what is wanted stands together.
    return [record for start, end in zip(edges[::2], edges[1::2], strict=True) for record in _dicts(records.slice(start, end - start))]


def _plain(records: pa.Table, name: str) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = records[name].to_numpy()
    return found


def _dicts(records: pa.Table) -> list[dict[str, Any]]:
    columns = []
    for name in records.column_names:
        column = records[name]
        chunks = [chunk.view(pa.int64()) if name in _TIMES else chunk for chunk in column.chunks]
        columns.append([value for chunk in chunks for value in chunk.to_pylist()])
    return [dict(zip(records.column_names, values, strict=True)) for values in zip(*columns, strict=True)]


def footer_bytes(key: str, tail: bytes) -> int:
    """How many of its last bytes are a file's footer. ``Corrupt`` when it is no Parquet file."""
    if len(tail) < _END_BYTES or tail[-4:] != b"PAR1":
        raise _unreadable(key)
    return int.from_bytes(tail[-8:-4], "little") + _END_BYTES


def _range(group: pq.RowGroupMetaData) -> Range:
    columns = [group.column(index) for index in range(group.num_columns)]
    start = min(each.dictionary_page_offset or each.data_page_offset for each in columns)
    return Range(start, start + sum(each.total_compressed_size for each in columns))


def hash_of(data: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()


def _unreadable(key: str) -> Corrupt:
    return Corrupt(f"history file {key} cannot be read", hint=HISTORY_ANEW)


def _within(bounds: pq.Statistics | None, value: object) -> bool:
    return bounds is None or not bounds.has_min_max or bounds.min <= value <= bounds.max


def _meets(bounds: pq.Statistics | None, first: int, last: int) -> bool:
    return bounds is None or not bounds.has_min_max or (bounds.min <= last and bounds.max >= first)


class _Missing(Exception):
    """Bytes are asked for that were not fetched."""


_UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError, _Missing)


class _Ranges(io.RawIOBase):
    """A file of which only some bytes are there."""

    def __init__(self, size: int, held: Sequence[tuple[int, bytes]]) -> None:
        self._size, self._held, self._at = size, held, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0 if whence == io.SEEK_SET else self._at if whence == io.SEEK_CUR else self._size)
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        if end <= self._at:
            return b""
        for start, data in self._held:
            if start <= self._at and end <= start + len(data):
                found = data[self._at - start : end - start]
                self._at = end
                return found
        raise _Missing

    def size(self) -> int:
        return self._size
