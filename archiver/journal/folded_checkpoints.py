"""Checking folded checkpoints without knowing the product that they are of. They prove nothing, and the journal has all that they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Corrupt
from archiver.journal.keys import CHECKPOINTS, checkpoint_entry
from archiver.journal.parts import Offload, Part, part_faults
from archiver.journal.record_reader import read_record

if TYPE_CHECKING:
    from archiver.journal.reader import Reader

CHECKPOINT_LIMIT = 1 << 28
"""Bytes that a folded checkpoint may have: parts of a database of 100 TB."""
_CHECKPOINT_PAGE = 100
OTHER_JOURNAL = "it was folded from a journal that is not this one"


class BadCheckpoint(msgspec.Struct, frozen=True):
    """A folded checkpoint that a restore should not begin with. The journal has all that it had: it can be deleted, and made anew."""

    key: str
    reason: str


class _Table(msgspec.Struct):
    """Or a stream."""

    parts: list[Part] = []
    oid: int = 0
    schema: str = ""
    name: str = ""


class Naming(msgspec.Struct):
    """What a Snapshot and a Listing have in common here: only the first names parts."""

    tables: list[_Table] = []
    taken: int = 0
    replay_from: int = 0


class _Folded(msgspec.Struct):
    """What any product's folded checkpoint says of itself."""

    archive: str
    source: str
    entry: int
    segment: int
    chain: str
    snapshot: Naming = msgspec.field(default_factory=Naming)
    """Of a database."""
    streams: list[_Table] = []
    """Of a Kubernetes source."""


async def check_folded(reader: Reader, archive: str, *, deep: bool, offload: Offload) -> tuple[int, list[BadCheckpoint]]:
    """How many are as they were written, with the parts that they name, and those that are not."""
    passed, bad = 0, list[BadCheckpoint]()
    known: dict[Part, str] = {}
    after = ""
    while keys := await reader.store.list(CHECKPOINTS, after=after, limit=_CHECKPOINT_PAGE):
        for key in keys:
            reason = await _folded_fault(reader, archive, key, known, deep=deep, offload=offload)
            if reason:
                bad.append(BadCheckpoint(key, reason))
            else:
                passed += 1
        after = keys[-1]
    return passed, bad


async def continues(reader: Reader, segment: int, chain: str) -> bool:
    """Whether the journal has that ``chain``, hex, before ``segment``. ``Corrupt`` when it cannot be told, as of ``Reader.before``."""
    return (await reader.before(segment)).chain.hex() == chain


async def _folded_fault(reader: Reader, archive: str, key: str, known: dict[Part, str], *, deep: bool, offload: Offload) -> str:
    """Why no restore should begin with the folded checkpoint under ``key``; empty for nothing. ``known``: faults of parts so far."""
    body = await reader.store.get(key, 0, CHECKPOINT_LIMIT + 1)
    if body is None:
        return ""
    if len(body) > CHECKPOINT_LIMIT:
        return f"it has more than {CHECKPOINT_LIMIT} bytes"
    try:
        found = read_record(body, _Folded)
    except Corrupt as error:
        return error.message
    if found.archive != archive or checkpoint_entry(found.source, key) != found.entry:
        return "it is not the checkpoint that its key says"
    try:
        same = await continues(reader, found.segment, found.chain)
    except Corrupt:
        # The journal's own damage, which is told there.
        pass
    else:
        if not same:
            return OTHER_JOURNAL
    parts = [part for each in (*found.snapshot.tables, *found.streams) for part in each.parts]
    new = [part for part in dict.fromkeys(parts) if part not in known]
    known.update(zip(new, await part_faults(reader.store, new, deep=deep, offload=offload), strict=True))
    return next((f"object {part.key}: {known[part]}" for part in parts if known[part]), "")
