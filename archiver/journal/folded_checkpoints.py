"""Finding, opening and checking folded checkpoints without knowing the product that they are of.

They prove nothing, and the journal has all that they hold.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from archiver.errors import Corrupt
from archiver.journal.boundary import Retired
from archiver.journal.keys import CHECKPOINTS, checkpoint_entry, checkpoint_key, checkpoint_prefix
from archiver.journal.parts import Offload, Part, part_faults
from archiver.journal.record_reader import read_record
from archiver.journal.remedies import CHECKPOINT_ANEW
from archiver.untrusted import Unreadable, decode_untrusted

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.store.protocol import Store

_HEAD_BYTES = 4096
_SEGMENT = re.compile(rb'^\{"format":[^{\[]*,"segment":(\d{1,18}),')
"""Before anything that nests, in the order in which a checkpoint is written."""
CHECKPOINT_LIMIT = 1 << 28
"""Bytes that a folded checkpoint may have: parts of a database of 100 TB."""
_CHECKPOINT_PAGE = 100
"""What to do about a checkpoint that cannot be used."""
OTHER_JOURNAL = "it was folded from a journal that is not this one"


class BadCheckpoint(msgspec.Struct, frozen=True):
    """A folded checkpoint that a restore should not begin with. What the journal has of it can be made anew."""

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


class _OfOneKey(Protocol):
    """What every product's folded checkpoint repeats of its key, and the version of its format."""

    @property
    def format(self) -> int: ...
    @property
    def archive(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def entry(self) -> int: ...


_Checkpoint = TypeVar("_Checkpoint", bound=_OfOneKey)


async def checkpoint_keys(store: Store, source: str, entry: int) -> AsyncGenerator[tuple[int, str]]:
    """Entry and key of every folded checkpoint of ``source`` that has nothing behind ``entry``, the newest first. Errors as of ``list``."""
    after = checkpoint_key(source, entry + 1)
    while keys := await store.list(checkpoint_prefix(source), after=after, limit=_CHECKPOINT_PAGE):
        for key in keys:
            if (found := checkpoint_entry(source, key)) is not None:
                yield found, key
        after = keys[-1]


def decode_folded(
    body: bytes, kind: type[_Checkpoint], *, version: int, most: int, key: str, archive: str, source: str, entry: int
) -> _Checkpoint:
    """The checkpoint under ``key``, which must be what its key says. ``Corrupt`` otherwise. ``most``: bytes that it may have."""
    try:
        found = decode_untrusted(body, kind, most=most)
    except Unreadable as error:
        raise Corrupt(f"{key} cannot be read: {error}", hint=CHECKPOINT_ANEW) from None
    if found.format != version:
        raise Corrupt(f"{key} has format {found.format}; this program knows {version}", hint="use a newer archiver")
    if (found.archive, found.source, found.entry) != (archive, source, entry):
        raise Corrupt(f"{key} is not the checkpoint that its key says", hint=CHECKPOINT_ANEW)
    return found


async def segment_near(store: Store, key: str) -> int | None:
    """The segment that the folded checkpoint under ``key`` says it is near. A hint, from its first bytes; ``None``: they do not say."""
    head = await store.get(key, 0, _HEAD_BYTES)
    found = _SEGMENT.search(head or b"")
    return int(found[1]) if found else None


def named_parts(body: bytes, archive: str, key: str) -> list[Part]:
    """The parts of any product's folded checkpoint. ``Corrupt`` when it cannot be read, or is not what its key says."""
    if len(body) > CHECKPOINT_LIMIT:
        raise Corrupt(f"it has more than {CHECKPOINT_LIMIT} bytes")
    found = read_record(body, _Folded)
    if found.archive != archive or checkpoint_entry(found.source, key) != found.entry:
        raise Corrupt("it is not the checkpoint that its key says")
    return [part for each in (*found.snapshot.tables, *found.streams) for part in each.parts]


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


async def require_continued(reader: Reader, key: str, segment: int, chain: str) -> None:
    """``Corrupt`` when the checkpoint under ``key`` was folded from another journal, or when it cannot be told."""
    if not await continues(reader, segment, chain):
        raise Corrupt(f"{key}: {OTHER_JOURNAL}", hint="run `archiver verify`")


async def continues(reader: Reader, segment: int, chain: str) -> bool:
    """Whether the journal has that ``chain``, hex, before ``segment``. ``Corrupt`` when it cannot be told, as of ``Reader.before``, or when
    the journal there was retired: what began there is of no use.
    """
    try:
        return (await reader.before(segment)).chain.hex() == chain
    except Retired as error:
        raise Corrupt(error.message, hint="nothing is to be done: the next pass of retention deletes what needs it") from None


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
    boundary = await reader.boundary()
    if boundary is not None and found.segment < boundary.first:
        # It waits to be deleted, as do its parts.
        return ""
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
