"""What happened to one row, or to all rows of one table: each change with its transaction, for history. Rows are not folded.

Most frames are of other rows: those are passed over in columns, and only what fits is decoded message by message.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archiver.errors import Corrupt
from archiver.journal.entry import Placed
from archiver.replay.postgres.columnar.values import VALUE, Tuples, big_endian, gather, pack, walk
from archiver.replay.postgres.decode.commits import Commit, Limit
from archiver.replay.postgres.decode.pgoutput import Delete, Insert, Relation, Row, Truncate, Update, Value, decode
from archiver.replay.postgres.decode.transactions import Chunk, TransactionReader

I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_PADDING = np.full(8, ord("w"), np.uint8)


class DecodedChange(msgspec.Struct, frozen=True):
    """One change. Columns go by the names they had then."""

    action: Literal["insert", "update", "delete", "truncate"]
    old: dict[str, Value] | None
    """What the message says of the row before: its key when that changed or the row was deleted, everything with identity full."""
    new: dict[str, Value] | None
    """``UNCHANGED`` where a TOASTed value stayed as it was."""
    commit: Commit
    seq: int
    """Number of the change's entry."""
    table: tuple[str, str] | None = None
    """Schema and name that the table had then; None of a TRUNCATE, which does not say it."""


class RowLog:
    """Takes runs of one database in journal order, from a PG_STREAM entry on. Pure; one caller at a time."""

    def __init__(
        self,
        oid: int,
        key: Mapping[str, bytes] | None = None,
        *,
        limit: Limit | None = None,
        from_lsn: int = 0,
        reached: int = 0,
        described: tuple[int, Relation] | None = None,
    ) -> None:
        """``key``: columns and their text, as the server writes it; rows whose new or old version has all of them. None: every row.

        An update that changes the key is found under both keys. A TRUNCATE of the table is always found.
        ``reached`` and ``described``, with its entry: how far another reader had come where this one goes on, and how it knew the table.
        """
        self.oid, self._key = oid, dict(key or {})
        self._reader = TransactionReader(limit=limit, from_lsn=from_lsn, reached=reached)
        self._relation = described
        self._streamed: tuple[int, Relation] | None = None

    def feed(self, placed: Placed) -> list[DecodedChange]:
        """Take the next run; give changes of transactions that are complete, in commit order. Raises ``Corrupt``."""
        return [change for chunk in self._reader.feed(placed) for change in self._changes(chunk)]

    def finish(self) -> list[DecodedChange]:
        """What is left of complete transactions."""
        return [change for chunk in self._reader.flush() for change in self._changes(chunk)]

    @property
    def done(self) -> bool:
        """The limit is reached: nothing more will come."""
        return self._reader.done

    def _changes(self, chunk: Chunk) -> list[DecodedChange]:
        body = 5 if chunk.streamed else 1
        marks, emptied = self._control(chunk)
        rows = np.flatnonzero(np.isin(chunk.types, np.frombuffer(b"IUD", np.uint8)))
        rows = rows[big_endian(chunk.data, chunk.starts[rows] + body, 4) == self.oid]
        found: list[tuple[int, DecodedChange]] = [(at, self._change(chunk, at, None)) for at in emptied]
        places = [*np.searchsorted(rows, [at for at, _ in marks]).tolist(), len(rows)]
        for (_, relation), (first, last) in zip(marks, itertools.pairwise(places), strict=True):
            if first == last:
                continue
            if relation is None:
                raise Corrupt(f"rows of relation {self.oid} come before its description")
            between = rows[first:last]
            fitting = between[self._fits(chunk, between, body, relation)].tolist()
            found += [(at, self._change(chunk, at, relation)) for at in fitting]
        if chunk.streamed and chunk.complete:
            if self._streamed is not None and (self._relation is None or self._relation[0] < self._streamed[0]):
                self._relation = self._streamed
            self._streamed = None
        return [change for _, change in sorted(found, key=lambda pair: pair[0])]

    def _control(self, chunk: Chunk) -> tuple[list[tuple[int, Relation | None]], list[int]]:
        """Descriptions with the message from which each holds, and truncations."""
        known = self._streamed or self._relation
        marks: list[tuple[int, Relation | None]] = [(-1, known[1] if known else None)]
        emptied: list[int] = []
        for at in np.flatnonzero(np.isin(chunk.types, np.frombuffer(b"RT", np.uint8))).tolist():
            message = _decode(chunk, at)
            if isinstance(message, Relation) and message.oid == self.oid:
                marks.append((at, message))
                if chunk.streamed:
                    self._streamed = (int(chunk.seqs[at]), message)
                else:
                    self._relation = (int(chunk.seqs[at]), message)
            elif isinstance(message, Truncate) and self.oid in message.oids:
                emptied.append(at)
        return marks, emptied

    def _fits(self, chunk: Chunk, rows: I64, body: int, relation: Relation) -> Bools:
        fits = np.ones(len(rows), np.bool_)
        if not self._key:
            return fits
        names = [column.name for column in relation.columns]
        if any(name not in names for name in self._key):
            return ~fits
        width, wanted = len(names), {names.index(name): value for name, value in self._key.items()}
        data = np.concatenate([chunk.data, _PADDING])
        at = chunk.starts[rows] + body + 4
        has_old = (data[at] == ord("K")) | (data[at] == ord("O"))
        has_new = chunk.types[rows] != ord("D")
        old = walk(data, at[has_old] + 1, width)
        at[has_old] = old.stops
        new = walk(data, at[has_new] + 1, width)
        fits[:] = False
        fits[has_old] = _equal(old, wanted)
        fits[has_new] |= _equal(new, wanted)
        return fits

    def _change(self, chunk: Chunk, at: int, relation: Relation | None) -> DecodedChange:
        commit, seq, message = chunk.transactions[int(chunk.txn[at])], int(chunk.seqs[at]), _decode(chunk, at)
        if relation is None or isinstance(message, Truncate):
            return DecodedChange("truncate", None, None, commit, seq)
        name = (relation.schema, relation.name)
        if isinstance(message, Insert):
            return DecodedChange("insert", None, _named(relation, message.new), commit, seq, name)
        if isinstance(message, Update):
            old = None if message.old is None else _named(relation, message.old, key_only=not message.full)
            return DecodedChange("update", old, _named(relation, message.new), commit, seq, name)
        assert isinstance(message, Delete)
        return DecodedChange("delete", _named(relation, message.old, key_only=not message.full), None, commit, seq, name)


def _decode(chunk: Chunk, at: int) -> object:
    return decode(chunk.data[chunk.starts[at] : chunk.ends[at]].tobytes(), streamed=chunk.streamed)


def _equal(rows: Tuples, wanted: Mapping[int, bytes]) -> Bools:
    import pyarrow.compute as pc  # takes long to load, and a row that history files tell needs none of it

    found = np.ones(len(rows.stops), np.bool_)
    for position, value in wanted.items():
        there = rows.kinds[:, position] == VALUE
        starts = rows.starts[:, position]
        texts = pack(*gather(rows.data, starts, np.where(there, rows.ends[:, position], starts)))
        found &= there & pc.equal(texts, pa.scalar(value, pa.large_binary())).to_numpy(zero_copy_only=False)
    return found


def _named(relation: Relation, row: Row, *, key_only: bool = False) -> dict[str, Value]:
    if len(row) != len(relation.columns):
        raise Corrupt(f"a row does not have the {len(relation.columns)} columns of its relation")
    return {column.name: value for column, value in zip(relation.columns, row, strict=True) if column.key or not key_only}
