"""A stage of a table whose rows a key identifies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archiver.replay.postgres.columnar.copy_text import CopyLines, Picked, assemble, split_columns
from archiver.replay.postgres.columnar.key_table import KeyTable
from archiver.replay.postgres.columnar.values import NULL, UNCHANGED, VALUE, Tuples, gather, pack
from archiver.replay.postgres.decode.relations import Layout
from archiver.replay.postgres.decode.spill import Spill
from archiver.replay.postgres.fold import keyed_rows
from archiver.replay.postgres.fold.keyed_rows import Missing
from archiver.replay.postgres.fold.other_columns import convert
from archiver.replay.postgres.fold.partitions import PartitionedPass, partitions_of
from archiver.replay.postgres.fold.passes import CopyText, Pass
from archiver.replay.postgres.fold.row_messages import Changes
from archiver.replay.postgres.fold.runs_aside import KeyedRuns

I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class KeyedStage:
    """Rows that a key identifies. Columns may come and go meanwhile."""

    def __init__(self, layout: Layout, missing: Missing, compact_rows: int) -> None:
        self._key, self._missing = layout.key, missing
        self._compact_rows = self._limit = compact_rows
        self._parts: list[keyed_rows.Delta] = []
        self._runs: KeyedRuns | None = None
        self._spill: Spill | None = None

    def accepts(self, layout: Layout) -> bool:
        """The same key columns, in the same order."""
        return layout.mode == "key" and layout.key == self._key

    def add(self, changes: Changes, layout: Layout) -> None:
        """Fold a batch in."""
        self._parts.append(keyed_rows.fold(changes, layout))
        if sum(map(len, self._parts)) > self._limit:
            self._merge()

    @property
    def held(self) -> int:
        """See ``Stage``."""
        return sum(map(keyed_rows.held, self._parts))

    def compact(self) -> None:
        """See ``Stage``."""
        if self._parts:
            self._merge()

    def put_aside(self, spill: Spill, partitions: int) -> None:
        """See ``Stage``."""
        if self._parts:
            self._runs, self._spill = self._runs or KeyedRuns(spill, partitions, self._missing), spill
            self._runs.add(self._merge())
            self._parts, self._limit = [], self._compact_rows

    def run(self) -> Pass:
        """Begin an output."""
        if self._runs is None or self._spill is None:
            return _KeyedPass(self._merge(), self._key, self._missing)
        self.put_aside(self._spill, self._runs.count)
        runs = self._runs
        return PartitionedPass(
            self._spill, runs.count, self._route, lambda number: _KeyedPass(runs.merged(number), self._key, self._missing)
        )

    def _route(self, rows: CopyText) -> tuple[tuple[int, ...], CopyLines, I64]:
        assert self._runs is not None
        rows, columns, keys = _keyed(rows, self._key, self._missing)
        return rows.attnums, _lines(rows, columns), partitions_of(keys, self._runs.count, self._runs.together)

    def _merge(self) -> keyed_rows.Delta:
        self._parts = [keyed_rows.merge(self._parts, self._missing)]
        self._limit = max(self._compact_rows, 2 * len(self._parts[0]))
        return self._parts[0]


class _KeyedPass:
    def __init__(self, delta: keyed_rows.Delta, key: tuple[int, ...], missing: Missing) -> None:
        self.contradictions = delta.contradictions
        self._delta, self._key, self._missing = delta, key, missing
        self._touched = KeyTable(pa.concat_arrays([*(block.keys for block in delta.blocks), delta.gone]))
        self._expects = np.concatenate([*(block.expects for block in delta.blocks), np.ones(len(delta.gone), np.bool_)])
        self._seen = np.zeros(len(self._touched), np.bool_)
        self._partial = [_PartialRows.of(block, self._touched) for block in delta.blocks if block.partial.any()]

    def part(self, rows: CopyText) -> Iterator[CopyText]:
        if not len(self._touched):
            yield rows
            return
        rows, columns, keys = _keyed(rows, self._key, self._missing)
        found = self._touched.find(keys)
        hits = np.flatnonzero(found >= 0)
        if not len(hits):
            yield rows
            return
        touched = found[hits]
        seen = int(np.count_nonzero(self._seen))
        self._seen[touched] = True
        self.contradictions += len(hits) - (int(np.count_nonzero(self._seen)) - seen)
        yield CopyText(rows.attnums, _lines(rows, columns).take(np.flatnonzero(found < 0)).text)
        for partial in self._partial:
            continued = partial.row_of[touched]
            mine = (continued >= 0) & ~partial.patched[continued]
            if mine.any():
                partial.patched[continued[mine]] = True
                yield _patched(rows, columns, hits[mine], partial, continued[mine], self._missing)

    def rest(self) -> Iterator[CopyText]:
        self.contradictions += int(np.count_nonzero(self._seen != self._expects))
        for block in self._delta.blocks:
            lines = block.lines if not block.partial.any() else block.lines.take(np.flatnonzero(~block.partial))
            yield CopyText(block.attnums, lines.text)
        for partial in self._partial:
            # Their earlier row was not there, which is counted; what is known of them is better than nothing.
            yield CopyText(partial.attnums, partial.lines.take(np.flatnonzero(~partial.patched)).text)


def _keyed(rows: CopyText, key: tuple[int, ...], missing: Missing) -> tuple[CopyText, Tuples, pa.LargeBinaryArray]:
    """The rows with all columns of ``key``, where their values lie, and their keys."""
    import pyarrow.compute as pc

    added = tuple(attnum for attnum in key if attnum not in rows.attnums)
    if added:
        rows = CopyText(rows.attnums + added, convert(rows, rows.attnums + added, missing))
    columns = split_columns(rows.text, len(rows.attnums))
    places = [rows.attnums.index(attnum) for attnum in key]
    parts = [pack(*gather(rows.text, columns.starts[:, place], columns.ends[:, place])) for place in places]
    return rows, columns, parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, pa.scalar(b"\t", pa.large_binary()))


def _lines(rows: CopyText, columns: Tuples) -> CopyLines:
    return CopyLines(rows.text, np.concatenate([np.zeros(1, np.int64), columns.stops]))


@dataclass(frozen=True, slots=True)
class _PartialRows:
    """Rows of a block that continue an earlier row."""

    attnums: tuple[int, ...]
    lines: CopyLines
    row_of: I64
    """By index of the key that the earlier row had: which row continues it, or -1."""
    patched: Bools

    @classmethod
    def of(cls, block: keyed_rows.Block, touched: KeyTable) -> _PartialRows:
        which = np.flatnonzero(block.partial)
        origins = (block.keys if block.origins is None else block.origins).take(pa.array(which))
        found = touched.find(origins)
        row_of = np.full(len(touched), -1, np.int64)
        row_of[found[found >= 0]] = np.flatnonzero(found >= 0)
        return cls(block.attnums, block.lines.take(which), row_of, np.zeros(len(which), np.bool_))


def _patched(rows: CopyText, columns: Tuples, before: I64, partial: _PartialRows, after: I64, missing: Missing) -> CopyText:
    """``after`` of the partial rows, their unknown values taken from ``before`` of ``rows``, which are found at ``columns``."""
    lines = partial.lines.take(after)
    found = split_columns(lines.text, len(partial.attnums))
    constants = [(missing.get(attnum) or b"") + b"\n" for attnum in partial.attnums]
    text = np.concatenate([rows.text, lines.text, np.frombuffer(b"".join(constants), np.uint8)])
    ends = np.cumsum([len(rows.text) + len(lines.text), *map(len, constants)])
    first, constant = columns.starts.size, columns.starts.size + found.starts.size
    pick = np.arange(first, constant, dtype=np.int64).reshape(found.starts.shape)
    kinds = found.kinds.copy()
    for column, attnum in enumerate(partial.attnums):
        unknown = np.flatnonzero(found.kinds[:, column] == UNCHANGED)
        if attnum in rows.attnums:
            place = rows.attnums.index(attnum)
            pick[unknown, column] = before[unknown] * len(rows.attnums) + place
            kinds[unknown, column] = columns.kinds[before[unknown], place]
        else:
            pick[unknown, column] = constant + column
            kinds[unknown, column] = NULL if missing.get(attnum) is None else VALUE
    picked = Picked(
        text,
        np.concatenate([columns.starts.ravel(), found.starts.ravel() + len(rows.text), ends[:-1]]),
        np.concatenate([columns.ends.ravel(), found.ends.ravel() + len(rows.text), ends[1:] - 1]),
        pick,
        kinds,
    )
    return CopyText(partial.attnums, assemble(picked, escaped=True).text)
