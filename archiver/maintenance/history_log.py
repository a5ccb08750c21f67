"""The log of history files, kept short: a checkpoint every so many commits, and the end of the commits that an older one adds up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from archiver.journal.keys import history_checkpoint_key, history_commit_key
from archiver.journal.put_once import put_once
from archiver.lake.history_table import log_keys, read_table
from archiver.lake.log_checkpoint import to_checkpoint
from archiver.maintenance.history_compaction import KEEP_SECONDS

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.reader import Reader

EVERY = 64
"""Commits between two checkpoints: so many are read, at most, besides one."""


async def shorten_log(reader: Reader, clock: Clock, source: str, *, every: int = EVERY) -> int:
    """Write a checkpoint where ``every`` commits have come since the newest, and delete what stands before that one; how much it was.

    Whoever began to read before the one that is written now finds all it needs. A commit that somebody puts under a deleted version stands
    before a checkpoint, and counts nowhere.
    """
    state, count = await read_table(reader.store, source), 0
    if state.version - state.checkpoint < every:
        return 0
    data = await asyncio.to_thread(to_checkpoint, state, keep_removed_since=clock.now() // 1000 - 2 * KEEP_SECONDS * 1000)
    await put_once(reader.store, clock, history_checkpoint_key(source, state.version), data)
    keys = await log_keys(reader.store, source)
    for version in (each for each in keys.commits if each < state.checkpoint):
        await reader.store.delete(history_commit_key(source, version))
        count += 1
    for version in (each for each in keys.checkpoints if each < state.checkpoint):
        await reader.store.delete(history_checkpoint_key(source, version))
        count += 1
    return count
