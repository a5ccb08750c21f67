"""The log of history files, kept short: a checkpoint and a summary every so many commits, and the end of those that older ones add up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from archiver.journal.keys import (
    history_checkpoint_key,
    history_checkpoint_version,
    history_commit_key,
    history_commit_prefix,
    history_commit_version,
    history_summary_key,
    history_summary_prefix,
    history_summary_version,
)
from archiver.journal.put_once import put_once
from archiver.lake.history_table import log_versions, read_table
from archiver.lake.log_checkpoint import to_checkpoint, to_summary
from archiver.maintenance.history_compaction import KEEP_SECONDS

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.reader import Reader

EVERY = 64
"""Commits between two checkpoints: so many are read, at most, besides one."""


async def shorten_log(reader: Reader, clock: Clock, source: str, *, every: int = EVERY) -> int:
    """Write a checkpoint and a summary where ``every`` commits have come since the newest; delete what stands before that one. How much.

    Whoever began to read before the ones that are written now finds all it needs. A commit that somebody puts under a deleted version
    stands before a checkpoint, and counts nowhere.
    """
    state, count = await read_table(reader.store, source), 0
    if state.progress is None or state.version - state.summary < every:
        return 0
    since = clock.now() // 1000 - 2 * KEEP_SECONDS * 1000
    data = await asyncio.to_thread(to_checkpoint, state, keep_removed_since=since)
    await put_once(reader.store, clock, history_checkpoint_key(source, state.version), data)
    await put_once(reader.store, clock, history_summary_key(source, state.version), to_summary(state, keep_removed_since=since))
    kept, commits = state.summary, history_commit_prefix(source)
    for prefix, version_of, key_of in (
        (commits, history_commit_version, history_commit_key),
        (commits, history_checkpoint_version, history_checkpoint_key),
        (history_summary_prefix(source), history_summary_version, history_summary_key),
    ):
        for version in await log_versions(reader.store, prefix, version_of):
            if version < kept:
                await reader.store.delete(key_of(source, version))
                count += 1
    return count
