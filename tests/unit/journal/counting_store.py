"""A store that counts what it is asked for."""

from __future__ import annotations

from collections import Counter

from archiver.store.memory import MemoryStore


class CountingStore(MemoryStore):
    """``calls``: how often each kind of question was asked. Begins with the objects of ``other``."""

    def __init__(self, other: MemoryStore | None = None) -> None:
        super().__init__("counting")
        self.calls: Counter[str] = Counter()
        if other is not None:
            for key in other.names(""):
                self.create(key, other.peek(key) or b"")

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        self.calls["get"] += 1
        return await super().get(key, start, length)

    async def size(self, key: str) -> int | None:
        self.calls["size"] += 1
        return await super().size(key)

    async def list(self, prefix: str, after: str = "", limit: int | None = None) -> list[str]:
        self.calls["list"] += 1
        return await super().list(prefix, after, limit)
