"""One round of maintenance over all sources of an archive."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from typing import TYPE_CHECKING

from archiver.maintenance.chosen_sources import chosen_sources
from archiver.maintenance.cluster_folding import fold_cluster
from archiver.maintenance.folded import MOST_ENTRIES, Folded
from archiver.maintenance.folding import BEHIND_SECONDS, fold_database, settled_segment

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
    """Fold each source (of ``sources``, if there are any) step by step until nothing is left to fold; every step is durable when given.

    Nothing is folded that is nearer than ``behind_seconds`` to the journal's end. The last step of a source has a ``reason``.
    ``most_entries``: of the journal at once for a database; a Kubernetes source is folded in one step, and takes what its objects do.
    Raises as ``fold_database``; what was given out before stays.
    """
    tail = await reader.tail()
    # What arrives meanwhile is the next round's: it would never end where much happens.
    until = await settled_segment(reader, tail, behind_seconds) if tail else -1
    for name, is_cluster in chosen_sources(tail, sources):
        while True:
            if is_cluster:
                step = await fold_cluster(reader, clock, name, until=until)
            else:
                step = await fold_database(reader, clock, name, most_entries=most_entries, until=until)
            yield step
            if step.reason:
                break
