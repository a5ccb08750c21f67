"""What rows and objects were when they were heard of last, within a bound. Pure.

The oldest go first. What went is not known any more, and whoever asks is told so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

KNOWN_BYTES = 64 << 20
"""Of all rows and objects of one answer together."""
_EACH = 300
"""Bytes that Python takes besides the value's own."""

V = TypeVar("V")


class KnownValues(Generic[V]):
    """Values by group (a table, a stream) and key. ``forget`` makes all of a group unknown at once."""

    def __init__(self, most_bytes: int = KNOWN_BYTES) -> None:
        self.most_bytes = most_bytes
        self.full = False
        """Whether something had to go."""
        self._held: OrderedDict[tuple[Hashable, int, Hashable], tuple[V, int]] = OrderedDict()
        self._rounds: dict[Hashable, int] = {}
        self._size = 0

    @property
    def room(self) -> int:
        """Bytes that are left."""
        return self.most_bytes - self._size

    def get(self, group: Hashable, key: Hashable) -> V | None:
        """The newest value; ``None`` when it is not known."""
        found = self._held.get(self._place(group, key))
        return found[0] if found else None

    def put(self, group: Hashable, key: Hashable, value: V, size: int) -> None:
        """It is this from now on. ``size``: of the value in bytes."""
        self.drop(group, key)
        if size + _EACH > self.most_bytes:
            self.full = True
            return
        self._held[self._place(group, key)] = (value, size + _EACH)
        self._size += size + _EACH
        while self._size > self.most_bytes:
            (old, round_, _), (_, freed) = self._held.popitem(last=False)
            self._size -= freed
            self.full = self.full or round_ == self._rounds.get(old, 0)

    def drop(self, group: Hashable, key: Hashable) -> None:
        """It is gone."""
        found = self._held.pop(self._place(group, key), None)
        self._size -= found[1] if found else 0

    def forget(self, group: Hashable) -> None:
        """What any of the group is now is not known."""
        self._rounds[group] = self._rounds.get(group, 0) + 1

    def items(self, group: Hashable) -> Iterator[tuple[Hashable, V]]:
        """All that is known of a group. Looks at everything that is held."""
        now = self._rounds.get(group, 0)
        return iter([(key, value) for (each, round_, key), (value, _) in self._held.items() if each == group and round_ == now])

    def _place(self, group: Hashable, key: Hashable) -> tuple[Hashable, int, Hashable]:
        return group, self._rounds.get(group, 0), key
