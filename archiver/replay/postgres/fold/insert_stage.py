"""A stage of a table whose rows have no identity: they are only ever added."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from archiver.errors import Corrupt
from archiver.replay.postgres.decode.relations import Layout
from archiver.replay.postgres.decode.spill import Spill
from archiver.replay.postgres.fold.passes import CopyText, Pass
from archiver.replay.postgres.fold.row_messages import Changes, Rows

U8 = npt.NDArray[np.uint8]


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
