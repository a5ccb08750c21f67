"""Noticing that libpq makes room for a message that is too large."""

from __future__ import annotations

import pytest

from archiver.capture.postgres.stream.oversized import BufferWatch

MIB = 1 << 20


class Memory:
    """What a process may write to and has not yet."""

    def __init__(self) -> None:
        self.unwritten = 40 * MIB
        self.others = 0
        """What another thread asked for, and writes to soon."""

    def sleep(self, _seconds: float) -> None:
        self.unwritten -= self.others
        self.others = 0


@pytest.mark.parametrize(("asked", "exceeded"), [(32 * MIB, False), (64 * MIB, False), (128 * MIB, True), (1024 * MIB, True)])
def test_a_buffer_beyond_the_limit_is_noticed(asked: int, exceeded: bool) -> None:
    """The first doubling that a message of the limit does not need."""
    memory = Memory()
    watch = BufferWatch(64 * MIB, lambda: memory.unwritten, memory.sleep)
    assert not watch.exceeded()
    memory.unwritten += asked
    assert watch.exceeded() is exceeded


def test_a_buffer_that_has_grown_before() -> None:
    """Messages within the limit came: growing once more is noticed by less."""
    memory = Memory()
    watch = BufferWatch(64 * MIB, lambda: memory.unwritten, memory.sleep)
    memory.unwritten += 64 * MIB
    assert not watch.exceeded()
    memory.unwritten -= 60 * MIB
    watch.received(60 * MIB)
    assert not watch.exceeded()
    memory.unwritten += 64 * MIB
    assert watch.exceeded()


def test_what_other_threads_ask_for_is_no_message() -> None:
    """They write to it soon, and then it does not count."""
    memory = Memory()
    watch = BufferWatch(64 * MIB, lambda: memory.unwritten, memory.sleep)
    memory.unwritten, memory.others = memory.unwritten + 300 * MIB, 300 * MIB
    assert not watch.exceeded()


def test_a_system_that_does_not_tell() -> None:
    """Nothing is noticed there."""
    watch = BufferWatch(64 * MIB, lambda: 0)
    assert not watch.exceeded()
    assert watch.most == 64 * MIB
