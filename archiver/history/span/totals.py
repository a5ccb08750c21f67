"""How many changes there are, of what. Pure."""

from __future__ import annotations

from archiver.history.span.changes import Change

_MOST = 50
"""Tables and kinds that are named; the others are counted together."""


class Totals:
    """Counts changes as they pass."""

    def __init__(self) -> None:
        self.all = 0
        self._counts: dict[tuple[str, str], dict[str, int]] = {}

    def add(self, change: Change) -> None:
        """One more."""
        self.all += 1
        counts = self._counts.setdefault((change.source, change.kind or change.table), {})
        counts[change.operation] = counts.get(change.operation, 0) + 1

    def lines(self) -> list[tuple[str, str, str, str]]:
        """Source, table or kind, changes, and how many by each operation; those with most changes first."""
        order = sorted(self._counts.items(), key=lambda each: (-sum(each[1].values()), each[0]))
        found = [(source, of or "-", str(sum(counts.values())), _by(counts)) for (source, of), counts in order[:_MOST]]
        others = sum(sum(counts.values()) for _, counts in order[_MOST:])
        return [*found, *([("", f"{len(order) - _MOST} others", str(others), "")] if others else [])]


def _by(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {operation}" for operation, number in sorted(counts.items(), key=lambda each: (-each[1], each[0])))
