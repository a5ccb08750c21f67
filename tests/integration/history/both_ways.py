"""The same question to the journal alone and to history files that reach more and more of it."""

from __future__ import annotations

from archiver.clock import SystemClock
from archiver.history.row_states import RowChange
from archiver.history.rows import RowRef, row_log
from archiver.journal.keys import HISTORY, SEGMENTS
from archiver.journal.reader import Reader
from archiver.lake.history_table import open_history
from archiver.maintenance.database_history import add_database_history
from archiver.replay.points import Point
from archiver.store.memory import MemoryStore

FEW = 4


class CountingStore(MemoryStore):
    """Counts segments that were read whole."""

    def __init__(self, other: MemoryStore) -> None:
        super().__init__()
        self.read = 0
        for key in other.names(""):
            if not key.startswith(HISTORY):
                self.create(key, other.peek(key) or b"")

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        self.read += key.startswith(SEGMENTS) and length is not None and length > 1 << 20
        return await super().get(key, start, length)


async def row_log_both_ways(
    store: MemoryStore,
    source: str,
    ref: RowRef,
    *,
    from_point: Point | None = None,
    to_point: Point | None = None,
    step_entries: int = 1,
    used: bool = True,
) -> list[RowChange]:
    """The answer of the journal, which files give too wherever they end; and whether they are ``used``."""
    alone, filed = CountingStore(store), CountingStore(store)
    expected = await row_log(Reader(alone), source, ref, from_point=from_point, to_point=to_point)
    done = False
    while not done:
        step = await add_database_history(Reader(filed), SystemClock(), source, step_entries=step_entries)
        done = step.done
        filed.read = 0
        found = await row_log(Reader(filed), source, ref, from_point=from_point, to_point=to_point)
        assert found == expected, f"files up to entry {step.covered}"
    assert await open_history(Reader(filed), source) is not None
    # Of a few segments the tail that no file has may be all.
    assert (filed.read < alone.read) is used or alone.read <= FEW
    return expected
