"""When a stream that fails has failed for so long that the journal must say so. Pure: the caller tells the time."""

from __future__ import annotations

_TOLERATED_SECONDS = 15.0


class Silence:
    """The attempts of one stream since it last heard a word. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._since: float | None = None
        self.reason = ""
        """Why the newest attempt failed; empty while nothing fails."""

    def failed(self, reason: str, now: float, *, denied: bool) -> bool:
        """Another attempt failed: whether nothing is known of the stream by now. A right that is missing does not come back by waiting;
        everything else may be over in a moment.
        """
        self.reason = reason
        if self._since is None:
            self._since = now
        return denied or now - self._since >= _TOLERATED_SECONDS

    def broken(self) -> None:
        """An event, a bookmark or a complete list arrived."""
        self._since, self.reason = None, ""
