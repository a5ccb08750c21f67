"""How much was delivered to the event loop and not yet taken by the journal's buffer."""

from __future__ import annotations


class QueuedBytes:
    """Counts bytes that were delivered and not yet taken, and says when there are too many.

    The receiving thread calls ``delivered`` and ``must_wait``, the event loop ``taken``: each counter has one writer.
    """

    def __init__(self, limit: int) -> None:
        """``limit``: from so many bytes on, nothing more is to be delivered."""
        self._limit = limit
        self._delivered = 0
        self._taken = 0
        self._awaited = False

    @property
    def full(self) -> bool:
        """The limit is reached."""
        return self._delivered - self._taken >= self._limit

    def delivered(self, size: int) -> None:
        """``size`` bytes were delivered."""
        self._delivered += size

    def must_wait(self) -> bool:
        """Return whether the queue is full. If it is, the next ``taken`` says that somebody waits for it."""
        # Set before the counters are compared: bytes that are taken in between must not go unnoticed.
        self._awaited = True
        self._awaited = self.full
        return self._awaited

    def taken(self, size: int) -> bool:
        """``size`` bytes were taken. Return whether the thread waits for that."""
        self._taken += size
        return self._awaited
