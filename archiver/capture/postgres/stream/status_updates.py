"""The answering side of a stream: standby status updates, put on the connection when they are due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.postgres.replication_messages import status_update

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

    from archiver.capture.postgres.stream.feedback import Feedback
    from archiver.clock import Clock

UNSENT_SECONDS = 0.02
"""An update that the network did not take is tried again this soon."""


class StatusUpdates:
    """Sends the updates that ``Feedback`` finds due, and remembers one that the network has not taken yet."""

    def __init__(self, pgconn: PGconn, feedback: Feedback, clock: Clock) -> None:
        self._pgconn = pgconn
        self._feedback = feedback
        self._clock = clock
        self._unsent = False

    @property
    def acknowledged(self) -> int:
        """Newest position that was confirmed to the server."""
        return self._feedback.acknowledged

    def durable(self, position: int) -> bool:
        """Everything before ``position`` is in the journal. Return whether that is news. Called from the event loop."""
        if position <= self._feedback.durable:
            return False
        self._feedback.durable = position
        return True

    def ask(self) -> None:
        """The server wants an update at once."""
        self._feedback.ask()

    def wait(self, now: float) -> float:
        """Seconds until ``send`` is to be called again, if nothing happens meanwhile."""
        seconds = self._feedback.wait(now)
        return min(seconds, UNSENT_SECONDS) if self._unsent else seconds

    def send(self, received: int, now: float) -> None:
        """Send an update if one is due. ``received``: resume position of everything that was handed over. Never blocks."""
        if self._unsent:
            self._unsent = self._pgconn.flush() == 1
            if self._unsent:
                return
        position = self._feedback.due(received, now)
        if position is None:
            return
        update = status_update(position, self._clock.now(), reply=self._feedback.by_timer(now))
        if self._pgconn.put_copy_data(update) == 1:
            self._feedback.sent(position, now)
        self._unsent = self._pgconn.flush() == 1
