"""A place to put bytes aside that is no file."""

from __future__ import annotations


class MemorySpill:
    """A ``Spill``; ``puts`` counts for all that come from it."""

    def __init__(self, counter: list[int] | None = None) -> None:
        self._data = bytearray()
        self._counter = [0] if counter is None else counter

    @property
    def puts(self) -> int:
        return self._counter[0]

    def put(self, data: bytes | memoryview) -> int:
        place = len(self._data)
        self._data += data
        self._counter[0] += 1
        return place

    def take(self, place: int, length: int) -> bytes:
        assert place + length <= len(self._data)
        return bytes(self._data[place : place + length])

    def another(self) -> MemorySpill:
        return MemorySpill(self._counter)
