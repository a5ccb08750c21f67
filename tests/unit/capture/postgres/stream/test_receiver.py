"""The receiving thread, with a connection whose server the test plays."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from archiver.capture.postgres.session.oversized import BufferWatch, Oversized
from archiver.capture.postgres.stream.feedback import Feedback
from archiver.capture.postgres.stream.packer import Packer
from archiver.capture.postgres.stream.receiver import Receiver
from archiver.clock import SystemClock
from archiver.errors import ArchiverError, Bug, Unavailable
from archiver.journal.entry import Kind, Run
from tests.unit.capture.postgres.stream.connection import BEGINNING, END, ScriptedConnection
from tests.unit.postgres.frames import begin, commit, insert

ONE = [begin(100), insert(), commit(100, 120)]
TWO = [begin(200), insert(), commit(200, 220)]


class Received:
    """A receiver, what it delivered, and how it ended."""

    def __init__(self, connection: ScriptedConnection, queue_bytes: int, answered: tuple[bytes, ...]) -> None:
        self.connection = connection
        self.runs: list[Run] = []
        self.ended = threading.Event()
        self.error: ArchiverError | None = None
        buffer = BufferWatch(1 << 26, lambda: connection.memory, lambda _: None)
        connection.answer(*answered)
        self.receiver = Receiver(
            connection.pgconn,
            Packer("db", 10),
            Feedback(10, 10.0, time.monotonic()),
            SystemClock(),
            queue_bytes=queue_bytes,
            heartbeat_seconds=60.0,
            synchronous=False,
            buffer=buffer,
            deliver=self.runs.append,
            ended=self._end,
        )
        self.receiver.start()

    def _end(self, error: ArchiverError | None) -> None:
        self.error = error
        self.ended.set()

    def frames(self) -> list[bytes]:
        return [body for run in self.runs for body in run.bodies()]

    def acknowledged(self) -> list[int]:
        return [struct.unpack(">cQQQqB", message)[1] for message in self.connection.sent]

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.001)


class Start(Protocol):
    def __call__(self, queue_bytes: int, *answered: bytes) -> Received: ...


@pytest.fixture
def connection() -> Iterator[ScriptedConnection]:
    with ScriptedConnection() as connection:
        yield connection


@pytest.fixture
def start(connection: ScriptedConnection) -> Iterator[Start]:
    made: list[Received] = []

    def begin_receiving(queue_bytes: int, *answered: bytes) -> Received:
        made.append(Received(connection, queue_bytes, answered))
        return made[-1]

    yield begin_receiving
    for each in made:
        each.receiver.abort()
        assert each.receiver.join(10)


def test_what_is_durable_is_acknowledged_and_the_stream_ends_in_order(start: Start) -> None:
    """Received, delivered, durable, acknowledged; quiet; finished."""
    made = start(1 << 20)
    made.connection.send(*ONE)
    made.until(lambda: made.receiver.received == 120)
    assert made.frames() == ONE
    assert 120 not in made.acknowledged()
    made.receiver.durable(120)
    made.until(lambda: 120 in made.acknowledged())
    assert made.receiver.acknowledged == 120
    made.receiver.quiesce()
    assert made.receiver.quiet.wait(10)
    made.connection.send(*TWO)
    made.receiver.finish()
    assert made.ended.wait(10)
    assert (made.error, made.connection.copy_ended, made.frames()) == (None, True, ONE)


def test_a_full_queue_stops_reading_and_taking_goes_on(start: Start) -> None:
    """What is not read stays with the server; answers go out meanwhile."""
    made = start(1)
    made.connection.send(*ONE)
    made.until(lambda: bool(made.runs))
    made.connection.send(*TWO)
    made.receiver.durable(120)
    made.until(lambda: 120 in made.acknowledged())
    assert made.frames() == ONE
    made.receiver.taken(sum(len(run.data) + len(run.lengths) for run in made.runs))
    made.until(lambda: made.receiver.received == 220)
    assert made.frames() == ONE + TWO


def test_commits_that_begin_to_wait_interrupt_the_waiting(start: Start) -> None:
    """What a keepalive said before is delivered then, not with the next heartbeat."""
    made = start(1 << 20)
    made.connection.send(struct.pack(">cQqB", b"k", 50, 0, False))
    made.until(lambda: made.receiver.server_position == 50)
    assert made.runs == []
    made.receiver.commits_wait()
    assert made.receiver.synchronous
    made.until(lambda: [run.kind for run in made.runs] == [Kind.PROGRESS])


def test_an_end_that_nobody_asked_for_is_told(start: Start) -> None:
    """The server ends the stream: frames before that are delivered by the next start."""
    made = start(1 << 20)
    made.connection.send(END)
    assert made.ended.wait(10)
    assert isinstance(made.error, Unavailable)


def test_a_large_message_that_came_before_the_receiver_began(start: Start, connection: ScriptedConnection) -> None:
    """It came with the answer to START_REPLICATION, when libpq made room for it: nothing of it is read any more."""
    made = start(1 << 20, BEGINNING)
    assert made.ended.wait(10)
    assert isinstance(made.error, Oversized)
    assert connection.reads == 0


def test_what_came_before_the_receiver_began(start: Start) -> None:
    """It came with the answer to START_REPLICATION: no poll would tell of it."""
    made = start(1 << 20, *ONE)
    made.until(lambda: made.frames() == ONE)


def test_a_large_message_while_the_stream_ends_in_order(start: Start) -> None:
    """Nothing more of it is read: what is left would be dropped anyhow."""
    made = start(1 << 20)
    made.connection.send(*ONE)
    made.until(lambda: made.receiver.received == 120)
    made.receiver.quiesce()
    assert made.receiver.quiet.wait(10)
    made.connection.send(BEGINNING)
    made.receiver.finish()
    assert made.ended.wait(10)
    assert (made.error, made.connection.reads) == (None, 0)


def test_whatever_fails_reaches_the_event_loop(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the thread is not a silent end of capture."""
    made = start(1 << 20)
    monkeypatch.setattr(made.connection, "get_copy_data", lambda _: 1 / 0)
    made.connection.send(*ONE)
    assert made.ended.wait(10)
    assert isinstance(made.error, Bug)
