"""A failure that comes again at the same place, until it is taken for one that stays. Pure."""

from __future__ import annotations


class RepeatedFailure:
    """``text`` is empty until the same failure was noted ``limit`` times in a row at one position."""

    def __init__(self, limit: int) -> None:
        self._limit, self._count = limit, 0
        self._last = ("", "")
        self.text = ""

    def note(self, text: str, position: str) -> None:
        """One attempt ended with ``text``; the journal stood at ``position``."""
        self._count = self._count + 1 if (text, position) == self._last else 1
        self._last = (text, position)
        self.text = text if self._count >= self._limit else ""
