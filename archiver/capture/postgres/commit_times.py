"""Whether the source's clock was set back, by the commit times that it sends. Pure."""

from __future__ import annotations

from archiver.clock import STEP_SECONDS


class CommitTimes:
    """The newest commit time so far, and whether commits are older than it. Microseconds since 1970."""

    def __init__(self) -> None:
        self._newest = 0
        self._behind = False

    def set_back(self, changed: int, journaled: int) -> int:
        """By how much commits are older than those before them, negative; told once for each time that the clock was set back, else 0.

        ``changed``: newest commit time of a run; 0: it has none. ``journaled``: the newest that the journal has.
        """
        if not changed:
            return 0
        newest = max(self._newest, journaled)
        behind = changed < newest - int(STEP_SECONDS * 1_000_000)
        step = changed - newest if behind and not self._behind else 0
        self._behind, self._newest = behind, max(newest, changed)
        return step
