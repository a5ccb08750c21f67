"""One table: rows it starts from, and what changes make of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from archiver.errors import Corrupt
from archiver.postgres.records import TableRows
from archiver.postgres.visibility import Visible
from archiver.replay.postgres.columnar.copy_text import blocks
from archiver.replay.postgres.decode.relations import Layout
from archiver.replay.postgres.decode.spill import Spill
from archiver.replay.postgres.decode.transactions import BATCH_BYTES, STAGED_BYTES
from archiver.replay.postgres.fold.keyed_rows import Missing
from archiver.replay.postgres.fold.other_columns import convert
from archiver.replay.postgres.fold.partitions import PARTITIONS
from archiver.replay.postgres.fold.passes import CopyText, Pass
from archiver.replay.postgres.fold.row_messages import Changes
from archiver.replay.postgres.fold.stages import COMPACT_ROWS, Stage, stage_of

U8 = npt.NDArray[np.uint8]

TABLE_BYTES = 8 << 20
"""A table's changes are folded when so many bytes of them are gathered."""
PENDING_BYTES = 24 << 20
"""All tables' are, when they hold so much together."""
PIECE_BYTES = 8 << 20
"""Rows are put out in pieces of about this size."""
HELD_BYTES = 48 << 20
"""Folded changes of all tables are put aside, the most first, when they hold so much, where there is a place for them."""


class Sizes(msgspec.Struct, frozen=True):
    """Bytes and rows that are worked on at once; results do not depend on them."""

    batch_bytes: int = BATCH_BYTES
    table_bytes: int = TABLE_BYTES
    pending_bytes: int = PENDING_BYTES
    piece_bytes: int = PIECE_BYTES
    compact_rows: int = COMPACT_ROWS
    held_bytes: int = HELD_BYTES
    staged_bytes: int = STAGED_BYTES
    partitions: int = PARTITIONS


class TableState:
    """What the journal says about one table at the point."""

    def __init__(self, oid: int, missing: Missing, *, strict: bool, sizes: Sizes) -> None:
        self.oid = oid
        self.base: TableRows | None = None
        """The snapshot rows that ``output`` needs; None when there are none or a TRUNCATE made them void."""
        self.visible: Visible | None = None
        """Transactions that the snapshot has already, when its place is known by what it sees."""
        self.changes = 0
        """Row changes applied."""
        self._missing, self._strict, self._sizes = missing, strict, sizes
        self._stages: list[Stage] = []
        self._pending: list[Changes] = []
        self._size = 0
        self._layout: Layout | None = None
        self._spoilt: Corrupt | None = None

    def output(self, columns: Sequence[int]) -> TableOutput:
        """The rows with these attnums, in this order. Columns that old rows lack get their stored default or NULL.

        Only once the fold is finished. Every output begins anew. ``Corrupt`` when some of its changes could not be read.
        """
        if self._spoilt is not None:
            raise self._spoilt
        attnums = self.base.attnums if self.base else ()
        passes = [stage.run() for stage in self._stages]
        return TableOutput(self.oid, (tuple(attnums), tuple(columns)), passes, self._missing, strict=self._strict, sizes=self._sizes)

    # What follows is for DatabaseFold.

    def start_from(self, rows: TableRows, visible: Visible | None) -> None:
        """Snapshot rows; instead of those known before."""
        self.base, self.visible = rows, visible

    def add(self, changes: Changes, layout: Layout) -> int:
        """Take changes, after all taken before; how many bytes more are pending than before."""
        before = self._size
        if layout != self._layout:
            self.fold_pending()
            self._layout = layout
        self.changes += len(changes)
        self._pending.append(changes)
        self._size += len(changes.data)
        if self._size >= self._sizes.table_bytes:
            self.fold_pending()
        return self._size - before

    def spoil(self, why: Corrupt) -> None:
        """There are changes that cannot be read."""
        self._spoilt = self._spoilt or why

    def empty(self) -> int:
        """TRUNCATE; how many bytes are no longer pending."""
        before = self._size
        self.base = None
        self._stages.clear()
        self._pending.clear()
        self._size = 0
        self._spoilt = None
        return before

    @property
    def held(self) -> int:
        """Bytes of folded changes in memory, about."""
        return sum(stage.held for stage in self._stages)

    def compact(self) -> None:
        """Need less memory, if that can be without putting anything aside."""
        for stage in self._stages:
            stage.compact()

    def put_aside(self, spill: Spill) -> None:
        """Put folded changes aside."""
        for stage in self._stages:
            stage.put_aside(spill, self._sizes.partitions)

    def fold_pending(self) -> int:
        """Fold what is pending; how many bytes were."""
        before = self._size
        if self._pending and self._layout is not None:
            changes, layout = Changes.join(self._pending), self._layout
            self._pending, self._size = [], 0
            if not self._stages or not self._stages[-1].accepts(layout):
                self._stages.append(stage_of(layout, self._missing, compact_rows=self._sizes.compact_rows))
            try:
                self._stages[-1].add(changes, layout)
            except Corrupt as error:
                raise Corrupt(f"relation {self.oid}: {error.message}", hint=error.hint) from error
        return before


class TableOutput:
    """Writes the rows of one table: first every part of ``base``, each once and in any order, then the rest."""

    def __init__(
        self,
        oid: int,
        columns: tuple[tuple[int, ...], tuple[int, ...]],
        passes: list[Pass],
        missing: Missing,
        *,
        strict: bool,
        sizes: Sizes,
    ) -> None:
        self.rows = 0
        """Rows yielded so far; final after ``rest``."""
        self.contradictions = 0
        """Changes that contradict the baseline; final after ``rest``. Stays 0 when ``strict``."""
        self._oid, (self._base, self._target) = oid, columns
        self._passes, self._missing, self._strict, self._sizes = passes, missing, strict, sizes

    def part(self, text: bytes | memoryview) -> Iterator[memoryview]:
        """Rows that survive from one part (its COPY text, decompressed), as COPY text in pieces of some MiB, whole rows each.

        ``Corrupt`` when the text does not have the columns of ``base``.
        """
        for block in blocks(text, self._sizes.piece_bytes):
            yield from self._written(self._through(CopyText(self._base, block), 0))

    def rest(self) -> Iterator[memoryview]:
        """Rows that changed since the baseline. Then checks that every change found its row: ``Corrupt`` if not and ``strict``."""
        for number, stage in enumerate(self._passes):
            for rows in stage.rest():
                for block in blocks(rows.text, self._sizes.piece_bytes):
                    yield from self._written(self._through(CopyText(rows.attnums, block), number + 1))
        contradictions = sum(stage.contradictions for stage in self._passes)
        if contradictions and self._strict:
            raise Corrupt(
                f"{contradictions} changes of relation {self._oid} contradict the rows they change",
                hint="run verify; the last rows of this restore must not be trusted",
            )
        self.contradictions = contradictions

    def _through(self, rows: CopyText, stage: int) -> Iterator[CopyText]:
        if not len(rows.text):
            return
        if stage == len(self._passes):
            yield rows
            return
        for left in self._passes[stage].part(rows):
            yield from self._through(left, stage + 1)

    def _written(self, found: Iterator[CopyText]) -> Iterator[memoryview]:
        for rows in found:
            text = convert(rows, self._target, self._missing)
            self.rows += int(np.count_nonzero(text == ord("\n")))
            yield text.data
