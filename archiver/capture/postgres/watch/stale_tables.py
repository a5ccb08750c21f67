"""Tables whose rows the journal does not have as they are: why, since when, and when they can be copied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from archiver.journal.records import Gap


@dataclass
class StaleTable:
    """One table that must be copied again."""

    name: str
    reason: str
    """Of its gap."""
    detail: str
    cause: str
    """Of the PG_TABLES entry that will end it."""
    since: str
    """LSN from which its rows are not known."""
    waits: frozenset[int] = frozenset()
    """Transactions that must end first: they may have written while the table was not published."""
    not_before: float = 0.0
    """Monotonic seconds."""
    oid: int = 0
    round: int = 0
    """Changes when it became stale once more while it was being copied."""
    noticed: int = 0
    """Wall clock, microseconds."""

    def gap(self) -> Gap:
        """The gap, open until the table's next rows."""
        return Gap(what=f"table {self.name}", reason=self.reason, detail=self.detail, from_position=self.since, relation=self.oid)


@dataclass
class StaleTables:
    """All of them, by oid."""

    tables: dict[int, StaleTable] = field(default_factory=dict)

    def mark(self, oid: int, stale: StaleTable) -> bool:
        """Add a table; True when its gap must be recorded, False when one is open already."""
        old = self.tables.get(oid)
        if old is not None:
            stale.round = old.round + 1
            stale.waits |= old.waits
            stale.noticed = old.noticed
            if old.cause == "table_added":
                stale.cause = old.cause
        self.tables[oid] = stale
        return old is None

    def keep_only(self, captured: Iterable[int]) -> None:
        """Forget tables that are captured no more."""
        kept = set(captured)
        self.tables = {oid: stale for oid, stale in self.tables.items() if oid in kept}

    def ready(self, running: frozenset[int], now: float, without: frozenset[int]) -> dict[int, StaleTable]:
        """Those that can be copied under a snapshot taken from now on. ``running``: what runs; ``without``: what may not be read."""
        return {
            oid: stale for oid, stale in self.tables.items() if not stale.waits & running and stale.not_before <= now and oid not in without
        }

    def copied(self, oid: int, began: int) -> StaleTable | None:
        """A table was copied that was in ``round`` ``began``; what is left of it when it became stale again meanwhile."""
        stale = self.tables.get(oid)
        if stale is not None and stale.round == began:
            del self.tables[oid]
            return None
        return stale
