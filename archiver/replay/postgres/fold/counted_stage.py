"""A stage of a table whose rows only the whole row identifies: equal rows are counted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from archiver.replay.postgres.columnar.copy_text import CopyLines, split_lines
from archiver.replay.postgres.columnar.key_table import KeyTable
from archiver.replay.postgres.columnar.values import pack
from archiver.replay.postgres.decode.relations import Layout
from archiver.replay.postgres.decode.spill import Spill
from archiver.replay.postgres.fold import counted_rows
from archiver.replay.postgres.fold.keyed_rows import Missing
from archiver.replay.postgres.fold.other_columns import convert
from archiver.replay.postgres.fold.partitions import PartitionedPass, partitions_of
from archiver.replay.postgres.fold.passes import CopyText, Pass
from archiver.replay.postgres.fold.row_messages import Changes
from archiver.replay.postgres.fold.runs_aside import CountedRuns

I64 = npt.NDArray[np.int64]


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
