"""The first part of a segment: what it says of itself, of the segment before, and of where every source stands. Pure.

Two forms, told apart by the version of the segment. In version 1 a header has the marks of all sources. In version 2 it has those that
changed since a segment that has all, and that one's number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from archiver.errors import Corrupt
from archiver.journal.changed_marks import ChangedMarks
from archiver.journal.entry import SourceMark

ALL_MARKS = 1
"""Version of segments whose header has the marks of all sources."""
CHANGED_MARKS = 2
"""Version of segments whose header has the marks that changed since another one."""
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they should be. The last: fields of a later version may nest without end."""


class CorruptSegment(Corrupt):
    """``Corrupt``, with the segment's number and the reason apart."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(
            f"segment {number}: {reason}",
            hint="run `archiver verify`: it names all that is bad, and which points can still be restored",
        )
        self.number = number
        self.reason = reason


class SegmentHeader(msgspec.Struct, frozen=True, array_like=True):
    """First part of a segment. ``array_like``: fields are only ever appended, each with a default."""

    archive: str
    """Identity of the archive, 32 hex digits."""
    number: int
    epoch: int
    """Session of the writer: 1, 2, 3, …"""
    first: int
    """Sequence number of the first entry, or that the next entry will have when there is none here."""
    count: int
    """How many entries."""
    time: int
    """Journal time, microseconds: when the segment was sealed; strictly increasing over valid segments."""
    observed_min: int
    """Smallest and greatest ``Run.observed`` of the segment; 0 when it is empty."""
    observed_max: int
    prev: bytes
    """``SegmentFooter.chain`` of the last valid segment before this one."""
    sources: Mapping[str, SourceMark]
    """Where every source of the archive stands after this segment. The journal's own entries (source ``""``) have no mark.
    ``ChangedMarks``: not all of them stand here.
    """
    session: int = 0
    """Number of the segment that opened this session."""

    @property
    def version(self) -> int:
        """Of the segment."""
        return CHANGED_MARKS if isinstance(self.sources, ChangedMarks) else ALL_MARKS


class ChangesHeader(msgspec.Struct, frozen=True, array_like=True):
    """A header of version 2 as it is stored: ``sources`` has what changed since segment ``base``. Evolves like the other."""

    archive: str
    number: int
    epoch: int
    first: int
    count: int
    time: int
    observed_min: int
    observed_max: int
    prev: bytes
    sources: dict[str, SourceMark]
    session: int
    base: int


class _FirstMark(msgspec.Struct, frozen=True, array_like=True):
    """A mark as programs stored it that did not know the newest segment."""

    position: str
    changed: int
    observed: int
    checkpoint: int
    checkpoint_segment: int
    control: int
    control_segment: int
    stream_segment: int
    schema_segment: int


class _SecondMark(_FirstMark, frozen=True, array_like=True):
    """As programs stored it that did not know where the newest change is, and as it is stored where there is none."""

    newest_segment: int
    gap: str


_encode = msgspec.msgpack.Encoder(order="sorted").encode
_decode = msgspec.msgpack.Decoder(SegmentHeader).decode
_decode_changes = msgspec.msgpack.Decoder(ChangesHeader).decode
_FIELDS = SegmentHeader.__struct_fields__
_FIRST_FIELDS = _FirstMark.__struct_fields__
_SECOND_FIELDS = _SecondMark.__struct_fields__


def encode_header(header: SegmentHeader) -> bytes:
    """The bytes that are stored and enter the chain."""
    values: dict[str, Any] = {name: getattr(header, name) for name in _FIELDS}
    if not isinstance(header.sources, ChangedMarks):
        return _encode(SegmentHeader(**values | {"sources": _stored(header.sources)}))
    return _encode(ChangesHeader(**values | {"sources": _stored(header.sources.changed)}, base=header.sources.base))


def _stored(marks: Mapping[str, SourceMark]) -> Mapping[str, Any]:
    """Marks that were read of an older program are stored as it stored them: their bytes are in the chain."""
    if all(mark.changed_segment >= 0 for mark in marks.values()):
        return marks
    return {source: _mark_as_stored(mark) for source, mark in marks.items()}


def _mark_as_stored(mark: SourceMark) -> SourceMark | _FirstMark | _SecondMark:
    if mark.changed_segment >= 0:
        return mark
    if mark.newest_segment >= 0:
        return _SecondMark(*(getattr(mark, name) for name in _SECOND_FIELDS))
    return _FirstMark(*(getattr(mark, name) for name in _FIRST_FIELDS))


def header_of(raw: bytes, version: int, number: int) -> SegmentHeader:
    """The header of segment ``number`` from exactly its bytes. ``Corrupt`` when it is none."""
    try:
        header = _of_changes(_decode_changes(raw), number) if version == CHANGED_MARKS else _decode(raw)
    except UNREADABLE as error:
        raise CorruptSegment(number, f"the header cannot be read: {error}") from error
    if header.number != number:
        raise CorruptSegment(number, f"it says that it is segment {header.number}")
    return header


def _of_changes(stored: ChangesHeader, number: int) -> SegmentHeader:
    if not 0 <= stored.session <= stored.base < stored.number:
        raise CorruptSegment(number, f"it says that segment {stored.base} of its session, which began with {stored.session}, has all marks")
    values: dict[str, Any] = {name: getattr(stored, name) for name in _FIELDS}
    return SegmentHeader(**values | {"sources": ChangedMarks(stored.base, stored.sources)})
