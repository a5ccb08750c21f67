"""Bytes of a watch response -> its lines. No limit of length: an object's JSON can be several times what etcd stores of it."""

from __future__ import annotations


class LineSplitter:
    """Splits what arrives into complete lines. What follows the last line feed is no line: where the response ends, it is dropped."""

    def __init__(self) -> None:
        self._started: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes, in order, without line feeds; empty lines are left out."""
        *complete, rest = data.split(b"\n")
        if complete and self._started:
            complete[0] = b"".join((*self._started, complete[0]))
            self._started.clear()
        if rest:
            self._started.append(rest)
        return [line for line in complete if line]
