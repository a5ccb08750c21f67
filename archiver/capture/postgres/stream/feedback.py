"""When a standby status update is due and what it may acknowledge. Pure.

Acknowledged is min(durable, received), never less than before: a server accepts an acknowledgement of what it never sent and then never
sends it, silently.
"""

from __future__ import annotations


class Feedback:
    """Positions of one stream. Times are monotonic seconds."""

    def __init__(self, start: int, interval_seconds: float, now: float, *, durable: int = 0) -> None:
        """``start``: where replication starts, which is durable. ``interval_seconds``: at most a third of ``wal_sender_timeout``.

        ``durable``: how far the journal has it already, if that is further.
        """
        self.durable = max(start, durable)
        """Everything before it is in the journal. Set from the event loop's thread."""
        self.acknowledged = start
        self._interval = interval_seconds
        self._next = now
        self._asked = False

    def ask(self) -> None:
        """The server wants an answer at once."""
        self._asked = True

    def wait(self, now: float) -> float:
        """Seconds until the next update is due by the timer; 0 when it is."""
        return max(0.0, self._next - now)

    def due(self, received: int, now: float) -> int | None:
        """The position to report now, or ``None`` when nothing is due. ``received``: resume position of what was handed over."""
        position = max(self.acknowledged, min(self.durable, received))
        if position == self.acknowledged and not self._asked and now < self._next:
            return None
        return position

    def by_timer(self, now: float) -> bool:
        """The update is due by time alone: a good moment to ask whether the server is still there."""
        return now >= self._next

    def sent(self, position: int, now: float) -> None:
        """``position`` was reported."""
        self.acknowledged = position
        self._next = now + self._interval
        self._asked = False
