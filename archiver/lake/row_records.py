"""Row messages of one chunk, and rows of a copy -> records of history. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archiver.lake.columns import SCHEMA, mark_position, row_positions
from archiver.lake.json_text import key_text, objects, row_of
from archiver.postgres.records import TableRows
from archiver.replay.postgres.columnar.copy_text import split_columns, unescape
from archiver.replay.postgres.columnar.values import UNCHANGED, VALUE, Tuples, bytes_at, walk
from archiver.replay.postgres.decode.pgoutput import Relation
from archiver.replay.postgres.decode.transactions import Chunk

I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Texts = list[str]

_PADDING = np.full(8, ord("w"), np.uint8)
_BACKSLASH = 92


@dataclass(frozen=True, slots=True)
class ChangedRows:
    """What the messages of one relation say: old and new version of each row, where there is one."""

    has_old: Bools
    has_new: Bools
    full: Bools
    """The old version is the whole row."""
    old: Tuples
    new: Tuples


def relation_rows(chunk: Chunk, rows: I64, relation: Relation) -> ChangedRows:
    """The messages at ``rows`` of ``chunk``, all of ``relation``. Raises ``Corrupt``."""
    width, body = len(relation.columns), 5 if chunk.streamed else 1
    data = np.concatenate([chunk.data, _PADDING])
    at = chunk.starts[rows] + body + 4
    mark = bytes_at(data, at)
    has_old = (mark == ord("K")) | (mark == ord("O"))
    has_new = chunk.types[rows] != ord("D")
    old = walk(data, at[has_old] + 1, width)
    at[has_old] = old.stops
    new = walk(data, at[has_new] + 1, width)
    return ChangedRows(has_old, has_new, mark == ord("O"), old, new)


def digest(text: str) -> str:
    """The key of a row whose table has none: rows that read the same have the same."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class RowRecords:
    """Makes records of one chunk."""

    def __init__(self, source: str, era: int, chunk: Chunk) -> None:
        self._source, self._era, self._chunk = source, era, chunk

    def truncate(self, oid: int, name: str, at: int) -> pa.Table:
        """The message at ``at`` emptied a relation."""
        count = np.array([at], np.int64)
        return self._table(count, name, oid, [""], ["truncate"], [0], [None], [None], [None])

    def rows(self, changed: ChangedRows, relation: Relation, at: I64, key: Sequence[str]) -> pa.Table:
        """Row messages at ``at``. ``key``: columns that identify a row; none: all of it does."""
        every = [(each.name, place) for place, each in enumerate(relation.columns)]
        keyed = [(name, place) for name, place in every if name in key]
        shown = [(each.name, place) for place, each in enumerate(relation.columns) if each.key]
        new_texts = iter(objects(changed.new, every).to_pylist())
        full = changed.full[changed.has_old]
        whole_old, key_old = objects(changed.old, every).to_pylist(), objects(changed.old, shown).to_pylist()
        old_texts = iter([whole if each else part for each, whole, part in zip(full, whole_old, key_old, strict=True)])
        new_keys = iter(objects(changed.new, keyed).to_pylist()) if keyed else iter(())
        old_keys = iter(objects(changed.old, keyed).to_pylist()) if keyed else iter(())
        new_unchanged = iter(_unchanged(changed.new, every))
        types = self._chunk.types[at]
        places: list[int] = []
        keys, operations, weights = Texts(), Texts(), list[int]()
        rows_, olds, unchanged = list[str | None](), list[str | None](), list[list[str] | None]()

        def add(place: int, key_: str, operation: str, weight: int, row: str | None, old: str | None, left: list[str] | None) -> None:
            places.append(place)
            keys.append(key_)
            operations.append(operation)
            weights.append(weight)
            rows_.append(row)
            olds.append(old)
            unchanged.append(left)

        flags = zip(at.tolist(), types.tolist(), changed.has_old.tolist(), changed.has_new.tolist(), strict=True)
        for place, kind, with_old, with_new in flags:
            old = next(old_texts) if with_old else None
            row = next(new_texts) if with_new else None
            left = next(new_unchanged) if with_new else None
            if keyed:
                new_key = next(new_keys) if with_new else ""
                old_key = next(old_keys) if with_old else new_key
                if left and any(name in left for name, _ in keyed):
                    new_key = _told(new_key, old_key, keyed)
            else:
                if left and old is not None and row is not None:
                    row, left = _told(row, old, every), None
                new_key = digest(row) if row is not None else ""
                old_key = digest(old) if old is not None else new_key
            if kind == ord("I"):
                add(place, new_key, "insert", 1, row, None, left)
            elif kind == ord("D"):
                add(place, old_key, "delete", -1, None, old, None)
            elif old_key == new_key:
                add(place, new_key, "update", 0, row, old, left)
            else:
                add(place, old_key, "moved", -1, row, old, left)
                add(place, new_key, "update", 1, row, old, left)
        name = f"{relation.schema}.{relation.name}"
        return self._table(np.array(places, np.int64), name, relation.oid, keys, operations, weights, rows_, olds, unchanged)

    def _table(
        self,
        at: I64,
        name: str,
        oid: int,
        keys: Texts,
        operations: Texts,
        weights: list[int],
        rows: Sequence[str | None],
        olds: Sequence[str | None],
        unchanged: Sequence[list[str] | None],
    ) -> pa.Table:
        chunk, count = self._chunk, len(at)
        transactions, txn, entries = chunk.transactions, chunk.txn[at], chunk.seqs[at]
        lsns = transactions.commit_lsn[txn].astype(np.int64)
        columns = {
            "source": [self._source] * count,
            "name": [name] * count,
            "relation": np.full(count, oid, np.int64),
            "key": keys,
            "position": row_positions(self._era, lsns.tolist(), entries.tolist()),
            "as_of": transactions.newest[txn],
            "committed": transactions.time[txn],
            "operation": operations,
            "weight": weights,
            "row": rows,
            "old": olds,
            "unchanged": unchanged,
            "xid": transactions.xid[txn],
            "commit_lsn": lsns,
            "end_lsn": transactions.end_lsn[txn].astype(np.int64),
            "commit_entry": transactions.seq[txn],
            "entry": entries,
            "segment": np.full(count, -1, np.int64),
        }
        return pa.Table.from_arrays([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def copied_rows(source: str, table: TableRows, key: Sequence[int], text: bytes, place: tuple[int, int, int, int, int]) -> pa.Table:
    """Rows of one part of a copy. ``key``: attnums; ``place``: era, LSN, entry, as_of, when it was taken. Raises ``Corrupt``."""
    era, lsn, entry, as_of, taken = place
    rows = unescaped(split_columns(np.frombuffer(text, np.uint8), len(table.columns)))
    order = sorted(range(len(table.columns)), key=lambda index: table.attnums[index])
    every = [(table.columns[index], index) for index in order]
    keyed = [(table.columns[index], index) for index in order if table.attnums[index] in key]
    texts = objects(rows, every)
    count = len(texts)
    keys = objects(rows, keyed).cast(pa.string()) if keyed else pa.array([digest(each) for each in texts.to_pylist()], pa.string())
    same = {
        "source": source, "name": f"{table.schema}.{table.name}", "relation": table.oid, "position": mark_position(era, lsn, entry) + "-1",
        "as_of": as_of, "committed": taken, "operation": "copied", "weight": 1, "old": None, "unchanged": None, "xid": 0,
        "commit_lsn": lsn, "end_lsn": lsn, "commit_entry": entry, "entry": entry, "segment": -1,
    }  # fmt: skip
    arrays = []
    for field in SCHEMA:
        if field.name in ("key", "row"):
            arrays.append(keys if field.name == "key" else texts.cast(pa.string()))
        else:
            arrays.append(pa.repeat(pa.scalar(same[field.name], field.type), count))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def unescaped(rows: Tuples) -> Tuples:
    """COPY text with its escapes taken out: where there are any, value by value."""
    if not (rows.data == _BACKSLASH).any():
        return rows
    pieces: list[bytes] = []
    starts, ends = np.zeros(rows.starts.shape, np.int64), np.zeros(rows.ends.shape, np.int64)
    raw, at = rows.data.tobytes(), 0
    flat = zip(rows.starts.ravel().tolist(), rows.ends.ravel().tolist(), (rows.kinds.ravel() == VALUE).tolist(), strict=True)
    for index, (start, end, there) in enumerate(flat):
        value = (unescape(raw[start:end]) or b"") if there else b""
        pieces.append(value)
        starts.flat[index], ends.flat[index] = at, at + len(value)
        at += len(value)
    return Tuples(np.frombuffer(b"".join(pieces), np.uint8), starts, ends, rows.kinds, rows.stops)


def _unchanged(rows: Tuples, columns: Sequence[tuple[str, int]]) -> list[list[str] | None]:
    found = rows.kinds == UNCHANGED
    if not found.any():
        return [None] * len(rows.stops)
    return [[name for name, place in columns if each[place]] or None for each in found.tolist()]


def _told(new: str, old: str, columns: Sequence[tuple[str, int]]) -> str:
    """The members of ``new``, and from ``old`` those that it leaves out, in the columns' order."""
    both = {**row_of(old), **row_of(new)}
    return key_text({name: both[name] for name, _ in columns if name in both})
