"""Finding and reading folded checkpoints of a Kubernetes source. What cannot be used is passed over, and named in the log."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from archiver.errors import Corrupt
from archiver.journal.folded_checkpoints import checkpoint_keys, require_continued
from archiver.journal.parts import fetch_part, opened
from archiver.journal.remedies import CHECKPOINT_ANEW
from archiver.kubernetes.checkpoint_records import CLUSTER_CHECKPOINT_LIMIT, decode_cluster_checkpoint, read_objects

if TYPE_CHECKING:
    from archiver.journal.parts import Offload
    from archiver.journal.reader import Reader
    from archiver.kubernetes.checkpoint_records import ClusterCheckpoint, StreamCheckpoint
    from archiver.kubernetes.stream_state import Key, KnownObject
    from archiver.store.protocol import Store

_log = structlog.get_logger()


async def newest_cluster_checkpoint(reader: Reader, source: str, entry: int) -> ClusterCheckpoint | None:
    """The newest one of ``source`` that has nothing behind ``entry``; ``None``: there is none. Errors as of ``Reader``, but for damage."""
    archive = (await reader.identity()).id
    async with aclosing(checkpoint_keys(reader.store, source, entry)) as keys:
        async for there, key in keys:
            try:
                return await _read(reader, key, archive, source, there)
            except Corrupt as error:
                _log.warning("checkpoint_passed_over", key=key, reason=error.message)
    return None


async def _read(reader: Reader, key: str, archive: str, source: str, entry: int) -> ClusterCheckpoint:
    body = await reader.store.get(key, 0, CLUSTER_CHECKPOINT_LIMIT + 1)
    found = decode_cluster_checkpoint(body or b"", key=key, archive=archive, source=source, entry=entry)
    await require_continued(reader, key, found.segment, found.chain)
    return found


async def load_objects(store: Store, stream: StreamCheckpoint, offload: Offload = asyncio.to_thread) -> dict[Key, KnownObject]:
    """The objects of one stream. ``Corrupt`` when a part is not what the checkpoint says."""
    found: dict[Key, KnownObject] = {}
    for part in stream.parts:
        text: bytes = await offload(opened, part, await fetch_part(store, part))
        found.update(await offload(dict, read_objects(text, part)))
    if len(found) != stream.count:
        raise Corrupt(
            f"the parts of {stream.name} hold {len(found)} objects, and the checkpoint says {stream.count}",
            hint=f"the checkpoint: {CHECKPOINT_ANEW}",
        )
    return found
