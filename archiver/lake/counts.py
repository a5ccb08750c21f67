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


MOST_CELLS = 4_000_000
COARSER = (60, 3600)
"""Seconds that a cell stands for where there would be more."""


class Lane(NamedTuple):
    """A table of a database, or a kind of a cluster in one namespace: what somebody may see or not."""

    source: str
    name: str
    """As records of history files have it."""
    namespace: str = ""
    """Of objects; empty for those of the cluster, and for tables."""


class Cells(NamedTuple):
    """Seconds since 1970 in order, each once, and how many changes and deletions each had."""

    seconds: _Numbers
    changes: _Numbers
    deletions: _Numbers

    def part(self, since: int, until: int) -> Cells:
        """Those from ``since`` to before ``until``."""
        first, last = np.searchsorted(self.seconds, (since, until)).tolist()
        return Cells(*(each[first:last] for each in self))


class Counts:
    """Cells by lane. Where there are more than ``most``, times are kept to the minute, and then to the hour."""

    def __init__(self, most: int = MOST_CELLS) -> None:
        self.resolution = 1
        """Seconds."""
        self.lanes: dict[Lane, Cells] = {}
        self._most, self._cells = most, 0

    @property
    def cells(self) -> int:
        """How many there are."""
        return self._cells

    def add(self, lane: Lane, *several: Cells) -> None:
        """Count these too; in any order, seconds may stand there twice."""
        before = self.lanes.get(lane)
        found = summed([*([before] if before else []), *(_coarse(cells, self.resolution) for cells in several)])
        self._cells += len(found.seconds) - (len(before.seconds) if before else 0)
        self.lanes[lane] = found
        for resolution in COARSER:
            if self._cells > self._most:
                self.coarsen(resolution)

    def coarsen(self, resolution: int) -> None:
        """Keep times to so many seconds, if they are kept finer."""
        if self.resolution < resolution:
            self.resolution = resolution
            self.lanes = {each: summed([_coarse(known, resolution)]) for each, known in self.lanes.items()}
            self._cells = sum(len(each.seconds) for each in self.lanes.values())


def merged(several: Iterable[Counts]) -> Counts:
    """All of them as one."""
    whole, lanes = Counts(), dict[Lane, list[Cells]]()
    for each in several:
        whole.coarsen(each.resolution)
        for lane, cells in each.lanes.items():
            lanes.setdefault(lane, []).append(cells)
    for lane, found in lanes.items():
        whole.add(lane, *found)
    return whole


def same(one: Counts, other: Counts) -> bool:
    """Whether both say the same."""
    return (
        one.resolution == other.resolution
        and one.lanes.keys() == other.lanes.keys()
        and all(np.array_equal(mine, theirs) for lane in one.lanes for mine, theirs in zip(one.lanes[lane], other.lanes[lane], strict=True))
    )


def bars(several: Iterable[Cells], since: int, until: int, step: int) -> list[tuple[int, int, int]]:
    """Number of the bar, changes, deletions, for each bar that has any; the first begins at ``since``."""
    parts = [each.part(since, until) for each in several]
    found = summed([Cells((part.seconds - since) // step, part.changes, part.deletions) for part in parts])
    return list(zip(*(each.tolist() for each in found), strict=True))


def step_for(seconds: int, bars: int, resolution: int) -> int:
    """The smallest step that draws ``seconds`` in no more than ``bars``, and is not finer than what is known."""
    fitting = (step for step in STEPS if step >= resolution and -(-seconds // step) <= bars)
    return next(fitting, -(-seconds // bars))


def _coarse(cells: Cells, resolution: int) -> Cells:
    return cells if resolution == 1 else cells._replace(seconds=cells.seconds // resolution * resolution)


def summed(several: list[Cells]) -> Cells:
    """All of them as one."""
    seconds = np.concatenate([each.seconds for each in several])
    unique, place = np.unique(seconds, return_inverse=True)
    changes, deletions = (
        np.bincount(place, np.concatenate([each[field] for each in several]), len(unique)).astype(np.int64) for field in (1, 2)
    )
    return Cells(unique, changes, deletions)
