"""Status updates go out when they are due, once."""

from __future__ import annotations

import struct

from archiver.capture.postgres.stream.feedback import Feedback
from archiver.capture.postgres.stream.status_updates import UNSENT_SECONDS, StatusUpdates
from archiver.clock import SystemClock
from tests.unit.capture.postgres.stream.connection import ScriptedConnection


def updates(connection: ScriptedConnection) -> StatusUpdates:
    return StatusUpdates(connection.pgconn, Feedback(100, 10.0, now=0.0), SystemClock())


def positions(connection: ScriptedConnection) -> list[int]:
    return [struct.unpack(">cQQQqB", message)[1] for message in connection.sent]


def test_what_is_durable_is_sent_once_and_acknowledged() -> None:
    """An advance goes out at once; after it the timer rules."""
    with ScriptedConnection() as connection:
        made = updates(connection)
        made.send(500, 0.0)
        assert made.durable(300)
        assert not made.durable(300)
        assert not made.durable(200)
        made.send(500, 1.0)
        made.send(500, 2.0)
        assert positions(connection) == [100, 300]
        assert made.acknowledged == 300
        assert made.wait(2.0) == 9.0


def test_nothing_more_is_sent_while_the_network_takes_nothing() -> None:
    """An update that could not be flushed is flushed soon, and the next one comes after it."""
    with ScriptedConnection() as connection:
        made = updates(connection)
        connection.blocked = True
        made.send(500, 0.0)
        assert made.wait(0.0) == UNSENT_SECONDS
        made.durable(300)
        made.send(500, 0.1)
        assert positions(connection) == [100]
        connection.blocked = False
        made.send(500, 0.2)
        assert positions(connection) == [100, 300]
        assert made.wait(0.2) == 10.0


def test_a_question_is_answered() -> None:
    """The server asks: the same position is sent again."""
    with ScriptedConnection() as connection:
        made = updates(connection)
        made.send(100, 0.0)
        made.ask()
        made.send(100, 0.1)
        assert positions(connection) == [100, 100]
