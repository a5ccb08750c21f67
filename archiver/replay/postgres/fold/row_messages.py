"""Insert, Update and Delete messages of one relation version, many at once: where old and new rows and their keys lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archiver.errors import Corrupt
from archiver.replay.postgres.columnar.copy_text import CopyLines, Picked, assemble, escape_all
from archiver.replay.postgres.columnar.values import NULL, UNCHANGED, VALUE, Tuples, bytes_at, gather, pack, walk
from archiver.replay.postgres.decode.relations import Layout

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_PADDING = np.full(8, ord("w"), np.uint8)


@dataclass(frozen=True, slots=True)
class Changes:
    """Bodies of Insert, Update and Delete messages, from the mark behind the oid on, in order."""

    types: U8
    data: U8
    offsets: I64

    def __len__(self) -> int:
        return len(self.types)

    @classmethod
    def join(cls, pieces: list[Changes]) -> Changes:
        """All of them, in order."""
        if len(pieces) == 1:
            return pieces[0]
        bases = np.cumsum([0] + [len(piece.data) for piece in pieces])
        offsets = [piece.offsets[:-1] + base for piece, base in zip(pieces, bases, strict=False)]
        return cls(
            np.concatenate([piece.types for piece in pieces]),
            np.concatenate([piece.data for piece in pieces]),
            np.concatenate([*offsets, bases[-1:]]),
        )


class Rows:
    """The rows in a batch of changes. ``new_of`` and ``old_of`` lead from a change to its row; -1 where it has none."""

    new_of: I64
    old_of: I64
    new_changes: I64
    """The change of each new row."""
    old_changes: I64
    """The change of each old row."""
    unknown: Bools
    """New rows by kept column: unchanged TOASTed values that the message's old row does not tell either."""

    def __init__(self, changes: Changes, layout: Layout) -> None:
        self._layout = layout
        count, starts, ends = len(changes), changes.offsets[:-1], changes.offsets[1:]
        self._data = data = np.concatenate([changes.data, _PADDING])
        marks = bytes_at(data, starts)
        has_old = (marks == ord("K")) | (marks == ord("O"))
        self._whole_old = marks == ord("O")
        is_delete, is_insert = changes.types == ord("D"), changes.types == ord("I")
        if (has_old & is_insert).any() or (is_delete & ~has_old).any():
            raise Corrupt("a row begins with an unknown mark")
        self.old_changes = np.flatnonzero(has_old)
        self.new_changes = np.flatnonzero(~is_delete)
        self.old_of = _places(self.old_changes, count)
        self.new_of = _places(self.new_changes, count)
        self.old = walk(data, starts[self.old_changes] + 1, layout.width)
        stops = starts.copy()
        stops[self.old_changes] = self.old.stops
        if (bytes_at(data, stops[self.new_changes]) != ord("N")).any():
            raise Corrupt("a row begins with an unknown mark")
        self.new = walk(data, stops[self.new_changes] + 1, layout.width)
        stops[self.new_changes] = self.new.stops
        if (stops != ends).any():
            raise Corrupt("a message does not end with its row")
        self._positions = np.array(layout.positions, np.int64)
        self.unknown = self.new.kinds[:, self._positions] == UNCHANGED
        self._told: tuple[I64, I64] | None = None
        if self.unknown.any() and len(self.old_changes):
            self._fill_from_old()

    def _fill_from_old(self) -> None:
        """The old row tells what the new one does not: all of it with identity full, the key when a part of it is TOASTed."""
        old_of = self.old_of[self.new_changes]
        row, column = np.nonzero(self.unknown & (old_of >= 0)[:, None])
        told = self._whole_old[self.new_changes[row]] | np.isin(self._positions[column], self._layout.key_positions)
        row, column = row[told], column[told]
        if (self.old.kinds[old_of[row], self._positions[column]] == UNCHANGED).any():
            raise Corrupt("an old row holds an unchanged value")
        self.unknown[row, column] = False
        if len(row):
            self._told = (row, column)

    def new_keys(self) -> pa.LargeBinaryArray:
        """Key of each new row, as COPY text of its columns with tabs between."""
        return self._keys(self.new, self.old_of[self.new_changes])

    def old_keys(self) -> pa.LargeBinaryArray:
        """Key of each old row."""
        return self._keys(self.old, None)

    def _keys(self, rows: Tuples, old_of: I64 | None) -> pa.LargeBinaryArray:
        import pyarrow.compute as pc

        parts = []
        for position in self._layout.key_positions:
            starts, ends, kinds = rows.starts[:, position], rows.ends[:, position], rows.kinds[:, position]
            if (kinds != VALUE).any():
                blank = np.flatnonzero(kinds != VALUE)
                from_old = old_of[blank] if old_of is not None else np.full(len(blank), -1)
                if (kinds[blank] == NULL).any() or (from_old < 0).any() or (self.old.kinds[from_old, position] != VALUE).any():
                    raise Corrupt("a row has no key")
                starts, ends = starts.copy(), ends.copy()
                starts[blank], ends[blank] = self.old.starts[from_old, position], self.old.ends[from_old, position]
            parts.append(escape_all(*gather(self._data, starts, ends)))
        packed = [pack(*part) for part in parts]
        return packed[0] if len(packed) == 1 else pc.binary_join_element_wise(*packed, pa.scalar(b"\t", pa.large_binary()))

    def new_lines(self, sources: I64, unknown: Bools | None = None) -> CopyLines:
        """Lines of new rows. ``sources``: rows, or for each row and kept column the row that the value is taken from.

        ``unknown``: where the token for an unknown value stands; by default where these rows themselves do not know.
        """
        width, positions = self._layout.width, self._positions
        if sources.ndim == 1:
            unknown = self.unknown[sources]
            sources = np.broadcast_to(sources[:, None], (len(sources), len(positions)))
        kinds = self.new.kinds[sources, positions]
        pick = sources * width + positions
        data, starts, ends = self._data, self.new.starts.ravel(), self.new.ends.ravel()
        if self._told is not None:
            row, column = self._told
            told = np.full(self.unknown.shape, -1, np.int64)
            told[row, column] = self.old_of[self.new_changes[row]]
            old = told[sources, np.arange(len(positions))]
            kinds = np.where(old >= 0, self.old.kinds[old, positions], kinds)
            pick = np.where(old >= 0, len(starts) + old * width + positions, pick)
            # Slices must not go backwards: those of old rows are of a second copy of the messages behind the first.
            starts = np.concatenate([starts, self.old.starts.ravel() + len(data)])
            ends = np.concatenate([ends, self.old.ends.ravel() + len(data)])
            data = np.concatenate([data, data])
        if unknown is not None:
            kinds = np.where(unknown, UNCHANGED, kinds).astype(np.uint8)
        return assemble(Picked(data, starts, ends, pick, kinds), escaped=False)

    def old_lines(self) -> CopyLines:
        """Lines of all old rows, which must be whole ones."""
        if not self._whole_old[self.old_changes].all():
            raise Corrupt("an old row is not whole although the table's replica identity is full")
        kinds = self.old.kinds[:, self._positions]
        if (kinds == UNCHANGED).any():
            raise Corrupt("an old row holds an unchanged value")
        pick = np.arange(len(kinds), dtype=np.int64)[:, None] * self._layout.width + self._positions
        return assemble(Picked(self._data, self.old.starts.ravel(), self.old.ends.ravel(), pick, kinds), escaped=False)


def _places(chosen: I64, count: int) -> I64:
    found = np.full(count, -1, np.int64)
    found[chosen] = np.arange(len(chosen), dtype=np.int64)
    return found
