"""``pg_current_snapshot()`` texts: which transactions a snapshot sees (manual 9.27.8)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archiver.errors import Corrupt

_TEXT = re.compile(r"(\d+):(\d+):((?:\d+(?:,\d+)*)?)")
_HALF = 1 << 31


@dataclass(frozen=True, slots=True)
class Visible:
    """A snapshot's view. Frames have the low 32 bits of a transaction's id, compared in a circle as the server does.

    So answers hold for transactions within two thousand million ids of the snapshot, which is what the server itself allows.
    """

    xmin: int
    xmax: int
    running: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Visible:
        """From ``xmin:xmax:xip,…``. ``Corrupt`` for anything else."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise Corrupt(f"{text!r} is not a snapshot")
        return cls(int(match[1]), int(match[2]), tuple(int(xid) for xid in match[3].split(",") if xid))

    def sees(self, xid: int) -> bool:
        """Whether the transaction had committed when the snapshot was taken; it is one that did commit."""
        return bool(self.sees_all(np.array([xid], np.int64))[0])

    def sees_all(self, xids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """``sees`` of many."""
        ahead = (xids - (self.xmax & 0xFFFFFFFF)) & 0xFFFFFFFF
        running = np.array([xid & 0xFFFFFFFF for xid in self.running], np.int64)
        return (ahead >= _HALF) & ~np.isin(xids & 0xFFFFFFFF, running)
