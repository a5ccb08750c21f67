"""A libpq connection in copy-both mode whose far end the test plays."""

from __future__ import annotations

import socket
from collections import deque
from typing import Self, cast

from psycopg.pq.abc import PGconn

from archiver.capture.postgres.session.oversized import Memory

END = b"end of copy"
BEGINNING = b"beginning of a large message"
LARGE = 1 << 30
"""Bytes for which room is made as soon as the beginning is looked at, as libpq does."""


class ScriptedConnection:
    """Gives what was put into it, keeps what is sent over it."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self.socket = self._ours.fileno()
        self._coming: deque[bytes] = deque()
        self.held: deque[bytes] = deque()
        self.sent: list[bytes] = []
        self.blocked = False
        """The network takes nothing."""
        self.copy_ended = False
        self.memory = Memory(0, 0)
        """Of the process that libpq is in."""
        self.reads = 0
        """How often it read while it had room for a large message: what comes of that takes its memory."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        self._theirs.close()

    @property
    def pgconn(self) -> PGconn:
        return cast("PGconn", self)

    def send(self, *messages: bytes) -> None:
        """The server sends these."""
        self._coming.extend(messages)
        self._theirs.send(b"x" * len(messages))

    def answer(self, *messages: bytes) -> None:
        """The server accepts START_REPLICATION, and these come with its answer. To find that, libpq looks at the first of them too."""
        self.held.extend(messages)
        self._look()

    def _look(self) -> bool:
        """Whether only the beginning of the next message is there, for which there is room now."""
        if not self.held or self.held[0] is not BEGINNING:
            return False
        self.memory = Memory(LARGE, 0)
        return True

    def consume_input(self) -> None:
        if self.memory.writable:
            self.reads += 1
        try:
            count = len(self._ours.recv(4096))
        except BlockingIOError:
            return
        self.held.extend(self._coming.popleft() for _ in range(count))

    def get_copy_data(self, _: int) -> tuple[int, memoryview]:
        if not self.held:
            return 0, memoryview(b"")
        if self._look():
            return 0, memoryview(b"")
        message = self.held.popleft()
        return (-1, memoryview(b"")) if message is END else (len(message), memoryview(message))

    def put_copy_data(self, message: bytes) -> int:
        self.sent.append(message)
        return 1

    def put_copy_end(self) -> int:
        self.copy_ended = True
        self.send(END)
        return 1

    def flush(self) -> int:
        return int(self.blocked)

    def get_result(self) -> None:
        return None
