"""Bytes of a watch response -> its lines."""

from __future__ import annotations


class TooLong(Exception):
    """A line that is larger than anything that an API server holds."""


class LineSplitter:
    """Splits what arrives into complete lines. What follows the last line feed is no line: where the response ends, it is dropped."""

    def __init__(self, most: int) -> None:
        """``most``: bytes of a line that is not complete. An object's JSON can be several times what etcd stores of it."""
        self._most = most
        self._started: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes, in order, without line feeds; empty lines are left out. ``TooLong`` when one never ends."""
        *complete, rest = data.split(b"\n")
        if complete and self._started:
            complete[0] = b"".join((*self._started, complete[0]))
            self._started.clear()
            self._size = 0
        if rest:
            self._started.append(rest)
            self._size += len(rest)
            if self._size > self._most:
                raise TooLong(f"a line of more than {self._most >> 20} MiB")
        return [line for line in complete if line]
