"""Where bytes go that do not fit into memory. Who decides what goes there is pure; a file does it (``write.spill_file``)."""

from __future__ import annotations

from typing import Protocol


class Spill(Protocol):
    """Bytes put aside, and taken again. Safe for several threads. Raises ``Unavailable`` when there is no room."""

    def put(self, data: bytes | memoryview) -> int:
        """Put ``data`` aside; its place."""
        ...

    def take(self, place: int, length: int) -> bytes:
        """``length`` bytes from a place, or from within what was put there."""
        ...

    def another(self) -> Spill:
        """One more, whose room is given back when nobody holds it."""
        ...
