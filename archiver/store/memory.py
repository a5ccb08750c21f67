"""A store in this process's memory: for tests and simulations. What it holds is gone with the process."""

from __future__ import annotations

import builtins
from bisect import bisect_right, insort

from archiver.store.keys import checked, checked_prefix


class MemoryStore:
    """A ``Store`` that never fails and never waits. Tests look and damage through ``peek`` and ``replace``."""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._objects: dict[str, bytes] = {}
        self._keys: list[str] = []

    @property
    def url(self) -> str:
        return f"memory:{self._name}"

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        return self.create(checked(key), data)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        data = self._objects.get(checked(key))
        if data is None:
            return None
        first = max(0, start + len(data)) if start < 0 else start
        return data[first:] if length is None else data[first : first + length]

    async def size(self, key: str) -> int | None:
        data = self._objects.get(checked(key))
        return None if data is None else len(data)

    async def list(self, prefix: str, after: str = "", limit: int | None = None) -> list[str]:
        checked_prefix(prefix)
        return self.names(prefix, after, limit)

    async def delete(self, key: str) -> None:
        self.replace(checked(key), None)

    async def close(self) -> None:
        """Nothing is held open; the objects stay."""

    def create(self, key: str, data: bytes) -> bool:
        """``put_if_absent`` without a loop."""
        if key in self._objects:
            return False
        self._objects[key] = bytes(data)
        insort(self._keys, key)
        return True

    def peek(self, key: str) -> bytes | None:
        """``get`` without a loop."""
        return self._objects.get(key)

    def names(self, prefix: str, after: str = "", limit: int | None = None) -> builtins.list[str]:
        """``list`` without a loop."""
        at = max(bisect_right(self._keys, after), bisect_right(self._keys, prefix) - (prefix in self._objects))
        found: builtins.list[str] = []
        while at < len(self._keys) and self._keys[at].startswith(prefix) and (limit is None or len(found) < limit):
            found.append(self._keys[at])
            at += 1
        return found

    def replace(self, key: str, data: bytes | None) -> None:
        """What no store should do, for tests of damage: put other bytes under ``key``, or (``None``) lose it."""
        if self._objects.pop(key, None) is not None:
            self._keys.remove(key)
        if data is not None:
            self.create(key, data)

    def copy(self) -> MemoryStore:
        """Another store with the same objects."""
        twin = MemoryStore(self._name)
        twin._objects = dict(self._objects)
        twin._keys = self._keys[:]
        return twin
