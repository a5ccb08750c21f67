"""What a restore begins from: a copy of the source, which the journal holds, or a checkpoint that was folded from one."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from archiver.errors import Corrupt
from archiver.journal.folded_checkpoints import CHECKPOINT_LIMIT, checkpoint_keys, decode_folded, require_continued
from archiver.journal.remedies import CHECKPOINT_ANEW
from archiver.postgres.checkpoint_records import VERSION, FoldedCheckpoint, KnownRelation
from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import Snapshot
from archiver.replay.postgres.plan.journal_survey import FoundRecord
from archiver.replay.postgres.plan.plan import Ref
from archiver.replay.postgres.plan.point_location import checkpoint_at

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.replay.points import Point
    from archiver.store.protocol import Store

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Beginning:
    """Rows to begin with, and where they come from."""

    found: FoundRecord[Snapshot]
    folded: FoldedCheckpoint | None = None
    """None: the journal itself holds the copy."""
    key: str = ""
    sha256: str = ""
    """Of the folded checkpoint's object."""


async def beginnings(reader: Reader, source: str, point: Point, end: int) -> AsyncGenerator[Beginning]:
    """All that serve ``point``, the one nearest to it first; the last is the newest copy of the source itself.

    ``end``: the segment of the point. ``Refused`` when there is none, as ``checkpoint_at`` says. A folded checkpoint that cannot be read,
    or that another journal was folded to, is passed over and named in the log: nothing is lost with it but time.
    """
    copy = await checkpoint_at(reader, source, point, end)
    header = await reader.header(end)
    assert header is not None
    archive = (await reader.identity()).id
    async with aclosing(checkpoint_keys(reader.store, source, header.first + header.count - 1)) as keys:
        async for entry, key in keys:
            if entry <= copy.record.replay_from:
                break
            try:
                body = await read_checkpoint(reader.store, key)
                folded = decode_checkpoint(body, key=key, archive=archive, source=source, entry=entry)
                await require_continued(reader, key, folded.segment, folded.chain)
            except Corrupt as error:
                _log.warning("checkpoint_passed_over", key=key, reason=error.message)
                continue
            if _serves(folded, point) and parse_lsn(folded.snapshot.lsn) >= parse_lsn(copy.record.lsn):
                found = FoundRecord(Ref(entry, folded.segment), folded.snapshot)
                yield Beginning(found, folded, key, hashlib.sha256(body).hexdigest())
    yield Beginning(copy)


async def read_checkpoint(store: Store, key: str) -> bytes:
    """The object of a folded checkpoint. ``Corrupt`` when it is gone, or larger than one can be."""
    body = await store.get(key, 0, CHECKPOINT_LIMIT + 1)
    if body is None:
        raise Corrupt(f"checkpoint {key} is missing", hint="make a new plan: another checkpoint or the journal serves")
    if len(body) > CHECKPOINT_LIMIT:
        raise Corrupt(f"checkpoint {key} has more than {CHECKPOINT_LIMIT} bytes", hint=CHECKPOINT_ANEW)
    return body


def decode_checkpoint(body: bytes, *, key: str, archive: str, source: str, entry: int) -> FoldedCheckpoint:
    """The checkpoint under ``key``, which must be what its key says. ``Corrupt`` otherwise."""
    found = decode_folded(
        body, FoldedCheckpoint, version=VERSION, most=CHECKPOINT_LIMIT, key=key, archive=archive, source=source, entry=entry
    )
    if not all(map(_is_sound, found.relations)):
        raise Corrupt(f"{key} describes a relation by columns that it does not have", hint=CHECKPOINT_ANEW)
    return found


def _is_sound(relation: KnownRelation) -> bool:
    columns = range(relation.width)
    pairs = (relation.attnums, relation.positions), (relation.key, relation.key_positions)
    return relation.width < 1 << 16 and all(len(names) == len(places) and set(places) <= set(columns) for names, places in pairs)


def _serves(folded: FoldedCheckpoint, point: Point) -> bool:
    if point.kind == "lsn":
        return parse_lsn(folded.snapshot.lsn) <= point.number
    if point.kind == "time":
        return folded.snapshot.taken <= point.number
    return folded.entry <= point.number
