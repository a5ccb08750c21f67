"""What changes did to rows that a key identifies. Folding batch after batch keeps one row for each distinct key touched.

A ``Delta`` stands for any number of changes. Deltas that follow each other merge into one; a merged delta applied to the rows before
the first of them gives the rows after the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archiver.replay.postgres.columnar.copy_text import CopyLines, Picked, assemble, concat_lines, split_columns
from archiver.replay.postgres.columnar.values import NULL, UNCHANGED, VALUE
from archiver.replay.postgres.decode.relations import Layout
from archiver.replay.postgres.fold.key_chains import ELSEWHERE, GONE, NONE, PARTIAL, WHOLE, Chains, Events
from archiver.replay.postgres.fold.row_messages import Changes, Rows

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Missing = Mapping[int, bytes | None]

BLOCK_BYTES = 16 << 20
"""Merging joins blocks up to this size."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that exist after a delta, all with the same columns, each key once."""

    attnums: tuple[int, ...]
    lines: CopyLines
    keys: pa.LargeBinaryArray
    expects: Bools
    """Before the delta, the key had a row (whether this one or another)."""
    partial: Bools
    """The line holds tokens for unknown values: they are those of the row at ``origin`` before the delta."""
    origins: pa.LargeBinaryArray | None = None
    """Key that the row had before the delta; only of use for partial rows. None: all of them their own."""

    def __len__(self) -> int:
        return len(self.partial)


@dataclass(frozen=True, slots=True)
class Delta:
    """Net effect of changes."""

    blocks: list[Block]
    gone: pa.LargeBinaryArray
    """Keys that had a row before and have none after."""
    contradictions: int = 0

    def __len__(self) -> int:
        return sum(map(len, self.blocks)) + len(self.gone)


def held(delta: Delta) -> int:
    """Bytes that it takes in memory, about."""
    blocks = sum(
        block.lines.text.nbytes
        + block.lines.offsets.nbytes
        + 2 * len(block)
        + block.keys.nbytes
        + (block.origins.nbytes if block.origins is not None else 0)
        for block in delta.blocks
    )
    return int(blocks + delta.gone.nbytes)


def fold(changes: Changes, layout: Layout) -> Delta:
    """The effect of a batch of changes. ``Corrupt`` for messages that break the protocol."""
    rows = Rows(changes, layout)
    events, row_of = _events(changes, rows)
    chains = Chains(events)
    alive = chains.final[events.kinds[chains.final] != GONE]
    final_rows = row_of[alive]
    partial = events.kinds[alive] == PARTIAL
    origins = None
    if partial.any():
        which = alive[partial]
        at = final_rows[partial]
        sources = np.repeat(at[:, None], len(layout.attnums), axis=1)
        unknown = rows.unknown[at]
        for column in np.flatnonzero(unknown.any(axis=0)).tolist():
            source = chains.resolve(which, (row_of >= 0) & ~rows.unknown[row_of, column])
            found = source != NONE
            sources[found, column] = row_of[source[found]]
            unknown[:, column] = ~found
        lines = _interleave(partial, rows.new_lines(sources, unknown), rows.new_lines(final_rows[~partial]))
        own = alive.copy()
        own[partial] = chains.roots(which)
        partial[partial] = unknown.any(axis=1)
        origins = events.keys.take(pa.array(own))
    else:
        lines = rows.new_lines(final_rows)
    is_alive = events.kinds[chains.final] != GONE
    block = Block(
        layout.attnums, lines, events.keys.take(pa.array(alive)), chains.expects[is_alive], partial, origins if partial.any() else None
    )
    gone = events.keys.take(pa.array(chains.final[~is_alive & chains.expects]))
    return Delta([block] if len(block) else [], gone, chains.contradictions)


def _events(changes: Changes, rows: Rows) -> tuple[Events, I64]:
    """Events of a batch, and for each the new row that it tells of (-1: none)."""
    import pyarrow.compute as pc

    new_keys, old_keys = rows.new_keys(), rows.old_keys()
    partial = rows.unknown.any(axis=1)
    if not len(rows.old_changes):
        kinds = np.where(partial, PARTIAL, WHOLE).astype(np.uint8)
        links = np.full(len(changes), NONE, np.int64)
        return Events(new_keys, kinds, changes.types != ord("I"), links), np.arange(len(changes), dtype=np.int64)
    both = np.flatnonzero((rows.old_of >= 0) & (rows.new_of >= 0))
    moved = np.zeros(len(changes), np.bool_)
    if len(both):
        same = pc.equal(old_keys.take(pa.array(rows.old_of[both])), new_keys.take(pa.array(rows.new_of[both])))
        moved[both] = ~same.to_numpy(zero_copy_only=False)
    # A change that moves a row is two events: the old key goes, the new one comes.
    last = np.cumsum(1 + moved.astype(np.int64)) - 1
    count = int(last[-1]) + 1
    leaving = last[moved] - 1
    row_of = np.full(count, NONE, np.int64)
    row_of[last] = rows.new_of
    key_of = np.empty(count, np.int64)
    key_of[last] = np.where(rows.new_of >= 0, rows.new_of, rows.old_of + len(new_keys))
    key_of[leaving] = rows.old_of[moved] + len(new_keys)
    kinds = np.full(count, GONE, np.uint8)
    kinds[last[rows.new_changes]] = np.where(partial, PARTIAL, WHOLE)
    expects = np.ones(count, np.bool_)
    expects[last] = (changes.types != ord("I")) & ~moved
    link = np.full(count, NONE, np.int64)
    arriving = last[moved]
    link[arriving] = np.where(kinds[arriving] == PARTIAL, leaving, NONE)
    return Events(pa.concat_arrays([new_keys, old_keys]).take(pa.array(key_of)), kinds, expects, link), row_of


def _interleave(first: Bools, ones: CopyLines, others: CopyLines) -> CopyLines:
    """One line of ``ones`` where ``first`` says so, of ``others`` elsewhere."""
    both = concat_lines([ones, others])
    return both.take(np.where(first, np.cumsum(first) - 1, np.cumsum(~first) - 1 + len(ones)))


def merge(deltas: Sequence[Delta], missing: Missing) -> Delta:
    """The effect of ``deltas`` one after the other. ``missing``: as in ``Catalogs.missing``."""
    if len(deltas) == 1:
        return deltas[0]
    blocks = [block for delta in deltas for block in delta.blocks]
    events, block_of, row_of, origins = _joined(deltas)
    chains = Chains(events)
    alive_keys = events.kinds[chains.final] != GONE
    alive, expects = chains.final[alive_keys], chains.expects[alive_keys]
    whole = events.kinds[alive] == WHOLE
    merged: dict[tuple[int, ...], list[Block]] = {}
    for number, block in enumerate(blocks):
        mine = whole & (block_of[alive] == number)
        if mine.any():
            which = row_of[alive[mine]]
            lines = block.lines if len(which) == len(block) and (np.diff(which) == 1).all() else block.lines.take(which)
            keys = events.keys.take(pa.array(alive[mine]))
            merged.setdefault(block.attnums, []).append(Block(block.attnums, lines, keys, expects[mine], np.zeros(len(lines), np.bool_)))
    if not whole.all():
        patcher = _Patcher(blocks, events, chains, (block_of, row_of), missing)
        for number, block in enumerate(blocks):
            mine = ~whole & (block_of[alive] == number)
            if mine.any():
                which = alive[mine]
                lines, unknown, root = patcher.patch(which, block.attnums)
                keys, before = events.keys.take(pa.array(which)), origins.take(pa.array(root))
                merged.setdefault(block.attnums, []).append(Block(block.attnums, lines, keys, expects[mine], unknown, before))
    gone = events.keys.take(pa.array(chains.final[~alive_keys & chains.expects]))
    contradictions = chains.contradictions + sum(delta.contradictions for delta in deltas)
    return Delta([_concat(some) for group in merged.values() for some in _gathered(group)], gone, contradictions)


def _joined(deltas: Sequence[Delta]) -> tuple[Events, I64, I64, pa.LargeBinaryArray]:
    """All that deltas say, as events; for each its block and row (-1: a key that is gone), and the key of its row before its delta."""
    import pyarrow.compute as pc

    keys: list[pa.LargeBinaryArray] = []
    origins: list[pa.LargeBinaryArray] = []
    kinds, expects, block_of, row_of, delta_of = [], [], [], [], []
    number = 0
    moved_any = False
    for position, delta in enumerate(deltas):
        for block in delta.blocks:
            keys.append(block.keys)
            origins.append(block.keys if block.origins is None else block.origins)
            moved_any |= block.origins is not None
            kinds.append(np.where(block.partial, PARTIAL, WHOLE).astype(np.uint8))
            expects.append(block.expects)
            block_of.append(np.full(len(block), number, np.int64))
            row_of.append(np.arange(len(block), dtype=np.int64))
            delta_of.append(np.full(len(block), position, np.int64))
            number += 1
        keys.append(delta.gone)
        origins.append(delta.gone)
        kinds.append(np.full(len(delta.gone), GONE, np.uint8))
        expects.append(np.ones(len(delta.gone), np.bool_))
        block_of.append(np.full(len(delta.gone), NONE, np.int64))
        row_of.append(np.full(len(delta.gone), NONE, np.int64))
        delta_of.append(np.full(len(delta.gone), position, np.int64))
    all_keys, all_origins = pa.concat_arrays(keys), pa.concat_arrays(origins)
    all_kinds = np.concatenate(kinds)
    link = np.full(len(all_kinds), NONE, np.int64)
    if moved_any:
        moved = pc.not_equal(all_keys, all_origins).to_numpy(zero_copy_only=False) & (all_kinds == PARTIAL)
        link[moved] = _links(all_keys, all_origins, np.flatnonzero(moved), np.concatenate(delta_of))
    events = Events(all_keys, all_kinds, np.concatenate(expects), link)
    return events, np.concatenate(block_of), np.concatenate(row_of), all_origins


def _links(keys: pa.LargeBinaryArray, origins: pa.LargeBinaryArray, moved: I64, delta_of: I64) -> I64:
    """For each moved row: the last event of its origin in the deltas before its own; ELSEWHERE when there is none."""
    import pyarrow.compute as pc

    wanted = origins.take(pa.array(moved))
    index = pc.index_in(keys, value_set=pc.unique(wanted)).fill_null(-1).to_numpy().astype(np.int64)
    events = np.flatnonzero(index >= 0)
    sorted_events = np.sort((index[events] << 32) | events)
    place = pc.index_in(wanted, value_set=pc.unique(wanted)).to_numpy().astype(np.int64)
    first_of_delta = np.searchsorted(delta_of, delta_of[moved])
    at = np.searchsorted(sorted_events, (place << 32) | first_of_delta) - 1
    found = sorted_events[np.maximum(at, 0)] if len(sorted_events) else np.full(len(moved), -1, np.int64)
    return np.where((at >= 0) & (found >> 32 == place), found & 0xFFFFFFFF, ELSEWHERE)


class _Patcher:
    """Fills unknown values of partial rows from earlier rows of the same life."""

    def __init__(self, blocks: list[Block], events: Events, chains: Chains, places: tuple[I64, I64], missing: Missing) -> None:
        self._events, self._chains, self._missing = events, chains, missing
        self._block_of, row_of = places
        self._attnums = [block.attnums for block in blocks]
        partial = chains.final[events.kinds[chains.final] == PARTIAL]
        self._members = chains.members(partial) & (events.kinds != GONE)
        self._local = np.full(len(row_of), NONE, np.int64)
        texts, starts, ends, self._kinds, self._first = [], [], [], [], []
        size = slices = 0
        for number, block in enumerate(blocks):
            mine = np.flatnonzero(self._members & (self._block_of == number))
            self._local[mine] = np.arange(len(mine), dtype=np.int64)
            lines = block.lines.take(row_of[mine])
            found = split_columns(lines.text, len(block.attnums))
            texts.append(lines.text)
            starts.append(found.starts.ravel() + size)
            ends.append(found.ends.ravel() + size)
            self._kinds.append(found.kinds)
            self._first.append(slices)
            size += len(lines.text)
            slices += found.starts.size
        self._constants = {attnum: slices + place for place, attnum in enumerate(missing)}
        for value in missing.values():
            text = np.frombuffer((value or b"") + b"\n", np.uint8)
            texts.append(text)
            starts.append(np.array([size], np.int64))
            ends.append(np.array([size + len(text) - 1], np.int64))
            size += len(text)
        self._text, self._starts, self._ends = np.concatenate(texts), np.concatenate(starts), np.concatenate(ends)

    def patch(self, which: I64, attnums: tuple[int, ...]) -> tuple[CopyLines, Bools, I64]:
        """Lines with these columns for partial rows (events); where unknown values remain; the first event of each row's life."""
        pick = np.zeros((len(which), len(attnums)), np.int64)
        kinds = np.empty((len(which), len(attnums)), np.uint8)
        for column, attnum in enumerate(attnums):
            source = self._chains.resolve(which, self._knows(attnum))
            kinds[:, column] = UNCHANGED
            for number, theirs in enumerate(self._attnums):
                rows = np.flatnonzero((source != NONE) & (self._block_of[source] == number))
                if attnum in theirs:
                    position, local = theirs.index(attnum), self._local[source[rows]]
                    pick[rows, column] = self._first[number] + local * len(theirs) + position
                    kinds[rows, column] = self._kinds[number][local, position]
                else:  # the column is younger than that row
                    value = self._missing.get(attnum)
                    pick[rows, column] = self._constants.get(attnum, 0)
                    kinds[rows, column] = NULL if value is None else VALUE
        lines = assemble(Picked(self._text, self._starts, self._ends, pick, kinds), escaped=True)
        return lines, (kinds == UNCHANGED).any(axis=1), self._chains.roots(which)

    def _knows(self, attnum: int) -> Bools:
        knows: Bools = self._members.copy()
        for number, theirs in enumerate(self._attnums):
            if attnum in theirs:
                mine = np.flatnonzero(self._members & (self._block_of == number))
                knows[mine] = self._kinds[number][:, theirs.index(attnum)] != UNCHANGED
        return knows


def _gathered(group: list[Block]) -> Iterator[list[Block]]:
    """Small blocks together, so that there are never many; large ones are not copied again."""
    some: list[Block] = []
    size = 0
    for block in group:
        if some and size + len(block.lines.text) > BLOCK_BYTES:
            yield some
            some, size = [], 0
        some.append(block)
        size += len(block.lines.text)
    yield some


def _concat(group: list[Block]) -> Block:
    if len(group) == 1:
        return group[0]
    origins = None
    if any(block.origins is not None for block in group):
        origins = pa.concat_arrays([block.keys if block.origins is None else block.origins for block in group])
    return Block(
        group[0].attnums,
        concat_lines([block.lines for block in group]),
        pa.concat_arrays([block.keys for block in group]),
        np.concatenate([block.expects for block in group]),
        np.concatenate([block.partial for block in group]),
        origins,
    )
