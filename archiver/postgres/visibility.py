"""``pg_current_snapshot()`` texts: which transactions a snapshot sees (manual 9.27.8)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from archiver.errors import Corrupt
from archiver.postgres.lsn import parse_lsn, parse_position
from archiver.postgres.records import Look, Schema, Snapshot

_XID = r"[0-9]{1,20}"
_TEXT = re.compile(rf"({_XID}):({_XID}):((?:{_XID}(?:,{_XID})*)?)")
_HALF = 1 << 31


class Committed(NamedTuple):
    """A transaction that committed."""

    xid: int
    """The low 32 bits, as frames have them."""
    commit_lsn: int
    """Where its commit record starts."""


@dataclass(frozen=True, slots=True)
class Visible:
    """A snapshot's view of the transactions of its own stream.

    Frames have the low 32 bits of a transaction's id, and those wrap: what ran half a circle later looks older than the snapshot. So the
    log's order decides first, and ids are compared only between ``floor`` and ``lsn``, which lie as near as transactions live long.
    """

    xmin: int
    xmax: int
    running: tuple[int, ...]
    lsn: int
    """What commits at or behind it is not seen."""
    floor: int = 0
    """What commits before it is seen; 0: not known, and ids alone tell."""

    @classmethod
    def of(cls, record: Schema | Snapshot) -> Visible:
        """What an entry of the journal has. ``Corrupt`` when its ``visible`` is no snapshot."""
        return cls.parse(record.visible, lsn=parse_lsn(record.lsn), floor=parse_position(record.floor))

    @classmethod
    def of_look(cls, look: Look) -> Visible:
        """What a look surely saw: of one without a snapshot, what its floor says alone. ``Corrupt`` as ``of``."""
        floor = parse_position(look.floor)
        if not look.visible or not look.end:
            return cls(0, 0, (), 0, floor)
        return cls.parse(look.visible, lsn=parse_lsn(look.end), floor=floor)

    @classmethod
    def parse(cls, text: str, *, lsn: int, floor: int = 0) -> Visible:
        """From ``xmin:xmax:xip,…``. ``Corrupt`` for anything else."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise Corrupt(f"{text!r} is not a snapshot")
        return cls(int(match[1]), int(match[2]), tuple(int(xid) for xid in match[3].split(",") if xid), lsn, floor)

    def sees(self, xid: int, commit_lsn: int) -> bool:
        """Whether the transaction had committed when the snapshot was taken; it is one that did commit."""
        return bool(self.sees_all(np.array([xid], np.int64), np.array([commit_lsn], np.uint64))[0])

    def sees_all(self, xids: npt.NDArray[np.int64], commit_lsns: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """``sees`` of many."""
        ahead = (xids - (self.xmax & 0xFFFFFFFF)) & 0xFFFFFFFF
        running = np.array([xid & 0xFFFFFFFF for xid in self.running], np.int64)
        by_id = (ahead >= _HALF) & ~np.isin(xids & 0xFFFFFFFF, running)
        return (commit_lsns < np.uint64(self.floor)) | ((commit_lsns < np.uint64(self.lsn)) & by_id)
