"""History files that have become many -> few, level by level; and the end of those that were replaced.

    runs of one level -> merged, read back -> one commit takes the old ones out and the new ones in -> a day later the old ones are deleted

Whoever reads meanwhile has the old files or the new ones, never both. The records are the same.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from archiver.journal.keys import history_prefix
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
_PAGE = 1000


async def compact(reader: Reader, clock: Clock, source: str, *, fan: int = FAN) -> HistoryStep | None:
    """Merge the files of one level; ``None`` when there is nothing to do, or another maintainer did it.

    Memory: a row group of each file, and the records of a new one. Raises ``Corrupt`` and ``Unavailable``.
    """
    state = await read_table(reader.store, source)
    level, paths = to_merge(state.files, fan=fan)
    if not paths:
        return None
    writer = TableWriter(reader.store, clock, source, level=level + 1)
    inputs = [_Input(reader, await open_file(reader.store, source, path, state)) for path in paths]
    await _merge(inputs, writer)
    for _ in range(_TRIES):
        progress = state.progress
        if progress is None or not set(paths) <= state.files.keys():
            break
        if await writer.commit(state, progress, paths):
            written = sum(file.size for file in writer.added)
            return HistoryStep(source, False, progress.covered, 0, len(writer.added), written, merged=len(paths))
        # Somebody added files meanwhile: these are as good behind them.
        state = await read_table(reader.store, source)
    await writer.discard()
    return None


async def sweep(reader: Reader, clock: Clock, source: str, *, keep_seconds: float = KEEP_SECONDS) -> int:
    """Delete files that were replaced more than ``keep_seconds`` ago; how many there were."""
    state: TableState = await read_table(reader.store, source)
    old = clock.now() // 1000 - int(keep_seconds * 1000)
    gone = {path for path, when in state.removed.items() if when <= old}
    prefix, after, count = history_prefix(source), "", 0
    while gone and (keys := await reader.store.list(prefix, after=after, limit=_PAGE)):
        for key in keys:
            if key.removeprefix(prefix) in gone:
                await reader.store.delete(key)
                count += 1
        after = keys[-1]
    return count


class _Input:
    """A file, read row group by row group."""

    def __init__(self, reader: Reader, file: DataFile) -> None:
        self._reader, self._file, self._next = reader, file, 0

    async def piece(self) -> pa.Table | None:
        """The next records; ``None`` when there are no more."""
        if self._next == self._file.count:
            return None
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
