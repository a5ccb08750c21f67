"""How many changes each table or kind had in each second, and the same in wider steps. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_Numbers = npt.NDArray[np.int64]

CHANGES = frozenset(("insert", "update", "moved", "delete", "truncate", "drop", "added", "modified", "deleted", "absent"))
"""Operations that are counted, in small letters. States that are read anew are none, nor are definitions that change."""
DELETIONS = frozenset(("delete", "truncate", "drop", "deleted", "absent"))
STEPS = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2419200,
)  # fmt: skip
"""Seconds that one bar may stand for."""


class Lane(NamedTuple):
    """What is drawn in one line: a table of a database, or a kind of a cluster."""

    source: str
    name: str


class Cells(NamedTuple):
    """Seconds since 1970 in order, each once, and how many changes and deletions each had."""

    seconds: _Numbers
    changes: _Numbers
    deletions: _Numbers

    def part(self, since: int, until: int) -> Cells:
        """Those from ``since`` to before ``until``."""
        first, last = np.searchsorted(self.seconds, (since, until)).tolist()
        return Cells(*(each[first:last] for each in self))

    def bars(self, since: int, until: int, step: int) -> list[tuple[int, int, int]]:
        """Number of the bar, changes, deletions, for each bar that has any; the first begins at ``since``."""
        part = self.part(since, until)
        summed = _summed([Cells((part.seconds - since) // step, part.changes, part.deletions)])
        return list(zip(*(each.tolist() for each in summed), strict=True))


class Counts:
    """Cells by lane. Where there are more than ``most``, times are kept to the minute, and then to the hour."""

    def __init__(self, most: int = 4_000_000) -> None:
        self.resolution = 1
        """Seconds."""
        self.lanes: dict[Lane, Cells] = {}
        self._most, self._cells = most, 0

    def add(self, lane: Lane, cells: Cells) -> None:
        """Count these too; in any order, seconds may stand there twice."""
        before = self.lanes.get(lane)
        found = _summed([*([before] if before else []), _coarse(cells, self.resolution)])
        self._cells += len(found.seconds) - (len(before.seconds) if before else 0)
        self.lanes[lane] = found
        for resolution in (60, 3600):
            if self._cells > self._most and self.resolution < resolution:
                self.resolution = resolution
                self.lanes = {each: _summed([_coarse(known, resolution)]) for each, known in self.lanes.items()}
                self._cells = sum(len(each.seconds) for each in self.lanes.values())


def merged(several: Iterable[Counts]) -> Counts:
    """All of them as one."""
    whole = Counts()
    for each in several:
        whole.resolution = max(whole.resolution, each.resolution)
    for each in several:
        for lane, cells in each.lanes.items():
            whole.add(lane, cells)
    return whole


def step_for(seconds: int, bars: int, resolution: int) -> int:
    """The smallest step that draws ``seconds`` in no more than ``bars``, and is not finer than what is known."""
    fitting = (step for step in STEPS if step >= resolution and -(-seconds // step) <= bars)
    return next(fitting, -(-seconds // bars))


def _coarse(cells: Cells, resolution: int) -> Cells:
    return cells if resolution == 1 else cells._replace(seconds=cells.seconds // resolution * resolution)


def _summed(several: list[Cells]) -> Cells:
    seconds = np.concatenate([each.seconds for each in several])
    unique, place = np.unique(seconds, return_inverse=True)
    changes, deletions = (
        np.bincount(place, np.concatenate([each[field] for each in several]), len(unique)).astype(np.int64) for field in (1, 2)
    )
    return Cells(unique, changes, deletions)
