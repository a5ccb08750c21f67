"""A waiting thread is interrupted."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from archiver.capture.postgres.stream.waker import Waker


@pytest.fixture
def waker() -> Iterator[Waker]:
    made = Waker()
    yield made
    made.close()


def test_the_time_passes(waker: Waker) -> None:
    """Nothing happens: the wait is as long as asked, never shorter, and says so."""
    began = time.monotonic()
    assert not waker.wait(waker.poller(), 0.0101)
    assert time.monotonic() - began >= 0.0101


def test_another_thread_ends_the_wait(waker: Waker) -> None:
    """Long before its time; each wake ends one wait, several before a wait end it once."""
    timer = threading.Timer(0.01, waker.wake)
    timer.start()
    assert waker.wait(waker.poller(), 30)
    timer.join()
    waker.wake()
    waker.wake()
    assert waker.wait(waker.poller(), 30)
    assert not waker.wait(waker.poller(), 0)


def test_a_poller_hears_the_sockets_it_was_made_for(waker: Waker) -> None:
    """While the thread pauses, what the server sends does not end the wait."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        assert waker.wait(waker.poller(ours.fileno()), 30)
        assert not waker.wait(waker.poller(), 0)


def test_many_wakes_neither_block_nor_fail(waker: Waker) -> None:
    """More than the socket holds, and after the end."""
    for _ in range(100_000):
        waker.wake()
    waker.close()
    waker.wake()
