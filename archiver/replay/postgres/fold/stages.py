"""A table's history is a sequence of stages, in each of which rows are identified in one way.

Most tables have one stage. Another begins when the key changes, when a table gets or loses one, or, where the whole row
identifies, when the columns change. Rows flow through the stages in order: what one leaves is what the next begins with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from archiver.errors import Corrupt
from archiver.replay.postgres.columnar.copy_text import CopyLines, Picked, assemble, split_columns, split_lines
from archiver.replay.postgres.columnar.key_table import KeyTable
from archiver.replay.postgres.columnar.values import NULL, UNCHANGED, VALUE, Tuples, gather, pack
from archiver.replay.postgres.decode.relations import Layout
from archiver.replay.postgres.decode.spill import Spill
from archiver.replay.postgres.fold import counted_rows, keyed_rows
from archiver.replay.postgres.fold.keyed_rows import Missing
from archiver.replay.postgres.fold.partitions import PartitionedPass, partitions_of
from archiver.replay.postgres.fold.passes import CopyText, Pass
from archiver.replay.postgres.fold.row_messages import Changes, Rows
from archiver.replay.postgres.fold.runs_aside import CountedRuns, KeyedRuns

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

COMPACT_ROWS = 1_000_000
"""Folded batches are merged when they hold so many rows, or twice what was left the last time: cost per row stays constant."""


class Stage(Protocol):
    """Gathers changes of one stage."""

    def accepts(self, layout: Layout) -> bool:
        """Whether changes of this layout belong to this stage."""
        ...

    def add(self, changes: Changes, layout: Layout) -> None:
        """Fold a batch in, after those before it. Raises ``Corrupt``."""
        ...

    @property
    def held(self) -> int:
        """Bytes in memory, about."""
        ...

    def compact(self) -> None:
        """Need less memory, if that can be without putting anything aside."""
        ...

    def put_aside(self, spill: Spill, partitions: int) -> None:
        """Need next to no memory: what was added goes to ``spill``, cut into so many ``partitions``, the same each time."""
        ...

    def run(self) -> Pass:
        """Begin an output of all that was added. Nothing may be added afterwards."""
        ...


def stage_of(layout: Layout, missing: Missing, *, compact_rows: int = COMPACT_ROWS) -> Stage:
    """The stage that begins with this layout."""
    if layout.mode == "key":
        return KeyedStage(layout, missing, compact_rows)
    if layout.mode == "full":
        return CountedStage(layout, missing, compact_rows)
    return InsertStage()


def convert(rows: CopyText, attnums: tuple[int, ...], missing: Missing) -> U8:
    """The same rows with other columns; those that they lack are filled from ``missing``, or NULL."""
    if rows.attnums == attnums:
        return rows.text
    found = split_columns(rows.text, len(rows.attnums))
    wanted = [rows.attnums.index(attnum) if attnum in rows.attnums else -1 for attnum in attnums]
    count, width = found.kinds.shape
    constants = [missing.get(attnum) if place < 0 else None for attnum, place in zip(attnums, wanted, strict=True)]
    text, starts, ends = rows.text, found.starts.ravel(), found.ends.ravel()
    pick = np.zeros((count, len(attnums)), np.int64)
    kinds = np.full((count, len(attnums)), NULL, np.uint8)
    for column, (place, constant) in enumerate(zip(wanted, constants, strict=True)):
        if place >= 0:
            pick[:, column] = np.arange(place, count * width, width, dtype=np.int64)
            kinds[:, column] = found.kinds[:, place]
        elif constant is not None:
            pick[:, column] = len(starts)
            kinds[:, column] = VALUE
            starts, ends = np.append(starts, len(text)), np.append(ends, len(text) + len(constant))
            text = np.concatenate([text, np.frombuffer(constant + b"\n", np.uint8)])
    kinds[kinds == UNCHANGED] = NULL
    return assemble(Picked(text, starts, ends, pick, kinds), escaped=True).text


class InsertStage:
    """Rows without any identity: they are only ever added."""

    def __init__(self) -> None:
        self._added: list[tuple[tuple[int, ...], U8]] = []
        self._aside: list[tuple[tuple[int, ...], int, int]] = []
        """Columns, place and length of what was put aside."""
        self._spill: Spill | None = None

    def accepts(self, layout: Layout) -> bool:
        """Any layout without identity."""
        return layout.mode == "insert"

    def add(self, changes: Changes, layout: Layout) -> None:
        """Append the rows."""
        if (changes.types != ord("I")).any():
            raise Corrupt("a row of a table without replica identity was changed in the stream")
        rows = Rows(changes, layout)
        self._added.append((layout.attnums, rows.new_lines(np.arange(len(rows.new_changes), dtype=np.int64)).text))

    @property
    def held(self) -> int:
        """See ``Stage``."""
        return sum(len(text) for _, text in self._added)

    def compact(self) -> None:
        """See ``Stage``: there is nothing to gain."""

    def put_aside(self, spill: Spill, partitions: int) -> None:  # noqa: ARG002 -- nothing is looked for in them
        """See ``Stage``."""
        self._spill = spill
        for attnums, text in self._added:
            self._aside.append((attnums, spill.put(text.data), len(text)))
        self._added = []

    def run(self) -> Pass:
        """Begin an output."""
        return _InsertPass(self._all)

    def _all(self) -> Iterator[CopyText]:
        for attnums, place, length in self._aside:
            assert self._spill is not None
            yield CopyText(attnums, np.frombuffer(self._spill.take(place, length), np.uint8))
        for attnums, text in self._added:
            yield CopyText(attnums, text)


class _InsertPass:
    def __init__(self, added: Callable[[], Iterator[CopyText]]) -> None:
        self.contradictions = 0
        self._added = added

    def part(self, rows: CopyText) -> Iterator[CopyText]:
        yield rows

    def rest(self) -> Iterator[CopyText]:
        yield from self._added()


class CountedStage:
    """Rows that only the whole row identifies, all with the same columns."""

    def __init__(self, layout: Layout, missing: Missing, compact_rows: int) -> None:
        self._attnums, self._missing = layout.attnums, missing
        self._compact_rows = self._limit = compact_rows
        self._parts: list[counted_rows.Counts] = []
        self._runs: CountedRuns | None = None
        self._spill: Spill | None = None

    def accepts(self, layout: Layout) -> bool:
        """The same columns."""
        return layout.mode == "full" and layout.attnums == self._attnums

    def add(self, changes: Changes, layout: Layout) -> None:
        """Fold a batch in."""
        self._parts.append(counted_rows.fold(changes, layout))
        if sum(map(len, self._parts)) > self._limit:
            self._merge()

    @property
    def held(self) -> int:
        """See ``Stage``."""
        return sum(map(counted_rows.held, self._parts))

    def compact(self) -> None:
        """See ``Stage``."""
        if self._parts:
            self._merge()

    def put_aside(self, spill: Spill, partitions: int) -> None:
        """See ``Stage``."""
        if self._parts:
            self._runs, self._spill = self._runs or CountedRuns(spill, partitions), spill
            self._runs.add(self._merge())
            self._parts, self._limit = [], self._compact_rows

    def run(self) -> Pass:
        """Begin an output."""
        if self._runs is None or self._spill is None:
            return _CountedPass(self._merge(), self._attnums, self._missing)
        self.put_aside(self._spill, self._runs.count)
        runs = self._runs
        return PartitionedPass(
            self._spill, runs.count, self._route, lambda number: _CountedPass(runs.merged(number), self._attnums, self._missing)
        )

    def _route(self, rows: CopyText) -> tuple[tuple[int, ...], CopyLines, I64]:
        assert self._runs is not None
        lines = split_lines(convert(rows, self._attnums, self._missing))
        return self._attnums, lines, partitions_of(pack(lines.text, lines.offsets), self._runs.count)

    def _merge(self) -> counted_rows.Counts:
        self._parts = [counted_rows.merge(self._parts)]
        self._limit = max(self._compact_rows, 2 * len(self._parts[0]))
        return self._parts[0]


class _CountedPass:
    def __init__(self, counts: counted_rows.Counts, attnums: tuple[int, ...], missing: Missing) -> None:
        self.contradictions = 0
        self._attnums, self._missing = attnums, missing
        fewer = counts.net < 0
        lines = counts.lines.take(np.flatnonzero(fewer))
        self._fewer = KeyTable(pack(lines.text, lines.offsets))
        self._left = -counts.net[fewer]
        more = np.flatnonzero(~fewer)
        self._more = counts.lines.take(np.repeat(more, counts.net[more]))

    def part(self, rows: CopyText) -> Iterator[CopyText]:
        text = convert(rows, self._attnums, self._missing)
        if self._left.any():
            lines = split_lines(text)
            found = self._fewer.find(pack(lines.text, lines.offsets))
            hits = np.flatnonzero(found >= 0)
            if len(hits):
                order = np.argsort(found[hits], kind="stable")
                ids = found[hits][order]
                first = np.flatnonzero(np.diff(ids, prepend=-1))
                rank = np.arange(len(ids)) - np.repeat(first, np.diff(first, append=len(ids)))
                dropped = rank < self._left[ids]
                np.subtract.at(self._left, ids[dropped], 1)
                keep = np.ones(len(lines), np.bool_)
                keep[hits[order[dropped]]] = False
                text = lines.take(np.flatnonzero(keep)).text
        yield CopyText(self._attnums, text)

    def rest(self) -> Iterator[CopyText]:
        self.contradictions = int(self._left.sum())
        yield CopyText(self._attnums, self._more.text)


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
