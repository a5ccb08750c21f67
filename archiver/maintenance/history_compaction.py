"""History files that have become many -> few, level by level; and the end of those that were replaced.

    some runs of a level -> merged, read back -> one commit takes the old out and the new in -> a day later the old ones are deleted

Whoever reads meanwhile has the old files or the new ones, never both. The records are the same.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from archiver.journal.keys import history_counts_key, history_prefix
from archiver.lake.history_table import TableWriter, open_file, read_groups, read_table
from archiver.lake.merging import FAN, SortedMerge, to_merge
from archiver.maintenance.history_step import FILE_BYTES, HistoryStep

if TYPE_CHECKING:
    import pyarrow as pa

    from archiver.clock import Clock
    from archiver.journal.reader import Reader
    from archiver.lake.data_file import DataFile
    from archiver.lake.delta_log import TableState

KEEP_SECONDS = 86_400
"""How long replaced files stay for those who read them."""
_TRIES = 8
_HELD_BYTES = 96 << 20
"""Of row groups, as they are when they are read."""
_PAGE = 1000


async def compact(reader: Reader, clock: Clock, source: str, *, fan: int = FAN) -> HistoryStep | None:
    """Merge runs of one level; ``None`` when there is nothing to do, or another maintainer did it.

    Memory: a row group of each run, and the records of a new file. Raises ``Corrupt`` and ``Unavailable``.
    """
    state = await read_table(reader.store, source)
    level, runs = to_merge(state.files, fan=fan)
    if not runs:
        return None
    runs = await _that_fit(reader, source, state, runs)
    paths = [path for run in runs for path in run]
    writer = TableWriter(reader.store, clock, source, level=level + 1)
    await _merge([_Input(reader, source, state, run) for run in runs], writer)
    for _ in range(_TRIES):
        progress = state.progress
        if progress is None or not set(paths) <= state.files.keys():
            break
        if await writer.commit(state, progress, paths):
            written = sum(file.size for file in writer.added)
            return HistoryStep(source, False, progress.covered, progress.newest, 0, len(writer.added), written, merged=len(paths))
        # Somebody added files meanwhile: these are as good behind them.
        state = await read_table(reader.store, source)
    await writer.discard()
    return None


async def _that_fit(reader: Reader, source: str, state: TableState, runs: list[list[str]]) -> list[list[str]]:
    """The first of ``runs`` whose row groups can be held together; two at least."""
    size, found = 0, list[list[str]]()
    for run in runs:
        size += max([(await open_file(reader.store, source, path, state)).group_bytes for path in run])
        if size > _HELD_BYTES and len(found) >= 2:
            break
        found.append(run)
    return found


async def sweep(reader: Reader, clock: Clock, source: str, *, keep_seconds: float = KEEP_SECONDS) -> int:
    """Delete files that were replaced more than ``keep_seconds`` ago; how many there were."""
    state: TableState = await read_table(reader.store, source)
    old = clock.now() // 1000 - int(keep_seconds * 1000)
    prefix, after, count = history_prefix(source), "", 0
    gone = {prefix + path: history_counts_key(source, path) for path, when in state.removed.items() if when <= old}
    counts = set(gone.values())
    while gone and (keys := await reader.store.list(prefix, after=after, limit=_PAGE)):
        for key in keys:
            if key in gone or key in counts:
                await reader.store.delete(key)
                count += key in gone
        after = keys[-1]
    return count


class _Input:
    """A run, read row group by row group."""

    def __init__(self, reader: Reader, source: str, state: TableState, paths: list[str]) -> None:
        self._reader, self._source, self._state = reader, source, state
        self._paths = iter(paths)
        self._file: DataFile | None = None
        self._next = 0

    async def piece(self) -> pa.Table | None:
        """The next records; ``None`` when there are no more."""
        while self._file is None or self._next == self._file.count:
            if (path := next(self._paths, None)) is None:
                return None
            self._file, self._next = await open_file(self._reader.store, self._source, path, self._state), 0
        self._next += 1
        return await read_groups(self._reader.store, self._file, [self._next - 1])


async def _merge(inputs: list[_Input], writer: TableWriter) -> None:
    merge, tables, size = SortedMerge(len(inputs)), list["pa.Table"](), 0
    while True:
        for number in merge.needed():
            merge.add(number, await inputs[number].piece())
        found = await asyncio.to_thread(merge.take)
        tables += found
        size += sum(table.nbytes for table in found)
        if tables and (size >= FILE_BYTES or not found):
            await writer.add(tables)
            tables, size = [], 0
        if not found:
            return
