"""When frames become runs, and when an idle source is confirmed."""

from __future__ import annotations

import math

from archiver.capture.postgres.stream.handover import GATHER_SECONDS, Handover
from archiver.capture.postgres.stream.packer import Packer
from archiver.capture.postgres.stream.queued_bytes import QueuedBytes
from archiver.clock import SystemClock
from archiver.journal.entry import Kind, Run
from archiver.postgres.replication_messages import Keepalive
from tests.unit.postgres.frames import begin, commit, insert


class Delivered:
    """A handover, and what came out of it."""

    def __init__(self, *, heartbeat: float = 10.0, synchronous: bool = False) -> None:
        self.runs: list[Run] = []
        self.queue = QueuedBytes(1)
        self.handover = Handover(
            Packer("db", 10),
            self.queue,
            SystemClock(),
            self.runs.append,
            heartbeat_seconds=heartbeat,
            synchronous=synchronous,
            now=0.0,
        )

    def receive(self, *frames: bytes, now: float) -> None:
        self.handover.gather(now).extend(frames)

    def kinds(self) -> list[Kind]:
        return [run.kind for run in self.runs]


def test_frames_wait_for_more_a_moment_from_the_first_on() -> None:
    """Later frames do not make the first one wait longer."""
    made = Delivered()
    assert not made.handover.may_gather(1.0)
    assert not made.handover.overdue(1.0)
    made.receive(begin(100), now=1.0)
    made.receive(commit(100, 120), now=1.0 + GATHER_SECONDS / 2)
    assert made.handover.may_gather(1.0 + GATHER_SECONDS / 2)
    assert not made.handover.overdue(1.0 + GATHER_SECONDS / 2)
    late = 1.0 + 1.01 * GATHER_SECONDS
    assert made.handover.overdue(late)
    assert not made.handover.may_gather(late)
    made.handover.hand_over(late)
    assert made.kinds() == [Kind.PG_FRAMES]
    assert made.handover.received == 120
    assert made.queue.full
    assert not made.handover.overdue(late + 1)


def test_nothing_is_gathered_while_commits_wait() -> None:
    """A commit at the source would wait as long."""
    made = Delivered(synchronous=True)
    made.receive(begin(100), insert(), commit(100, 120), now=1.0)
    assert not made.handover.may_gather(1.0)


def test_an_idle_source_is_confirmed_once_a_heartbeat() -> None:
    """A keepalive's position is delivered when nothing moved for that long."""
    made = Delivered()
    assert made.handover.heartbeat_wait(5.0) == math.inf
    made.handover.keepalive(Keepalive(50, False))
    assert made.handover.heartbeat_wait(4.0) == 6.0
    made.handover.hand_over(9.0)
    assert made.kinds() == []
    made.handover.hand_over(10.0)
    assert made.kinds() == [Kind.PROGRESS]
    made.handover.keepalive(Keepalive(60, False))
    assert made.handover.heartbeat_wait(11.0) == 9.0


def test_a_keepalive_that_wants_an_answer_is_delivered_at_once() -> None:
    """The server may wait for its position before it shuts down."""
    made = Delivered()
    made.handover.keepalive(Keepalive(50, True))
    assert made.handover.heartbeat_wait(1.0) == 0.0
    made.handover.hand_over(1.0)
    assert made.kinds() == [Kind.PROGRESS]


def test_a_keepalive_is_delivered_at_once_while_commits_wait() -> None:
    """A commit that changed nothing that is captured waits for its position."""
    made = Delivered()
    made.handover.keepalive(Keepalive(50, False))
    made.handover.synchronous = True
    made.handover.hand_over(1.0)
    assert made.kinds() == [Kind.PROGRESS]
    assert made.handover.received == 50
