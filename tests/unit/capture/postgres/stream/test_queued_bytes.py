"""How much may wait between the receiving thread and the journal's buffer."""

from __future__ import annotations

from archiver.capture.postgres.stream.queued_bytes import QueuedBytes


def test_full_from_the_limit_on_and_not_after_taking() -> None:
    """What is taken makes room."""
    queue = QueuedBytes(100)
    found = [queue.full]
    for size in (99, 1):
        queue.delivered(size)
        found.append(queue.full)
    queue.taken(1)
    assert [*found, queue.full] == [False, False, True, False]


def test_taking_tells_whether_the_thread_waits_for_it() -> None:
    """Only a thread that waits must be woken."""
    queue = QueuedBytes(100)
    queue.delivered(100)
    assert not queue.taken(0)
    assert queue.must_wait()
    assert queue.taken(60)
    assert not queue.must_wait()
    assert not queue.taken(40)


def test_bytes_taken_while_the_thread_makes_up_its_mind_wake_it() -> None:
    """Taken between the comparison and the waiting: the thread is woken, or it would wait for its timer."""

    class Interrupted(QueuedBytes):
        woken = False

        @property
        def full(self) -> bool:
            found = super().full
            self.woken = self.taken(50)
            return found

    queue = Interrupted(100)
    queue.delivered(100)
    assert queue.must_wait()
    assert queue.woken
