"""What a restore into a living cluster was about to write, so that it can be undone: objects ``undo/{entry}.json`` beside the segments.

    plan -> leases held, looked at again -> every object that is replaced or deleted is in the journal as it is -> mark -> record -> writing

A record is written before anything else is, and never again. It holds no contents of objects: these are in the journal, as they were at the
mark and as they were restored. The mark's name ends with a digest of the record, so that no other object can stand for it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Self

import msgspec

from archiver.errors import Corrupt, Invalid, Refused
from archiver.journal.keys import undo_key
from archiver.journal.put_once import put_once
from archiver.replay.kubernetes.plan_file import PlanFile
from archiver.untrusted import Unreadable, decode_untrusted

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.store.protocol import Store

FORMAT = "archiver-undo"
VERSION = 1
MOST_BYTES = 1 << 30
_SECONDS = 60.0
_BEFORE_THE_MARK = frozenset({"mark", "entry", "time"})
"""Fields that the digest is not of: they name the mark that has it."""
_DIGITS = 32


class UndoRecord(msgspec.Struct, frozen=True):
    """One restore. Fields that a reader does not know are passed over; what changes the meaning of others is a new version."""

    format: str
    version: int
    mark: str
    """Names the restore."""
    entry: int
    """Of the mark: what it has is put back."""
    time: int
    """Of the mark, microseconds since 1970."""
    plan: PlanFile
    """What was about to be written, and nothing else; UIDs and resourceVersions are those right before the writing."""
    undoes: str | msgspec.UnsetType = msgspec.UNSET
    """The mark of the restore that was undone, where an undo wrote this."""

    def write(self) -> bytes:
        """The object."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    @classmethod
    def read(cls, body: bytes, name: str) -> Self:
        """``Corrupt`` for what is no record; ``Invalid`` for one of a later version. ``name``: of the object."""
        try:
            found = decode_untrusted(body, cls, most=MOST_BYTES)
        except Unreadable as error:
            raise Corrupt(f"{name} is no record of a restore: {error}", hint="move it away") from None
        if found.format != FORMAT or found.version != VERSION:
            raise Invalid(
                f"{name} has format {found.format!r} {found.version}, and this version reads {FORMAT} {VERSION}",
                hint="undo the restore with the version that made it",
            )
        return found


def record_digest(body: bytes, name: str) -> str:
    """Of everything in a record but its mark, whatever the order and the white space. ``Corrupt`` for what is no JSON object."""
    try:
        found = decode_untrusted(body, dict[str, Any], most=MOST_BYTES)
    except Unreadable as error:
        raise Corrupt(f"{name} is no record of a restore: {error}", hint="move it away") from None
    kept = {field: value for field, value in found.items() if field not in _BEFORE_THE_MARK}
    return hashlib.sha256(msgspec.json.encode(kept, order="sorted")).hexdigest()[:_DIGITS]


async def put_record(store: Store, clock: Clock, record: UndoRecord) -> None:
    """Keep a record; durable on return. Raises ``Unavailable``."""
    if await put_once(store, clock, undo_key(record.entry), record.write(), patience_seconds=_SECONDS) is not None:
        raise Refused(f"there is another record of a restore at entry {record.entry}", hint="run the command again")
