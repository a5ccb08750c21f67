"""How much of a journal is asked for before its turn. Pure.

Requests take time, so many of them are under way at once where segments are small; where they are large, few. Nobody knows a segment's size
before it has come: each request asks for a certain number of bytes at most, and all that is asked for together stays within a bound. A
segment that has more is read when its turn has come.
"""

from __future__ import annotations

MOST_ASKED = 1 << 24
"""Stored bytes that are asked for at once. A segment has more only when one entry is that large, and is looked at before it is read."""
_LEAST_ASKED = 1 << 20
_RAW_FOR_STORED = 6.25
"""Raw bytes that a segment may have to be opened before its turn, for each byte that was asked for."""
_RAW_ROOM = 1 << 26
"""Raw bytes that all segments under way have together, if they are like those before."""
_WIDER = 21
"""As many small segments are asked for as this, in the room of one large one."""


class ReadingAhead:
    """Learns from the segments that come. Room for ``ahead`` + 1 segments of ``MOST_ASKED`` is never exceeded; 0: one after the other."""

    def __init__(self, ahead: int) -> None:
        self._least, self._most = 1 + ahead, 1 + ahead * _WIDER
        self._room = self._least * MOST_ASKED
        self._level, self._raw = float(MOST_ASKED), float(_RAW_ROOM)

    def asks(self, requests: int, asked: int) -> int:
        """How many bytes of one more segment to ask for while ``requests`` for ``asked`` bytes are under way; 0: none yet."""
        wanted = min(MOST_ASKED, max(_LEAST_ASKED, int(self._level)))
        most = min(self._most, max(self._least, int(_RAW_ROOM / max(1.0, self._raw))))
        if requests and (requests >= most or asked + wanted > self._room):
            return 0
        return wanted

    def met(self, stored: int, raw: int) -> None:
        """A segment came that has so many bytes. A large one counts for a while: others like it will follow."""
        self._raw = max(float(raw), self._raw * 7 / 8)
        self._level = max(2.0 * max(stored, raw / _RAW_FOR_STORED), self._level * 7 / 8)


def fits(raw: int, asked: int) -> bool:
    """Whether a segment with ``raw`` bytes may be opened before its turn when ``asked`` bytes of it were asked for."""
    return raw <= asked * _RAW_FOR_STORED
