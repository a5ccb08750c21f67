"""What it means when a segment's number is not, or may not be, ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.errors import ArchiverError, Corrupt, Fenced, Unavailable
from archiver.journal.entry import Kind
from archiver.journal.identity import read_identity
from archiver.journal.keys import SEGMENTS, number_of, segment_key
from archiver.journal.last_segment import look_behind
from archiver.journal.put_once import FOREIGN_BYTES
from archiver.journal.record_reader import read_record
from archiver.journal.records import Session
from archiver.journal.segment import CorruptSegment, Segment, decode

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.chain import End
    from archiver.store.protocol import Store

_PAUSE_SECONDS = 1.0


def intruder(data: bytes, own: End) -> ArchiverError:
    """Why a writer must end that finds ``data`` under the number where it wanted to create ``own``, or behind it."""
    try:
        segment = decode(data, own.segment)
    except Corrupt as error:
        return error
    header = segment.header
    if header.archive != own.archive:
        return CorruptSegment(header.number, f"it belongs to archive {header.archive}, this one is {own.archive}")
    if header.epoch > own.epoch:
        return Fenced(
            f"fenced: {_who(segment)} took the archive over with epoch {header.epoch} in segment {header.number};"
            f" this writer has epoch {own.epoch}",
            hint="one archive has one writer: stop one of the two, or give them different archives",
        )
    return CorruptSegment(header.number, f"a segment of epoch {header.epoch} stands where this writer, epoch {own.epoch}, writes")


def _who(segment: Segment) -> str:
    session = session_of(segment)
    return f"instance {session.instance!r}" if session else "another writer"


def session_of(segment: Segment) -> Session | None:
    """The session that ``segment`` opens; ``None`` when it opens none. ``Corrupt`` when it cannot be read."""
    if not segment.runs or segment.runs[0].kind is not Kind.SESSION:
        return None
    opening = next(segment.placed())
    return read_record(next(opening.run.bodies()), Session, opening)


async def recheck(store: Store, clock: Clock, own: End, *, patience_seconds: float | None = None) -> None:
    """After a stall, and after a fence: raise unless the segment that was just created is still the journal's end in the same archive.

    Create-if-absent forgets deleted keys: a number that others filled, and that was retired while this writer stood still, would be created
    again. ``Unavailable`` when the store has not answered for ``patience_seconds`` (``None``: never).
    """
    began = clock.monotonic()
    while True:
        try:
            await _recheck(store, own)
            return
        except Unavailable:
            if patience_seconds is not None and clock.monotonic() - began >= patience_seconds:
                raise
            await clock.sleep(_PAUSE_SECONDS)


async def _recheck(store: Store, own: End) -> None:
    identity = await read_identity(store)
    if identity is None or identity.id != own.archive:
        raise Corrupt(
            f"the archive at {store.url} was removed or replaced while this writer stood still",
            hint="stop whoever deletes in it, then start again",
        )
    behind = await look_behind(store, own.segment)
    if behind.key:
        raise await _behind(store, behind.key, own)
    if own.segment and await store.size(segment_key(own.segment - 1)) is None:
        raise CorruptSegment(own.segment - 1, "it was there and is gone")


async def _behind(store: Store, key: str, own: End) -> ArchiverError:
    number, data = number_of(key), await store.get(key, 0, FOREIGN_BYTES)
    if number is None or data is None:
        return Corrupt(
            f"{key} of {store.url} stands behind the segments and is none",
            hint=f"move it away: nothing but segments may stand under {SEGMENTS}",
        )
    error = intruder(data, msgspec.structs.replace(own, segment=number))
    if isinstance(error, CorruptSegment) and _goes_on(data, own, number):
        return Fenced(
            f"fenced: segment {number} stands behind segment {own.segment}: another writer went on while this one stood still",
            hint="one archive has one writer: start this one again, or stop one of the two",
        )
    return error


def _goes_on(data: bytes, own: End, number: int) -> bool:
    """Whether it is of the same archive and epoch: two that looked at the same end give themselves the same one."""
    try:
        header = decode(data, number).header
    except Corrupt:
        return False
    return header.archive == own.archive and header.epoch == own.epoch
