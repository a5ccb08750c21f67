"""One round of maintenance over all databases of an archive."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from typing import TYPE_CHECKING

from archiver.maintenance.folded import MOST_ENTRIES, Folded
from archiver.maintenance.folding import BEHIND_SECONDS, fold_database

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.reader import Reader


async def maintain(
    reader: Reader,
    clock: Clock,
    sources: Collection[str] = (),
    *,
    behind_seconds: float = BEHIND_SECONDS,
    most_entries: int = MOST_ENTRIES,
) -> AsyncGenerator[Folded]:
    """Fold each database (of ``sources``, if there are any) step by step until nothing is left to fold; every step is durable when given.

    Nothing is folded that is nearer than ``behind_seconds`` to the journal's end. The last one of a database has a ``reason``.
    Raises as ``fold_database``; what was given out before stays.
    """
    tail = await reader.tail()
    for name in sorted(tail.sources) if tail else ():
        if "/" in name or (sources and name not in sources):
            continue
        while True:
            step = await fold_database(reader, clock, name, most_entries=most_entries, behind_seconds=behind_seconds)
            yield step
            if step.reason:
                break
