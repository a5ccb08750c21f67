"""What a history file counts to, beside it: so that who draws its changes reads some kilobytes of it and decodes no record. Pure.

JSON, as one zstd frame: lanes with the seconds that had changes, each as its distance from the one before. A reader passes over fields that
it does not know; what changes the meaning of others is a new format, and then the file itself is counted.
"""

from __future__ import annotations

import sys

import msgspec
import numpy as np

from archiver.errors import Corrupt
from archiver.journal.remedies import HISTORY_ANEW
from archiver.lake.counts import Cells, Counts, Lane
from archiver.untrusted import Unreadable, decode_untrusted

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FORMAT = 1
MOST_BYTES = 8 << 20
"""Of JSON, and as stored. What is more is not written: then the history file itself is counted."""
_LEVEL = 3
_FAR = 1 << 44
"""Seconds: what lies behind is no time that a source can tell."""


class _Lane(msgspec.Struct, frozen=True):
    name: str
    namespace: str
    seconds: list[int]
    """The first one, then the distance of each from the one before."""
    changes: list[int]
    deletions: list[int]


class _File(msgspec.Struct, frozen=True):
    format: int
    resolution: int
    """Seconds that one cell stands for."""
    lanes: list[_Lane]


def to_counts_file(counts: Counts) -> bytes | None:
    """The bytes for ``counts`` of one source; ``None``: they would be too many."""
    lanes = [
        _Lane(lane.name, lane.namespace, np.diff(cells.seconds, prepend=0).tolist(), cells.changes.tolist(), cells.deletions.tolist())
        for lane, cells in sorted(counts.lanes.items())
    ]
    body = msgspec.json.encode(_File(FORMAT, counts.resolution, lanes))
    return zstd.compress(body, _LEVEL) if len(body) <= MOST_BYTES else None


def from_counts_file(key: str, data: bytes, source: str) -> Counts | None:
    """The counts under ``key``; ``None`` for a format that is not known here. ``Corrupt`` when they cannot be read."""
    try:
        decompressor = zstd.ZstdDecompressor()
        body = decompressor.decompress(data, MOST_BYTES + 1)
        form = decode_untrusted(body, _Form, most=MOST_BYTES)
        if form.format != FORMAT:
            return None
        found = decode_untrusted(body, _File, most=MOST_BYTES)
        counts = Counts()
        counts.coarsen(found.resolution)
        for lane in found.lanes:
            numbers = [np.array(each, np.int64) for each in (lane.seconds, lane.changes, lane.deletions)]
            cells = Cells(np.cumsum(numbers[0]), numbers[1], numbers[2])
            if len({len(each) for each in cells}) > 1 or any(((each < -_FAR) | (each > _FAR)).any() for each in (*numbers, *cells)):
                raise _unreadable(key)
            counts.add(Lane(source, lane.name, lane.namespace), cells)
    except (zstd.ZstdError, EOFError, Unreadable, OverflowError) as error:
        raise _unreadable(key) from error
    return counts


class _Form(msgspec.Struct, frozen=True):
    format: int = 0


def _unreadable(key: str) -> Corrupt:
    return Corrupt(f"counts {key} cannot be read", hint=HISTORY_ANEW)
