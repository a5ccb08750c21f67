"""Noticing that libpq makes room for a message that is too large."""

from __future__ import annotations

import mmap

import pytest

from archiver.capture.postgres.session.oversized import BufferWatch, Memory, memory_reader

MIB = 1 << 20


class Process:
    """What it has, and what happens meanwhile."""

    def __init__(self) -> None:
        self.now = Memory(100 * MIB, 60 * MIB)
        self.others = 0
        """What another thread asked for, and writes to soon."""

    def memory(self) -> Memory:
        return self.now

    def ask(self, size: int) -> None:
        self.now = self.now._replace(writable=self.now.writable + size)

    def write(self, size: int) -> None:
        self.now = self.now._replace(written=self.now.written + size)

    def sleep(self, _seconds: float) -> None:
        self.write(self.others)
        self.others = 0


def watching(process: Process) -> BufferWatch:
    watch = BufferWatch(64 * MIB, process.memory, process.sleep)
    watch.begin()
    return watch


@pytest.mark.parametrize(("asked", "exceeded"), [(32 * MIB, False), (64 * MIB, False), (128 * MIB, True), (1024 * MIB, True)])
def test_a_buffer_beyond_the_limit_is_noticed(asked: int, exceeded: bool) -> None:
    """The first doubling that a message of the limit does not need."""
    process = Process()
    watch = watching(process)
    assert not watch.exceeded()
    process.ask(asked)
    assert watch.exceeded() is exceeded


def test_a_buffer_that_has_grown_before() -> None:
    """Messages within the limit came: growing once more is noticed by less."""
    process = Process()
    watch = watching(process)
    process.ask(64 * MIB)
    assert not watch.exceeded()
    process.write(60 * MIB)
    watch.received(60 * MIB)
    watch.begin()
    assert not watch.exceeded()
    process.ask(64 * MIB)
    assert watch.exceeded()


def test_what_other_threads_ask_for_is_no_message() -> None:
    """They write to it soon, and then it does not count; neither does what they asked for before, or give back."""
    process = Process()
    watch = watching(process)
    process.ask(300 * MIB)
    process.others = 300 * MIB
    assert not watch.exceeded()
    process.ask(300 * MIB)
    watch.begin()
    assert not watch.exceeded()
    process.write(-200 * MIB)
    assert not watch.exceeded()


def test_a_system_that_does_not_tell() -> None:
    """Nothing is noticed there."""
    watch = BufferWatch(64 * MIB, lambda: Memory(0, 0))
    assert not watch.exceeded()
    assert watch.most == 64 * MIB


def test_this_process() -> None:
    """What it asks for is seen at once, and is written to only when it is."""
    read = memory_reader()
    before = read()
    with mmap.mmap(-1, 200 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as asked:
        assert abs(read().unwritten_since(before) - 200 * MIB) < 24 * MIB
        for at in range(0, 150 * MIB, 4096):
            asked[at] = 1
        assert abs(read().unwritten_since(before) - 50 * MIB) < 24 * MIB
