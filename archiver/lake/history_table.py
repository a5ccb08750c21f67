"""The history files of one source in a store: what there is, and adding to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import structlog

from archiver import __version__
from archiver.errors import Bug, Corrupt
from archiver.journal.folded_checkpoints import continues
from archiver.journal.keys import (
    history_commit_key,
    history_commit_prefix,
    history_commit_version,
    history_counts_key,
    history_prefix,
    history_summary_key,
    history_summary_prefix,
    history_summary_version,
)
from archiver.journal.put_once import put_once
from archiver.journal.remedies import HISTORY_ANEW
from archiver.lake.counted_records import add_records
from archiver.lake.counts import Counts
from archiver.lake.counts_file import MOST_BYTES, from_counts_file, to_counts_file
from archiver.lake.data_file import ASKED, DataFile, Wanted, chosen, hash_of, seal_of, statistics, to_parquet
from archiver.lake.delta_log import COMMIT_LIMIT, Added, TableState, commit, follow
from archiver.lake.log_checkpoint import from_summary
from archiver.lake.merging import path_of
from archiver.lake.progress import Progress
from archiver.store.listing import all_keys

if TYPE_CHECKING:
    import pyarrow as pa

    from archiver.clock import Clock
    from archiver.journal.reader import Reader
    from archiver.store.protocol import Store

_READS = 16
_log = structlog.get_logger()


async def log_versions(store: Store, prefix: str, version_of: Callable[[str], int | None]) -> list[int]:
    """Versions of the objects under ``prefix``, which ``version_of`` reads from a key, in order."""
    return sorted(version for key in await all_keys(store, prefix) if (version := version_of(key)) is not None)


async def read_table(store: Store, source: str) -> TableState:
    """What the log of ``source`` says: its newest summary, and the commits behind that. ``Corrupt`` when it cannot be read."""
    # Commits first: what is deleted of them meanwhile is in a summary that is seen then.
    commits = await log_versions(store, history_commit_prefix(source), history_commit_version)
    for version in reversed(await log_versions(store, history_summary_prefix(source), history_summary_version)):
        try:
            state = from_summary(version, await store.get(history_summary_key(source, version), 0, COMMIT_LIMIT) or b"")
        except Corrupt as error:
            _log.warning("history_summary_passed_over", source=source, version=version, reason=error.message)
        else:
            return await _followed(store, source, state, commits)
    return await _followed(store, source, TableState(), commits)


async def _followed(store: Store, source: str, state: TableState, commits: Sequence[int]) -> TableState:
    gate = asyncio.Semaphore(_READS)

    async def fetch(version: int) -> bytes:
        async with gate:
            return await store.get(history_commit_key(source, version), 0, COMMIT_LIMIT) or b""

    behind = sorted(version for version in commits if version > state.version)
    for version, body in zip(behind, await asyncio.gather(*map(fetch, behind)), strict=True):
        follow(state, version, body)
    return state


async def is_of_this_journal(reader: Reader, progress: Progress) -> bool:
    """Whether what was covered is the journal that ``reader`` reads: nothing of it was rewritten. ``Corrupt`` when it cannot be told."""
    archive = (await reader.identity()).id
    return progress.archive == archive and await continues(reader, progress.segment, progress.chain)


class HistoryFiles(NamedTuple):
    """The files of one source, and how far they reach."""

    progress: Progress
    files: Sequence[DataFile]


async def open_history(reader: Reader, source: str) -> HistoryFiles | None:
    """The files of ``source``; ``None`` when there are none, or none that can be used: then the journal serves."""
    try:
        state = await read_table(reader.store, source)
        if state.progress is None or not await is_of_this_journal(reader, state.progress):
            return None
        files = await asyncio.gather(*(open_file(reader.store, source, path, state) for path in sorted(state.files)))
    except Corrupt as error:
        say_passed_over(source, error)
        return None
    return HistoryFiles(state.progress, files)


def say_passed_over(source: str, error: Corrupt) -> None:
    """Files cannot be read, and the journal serves."""
    _log.warning("history_files_passed_over", source=source, reason=error.message)


async def open_file(store: Store, source: str, path: str, state: TableState) -> DataFile:
    """A file of ``state`` with its footer. ``Corrupt`` when it is missing, or not what the log says."""
    key, size, seal = history_prefix(source) + path, state.files[path], state.seals.get(path)
    if seal is None:
        raise Corrupt(f"history file {key} was written by another program", hint=HISTORY_ANEW)
    tail = await store.get(key, -min(size, seal.footer_bytes))
    if tail is None:
        raise Corrupt(f"history file {key} is missing", hint=HISTORY_ANEW)
    return await asyncio.to_thread(DataFile, key, size, tail, seal)


async def read_counts(store: Store, source: str, path: str, state: TableState) -> Counts | None:
    """What a file of ``state`` counts to, as it stands beside it; ``None`` where nothing does that is known here. ``Corrupt`` when it is
    missing, or not what the log says.
    """
    seal = state.seals.get(path)
    if seal is None or not seal.counts or not 0 < seal.counts_bytes <= MOST_BYTES:
        return None
    key = history_counts_key(source, path)
    data = await store.get(key, 0, seal.counts_bytes)
    if data is None or hash_of(data) != seal.counts:
        raise Corrupt(f"counts {key} are missing or damaged", hint=HISTORY_ANEW)
    return await asyncio.to_thread(from_counts_file, key, data, source)


async def read_groups(store: Store, file: DataFile, groups: Sequence[int], columns: Sequence[str] | None = None) -> pa.Table:
    """The records of row groups of a file, or only these columns of them. ``Corrupt`` when they cannot be read."""
    ranges = file.ranges(groups)
    found = await asyncio.gather(*(store.get(file.key, each.start, each.end - each.start) for each in ranges))
    held = [(each.start, data or b"") for each, data in zip(ranges, found, strict=True)]
    return await asyncio.to_thread(file.read, groups, held, columns)


async def read_records(store: Store, files: Sequence[DataFile], wanted: Wanted) -> list[dict[str, Any]]:
    """The records of ``files`` that are ``wanted``, in no order; times are numbers. ``Corrupt`` when some cannot be read."""

    async def read(file: DataFile, groups: list[int]) -> list[dict[str, Any]]:
        found = await read_groups(store, file, groups, ASKED)
        return await asyncio.to_thread(chosen, found, wanted)

    found = await asyncio.gather(*(read(file, groups) for file in files if (groups := file.groups(wanted))))
    return [record for records in found for record in records]


class TableWriter:
    """Writes files, and names all of them with one commit. What was not committed is named by nothing."""

    def __init__(self, store: Store, clock: Clock, source: str, *, level: int = 0) -> None:
        self._store, self._clock, self._source, self._level = store, clock, source, level
        self._identity = clock.unique()
        self.added: list[Added] = []
        self.rows = 0

    async def add(self, tables: Sequence[pa.Table]) -> None:
        """Write one file of these records; durable and read back. ``Corrupt`` when it does not come back as written."""
        data, rows = await asyncio.to_thread(to_parquet, tables)
        path = path_of(self._level, self._identity, len(self.added))
        key = history_prefix(self._source) + path
        await self._put(key, data)
        seal = await asyncio.to_thread(seal_of, data)
        size = len(data)
        counts = await asyncio.to_thread(_counted, tables, self._source)
        if counts is not None:
            await self._put(history_counts_key(self._source, path), counts)
            seal = msgspec.structs.replace(seal, counts=hash_of(counts), counts_bytes=len(counts))
        self.added.append(Added(path, size, self._clock.now() // 1000, statistics(rows), seal))
        self.rows += rows

    async def commit(self, state: TableState, progress: Progress, removed: Sequence[str] = ()) -> bool:
        """Publish the files behind ``state``, in place of those that are ``removed``. False: somebody else published there first."""
        identity = f"{self._identity[:8]}-{self._identity[8:12]}-{self._identity[12:16]}-{self._identity[16:20]}-{self._identity[20:]}"
        first = state.version < 0
        body = commit(progress, self.added, removed, now=self._clock.now(), by=__version__, first=first, identity=identity)
        return await put_once(self._store, self._clock, history_commit_key(self._source, state.version + 1), body) is None

    async def discard(self) -> None:
        """Delete the files that nothing names."""
        for file in self.added:
            await self._store.delete(history_prefix(self._source) + file.path)
            if file.seal is not None and file.seal.counts:
                await self._store.delete(history_counts_key(self._source, file.path))
        self.added = []

    async def _put(self, key: str, data: bytes) -> None:
        # Waits for a store that takes nothing: who gives up leaves the files before it, and another try writes them all again.
        if await put_once(self._store, self._clock, key, data, patience_seconds=None) is not None:
            raise Bug(f"history file {key} exists already with other content")
        if await self._store.get(key) != data:
            raise Corrupt(f"history file {key} does not come back as it was written", hint="the store loses data: do not trust it")


def _counted(tables: Sequence[pa.Table], source: str) -> bytes | None:
    counts = Counts()
    for records in tables:
        add_records(counts, records, source)
    return to_counts_file(counts)
