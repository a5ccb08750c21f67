"""A table's history is a sequence of stages, in each of which rows are identified in one way.

Most tables have one stage. Another begins when the key changes, when a table gets or loses one, or, where the whole row
identifies, when the columns change. Rows flow through the stages in order: what one leaves is what the next begins with.
"""

from __future__ import annotations

from typing import Protocol

from archiver.replay.postgres.decode.relations import Layout
from archiver.replay.postgres.decode.spill import Spill
from archiver.replay.postgres.fold.counted_stage import CountedStage
from archiver.replay.postgres.fold.insert_stage import InsertStage
from archiver.replay.postgres.fold.keyed_rows import Missing
from archiver.replay.postgres.fold.keyed_stage import KeyedStage
from archiver.replay.postgres.fold.passes import Pass
from archiver.replay.postgres.fold.row_messages import Changes

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
