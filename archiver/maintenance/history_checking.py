"""Whether history files are what their log says, and what the journal gives: for ``verify``.

names: each file is there, with its size -> hashes: its footer, and what it counts to -> share, all: row groups, a thirtieth or every one;
and one step, another one each day, is made from the journal anew: each of its records that was met must be one of them, and with all,
each of them be there
"""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from archiver.errors import Corrupt
from archiver.journal.boundary import Retired
from archiver.journal.keys import history_commit_key, history_commit_prefix, history_commit_version, history_prefix
from archiver.journal.verifier import BadHistory, CheckedHistory
from archiver.lake.counted_records import add_records
from archiver.lake.counts import Counts, same
from archiver.lake.delta_log import COMMIT_LIMIT, TableState, follow
from archiver.lake.history_table import is_of_this_journal, log_versions, open_file, read_counts, read_groups, read_table
from archiver.maintenance import database_history, object_history
from archiver.maintenance.chosen_sources import chosen_sources
from archiver.maintenance.history_writing import StepWalk

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.journal.verify_levels import Level
    from archiver.lake.progress import Progress

_OF = 30
_LOG = "_delta_log/"


async def check_history(reader: Reader, *, level: Level, turn: int) -> list[CheckedHistory]:
    """Every source that has history files. ``turn``: with another one each time, all row groups and steps have theirs.

    Never raises ``Corrupt`` for them: that is the report. Safe beside those who write them.
    """
    tail = await reader.tail()
    found = []
    for source, is_cluster in chosen_sources(tail, ()):
        if await reader.store.list(history_prefix(source), limit=1):
            checked = CheckedHistory(source)
            found.append(checked)
            try:
                await _Check(reader, source, checked, is_cluster=is_cluster).run(level, turn)
            except Corrupt as error:
                checked.bad.append(BadHistory(f"{history_prefix(source)}{_LOG}", error.message))
    return found


class _Check:
    """One source."""

    def __init__(self, reader: Reader, source: str, checked: CheckedHistory, *, is_cluster: bool) -> None:
        self._reader, self._store, self._source, self._checked = reader, reader.store, source, checked
        self._is_cluster = is_cluster
        self._met = Counter[int]()
        """Records of the chosen step that were met."""

    async def run(self, level: Level, turn: int) -> None:
        state = await read_table(self._store, self._source)
        if state.progress is None or not await is_of_this_journal(self._reader, state.progress):
            raise Corrupt("what they cover is not of this journal")
        self._checked.covered = state.progress.covered
        deep = level in ("share", "all")
        steps = await self._steps() if deep else []
        step = steps[turn % len(steps)] if steps else None
        for path in sorted(state.files):
            try:
                await self._file(path, state, level, turn, step)
            except Corrupt as error:
                self._checked.bad.append(BadHistory(f"{history_prefix(self._source)}{path}", error.message))
            else:
                self._checked.files += 1
        if step is not None:
            # What is bad already would be told again.
            await self._compare(step, every=level == "all" and not self._checked.bad)

    async def _file(self, path: str, state: TableState, level: Level, turn: int, step: tuple[Progress, Progress] | None) -> None:
        key = history_prefix(self._source) + path
        size = await self._store.size(key)
        if size != state.files[path]:
            raise Corrupt("it is missing" if size is None else f"it has {size} bytes; {state.files[path]} were written")
        if level == "names":
            return
        file = await open_file(self._store, self._source, path, state)
        told, counts = await read_counts(self._store, self._source, path, state), Counts()
        for group in range(file.count):
            if level == "all" or (level == "share" and (zlib.crc32(path.encode()) + group) % _OF == turn % _OF):
                records = await read_groups(self._store, file, [group])
                self._checked.groups += 1
                if level == "all":
                    await asyncio.to_thread(add_records, counts, records, self._source)
                if step is not None:
                    self._met.update(await asyncio.to_thread(_digests, records, step[0].covered, step[1].covered))
            else:
                self._checked.groups_left += 1
        if level == "all" and told is not None and not same(told, counts):
            raise Corrupt("it does not count to what stands beside it")

    async def _steps(self) -> list[tuple[Progress, Progress]]:
        """Where each step that the log still has began and ended."""
        state, found = TableState(), list["tuple[Progress, Progress]"]()
        tail = await self._reader.tail()
        for version in await log_versions(self._store, history_commit_prefix(self._source), history_commit_version):
            before = state.progress
            if not version:
                streams = list(tail.sources) if tail else []
                begun = object_history.begin(self._reader, self._source, streams) if self._is_cluster else None
                with suppress(Retired):
                    before = await (begun or database_history.begin(self._reader, self._source))
            follow(state, version, await self._store.get(history_commit_key(self._source, version), 0, COMMIT_LIMIT) or b"")
            if before is not None and state.progress is not None and state.progress.covered > before.covered:
                found.append((before, state.progress))
        # What was retired is compared with nothing.
        first = (await self._reader.extent()).first
        return [step for step in found if step[0].resume_segment >= first]

    async def _compare(self, step: tuple[Progress, Progress], *, every: bool) -> None:
        before, after = step
        walk = _Collected(self._reader, before)
        last, most = after.segment - 1, after.covered - before.covered + 1
        if self._is_cluster:
            await object_history.derive(before, walk, last, most)
        else:
            await database_history.derive(self._reader, before, walk, last, most)
        where = f"entries {before.covered + 1} to {after.covered}"
        self._checked.compared = where
        if strange := (self._met - walk.found).total():
            self._say(f"{strange} records of {where} are not what the journal gives")
        if every and (missing := (walk.found - self._met).total()):
            self._say(f"{missing} records of {where} are missing")

    def _say(self, reason: str) -> None:
        self._checked.bad.append(BadHistory(history_prefix(self._source), reason))


class _Collected(StepWalk):
    """Digests of the records of a step."""

    def __init__(self, reader: Reader, progress: Progress) -> None:
        super().__init__(reader, progress)
        self.found = Counter[int]()

    async def keep(self, tables: list[pa.Table]) -> None:
        """See ``StepWalk``."""
        for table in tables:
            self.found.update(await asyncio.to_thread(_digests, table, self._progress.covered, 1 << 62))


def _digests(records: pa.Table, after: int, until: int) -> list[int]:
    """Of records that came with a commit behind entry ``after``, up to ``until``."""
    commits = records["commit_entry"]
    records = records.filter(pc.and_(pc.greater(commits, after), pc.less_equal(commits, until)))
    nothing, mark = pa.scalar("\x00", pa.large_string()), pa.scalar("\x1f", pa.large_string())
    texts = []
    for name in records.column_names:
        column = records[name]
        if name == "unchanged":
            column = pc.binary_join(column, ",")
        elif column.type == pa.timestamp("us", "UTC"):
            column = column.cast(pa.int64())
        texts.append(pc.coalesce(column.cast(pa.large_string()), nothing))
    return [hash(text) for text in pc.binary_join_element_wise(*texts, mark).to_pylist()]
