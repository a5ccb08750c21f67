"""A thread's waiting for a socket, which other threads can interrupt."""

from __future__ import annotations

import contextlib
import math
import select
import socket


class Waker:
    """Interrupts a thread that waits in ``poll``, by a socket of its own."""

    def __init__(self) -> None:
        self._sending, self._waking = socket.socketpair()
        self._sending.setblocking(False)
        self._waking.setblocking(False)
        self._fd = self._waking.fileno()

    def poller(self, *sockets: int) -> select.poll:
        """Return what ``wait`` waits on: something to read on one of ``sockets``, and ``wake``."""
        poller = select.poll()
        for fd in (*sockets, self._fd):
            poller.register(fd, select.POLLIN)
        return poller

    def wait(self, poller: select.poll, seconds: float) -> bool:
        """Wait until ``poller`` finds something, ``wake`` was called or ``seconds`` passed. Return false when the time passed."""
        # poll takes whole milliseconds: rounded up, or it would return too early and spin.
        ready = poller.poll(math.ceil(seconds * 1000))
        if any(found == self._fd for found, _ in ready):
            with contextlib.suppress(BlockingIOError):
                self._waking.recv(4096)
        return bool(ready)

    def wake(self) -> None:
        """Interrupt ``wait``, from any thread; without effect after ``close``."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._sending.send(b"w")

    def close(self) -> None:
        """Let the sockets go. Nobody may wait any more."""
        self._sending.close()
        self._waking.close()
