"""Many sorted files -> few. Pure: which are merged, and in what order their records come.

A run is what is sorted as a whole: each file that a step wrote, of level 0; all files of one merge, of one level more than the runs that
were merged. When there are ``FAN`` of a level they become one of the next: a record is written again once for each level, and a question
meets at most ``FAN`` - 1 runs of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pyarrow as pa

FAN = 8
MOST_RUNS = 32
"""Runs that are merged at once: a row group of each is held."""
_PATH = re.compile(r"(?:l([0-9]+)-)?([0-9a-f]{32})-[0-9]{6}\.parquet")
_ORDER = ("name", "key", "position")


def path_of(level: int, identity: str, number: int) -> str:
    """Path of file ``number`` of a run."""
    return f"l{level}-{identity}-{number:06d}.parquet" if level else f"{identity}-{number:06d}.parquet"


def to_merge(paths: Iterable[str], *, fan: int = FAN) -> tuple[int, list[list[str]]]:
    """The level and the runs, each with its files in order, that should become one; none when none should. Files of other writers stay
    as they are.
    """
    levels: dict[int, dict[str, list[str]]] = {}
    for path in sorted(paths):
        if match := _PATH.fullmatch(path):
            level = int(match[1] or 0)
            levels.setdefault(level, {}).setdefault(match[2] if level else path, []).append(path)
    for level, runs in sorted(levels.items()):
        if len(runs) >= fan:
            return level, list(runs.values())[:MOST_RUNS]
    return 0, []


class SortedMerge:
    """Records of several sorted inputs in one order. The caller hands in pieces as they are needed; one piece of each is held."""

    def __init__(self, inputs: int) -> None:
        self._pieces: list[pa.Table | None] = [None] * inputs
        self._ended = [False] * inputs

    def needed(self) -> list[int]:
        """Inputs whose next piece is needed before more can come."""
        return [number for number, piece in enumerate(self._pieces) if piece is None and not self._ended[number]]

    def add(self, number: int, piece: pa.Table | None) -> None:
        """The next piece of an input, which is not empty; ``None``: it has ended."""
        self._pieces[number] = piece
        self._ended[number] = piece is None

    def take(self) -> list[pa.Table]:
        """Records that come next, in no order among themselves; none when all inputs have ended. Nothing may be needed."""
        held = [(number, piece) for number, piece in enumerate(self._pieces) if piece is not None]
        if not held:
            return []
        last = min(_at(piece, piece.num_rows - 1) for _, piece in held)
        found = []
        for number, piece in held:
            count = _up_to(piece, last)
            if count:
                found.append(piece.slice(0, count))
                self._pieces[number] = piece.slice(count) if count < piece.num_rows else None
        return found


def _at(piece: pa.Table, index: int) -> tuple[bytes, ...]:
    """As Arrow orders texts: by their bytes."""
    return tuple(str(piece[name][index].as_py()).encode() for name in _ORDER)


def _up_to(piece: pa.Table, last: tuple[bytes, ...]) -> int:
    low, high = 0, piece.num_rows
    while low < high:
        middle = (low + high) // 2
        if _at(piece, middle) <= last:
            low = middle + 1
        else:
            high = middle
    return low
