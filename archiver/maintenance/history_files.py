"""One round of writing history files over the sources of an archive."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from typing import TYPE_CHECKING

import pyarrow as pa

from archiver import memory
from archiver.errors import Refused
from archiver.maintenance.chosen_sources import chosen_sources
from archiver.maintenance.database_history import add_database_history
from archiver.maintenance.history_compaction import compact, sweep
from archiver.maintenance.history_log import shorten_log
from archiver.maintenance.history_step import HistoryStep
from archiver.maintenance.object_history import add_object_history

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.reader import Reader


async def write_history(reader: Reader, clock: Clock, sources: Collection[str] = ()) -> AsyncGenerator[HistoryStep]:
    """Bring the history files of each source (of ``sources``, if there are any) up to the journal's end; every step is durable
    when given.

    The last one that adds anything is ``done``; files that have become many are merged then. Raises
    ``Corrupt``, ``Invalid`` and ``Unavailable``; what was given out before stays.
    """
    memory.give_back()
    # What Arrow's own allocators keep for later they do not give back.
    pa.set_memory_pool(pa.system_memory_pool())
    tail = await reader.tail()
    for name, is_cluster in chosen_sources(tail, sources):
        add = add_object_history if is_cluster else add_database_history
        done = False
        while not done:
            try:
                step = await add(reader, clock, name)
            except Refused as error:
                step = HistoryStep(name, done=True, reason=f"{error.message}: {error.hint}")
            yield step
            done = step.done
        if not step.reason:
            while (merged := await compact(reader, clock, name)) is not None:
                yield merged
            await sweep(reader, clock, name)
            await shorten_log(reader, clock, name)
