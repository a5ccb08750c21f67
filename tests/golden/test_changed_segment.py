"""Marks that say where a source's newest change is, as they are stored since then, beside those of programs that did not say."""

from __future__ import annotations

from archiver.journal.entry import SourceMark
from archiver.journal.segment_header import SegmentHeader, encode_header, header_of

FIRST = SourceMark("0/1", 5, 6)
SECOND = SourceMark("0/1", 5, 6, newest_segment=3, gap="overflow")
THIRD = SourceMark("0/1", 5, 6, newest_segment=3, changed_segment=2)
_FIELDS = {FIRST: b"\x99", SECOND: b"\x9b", THIRD: b"\x9c"}
"""MessagePack arrays of 9, 11 and 12."""


def stored(marks: dict[str, SourceMark]) -> bytes:
    return encode_header(SegmentHeader("0" * 32, 4, 1, 1, 0, 1, 0, 0, bytes(32), marks))


def test_each_is_stored_as_its_program_did() -> None:
    """The header's bytes are in the chain: read and stored again they are the same, in any company."""
    for mark, array in _FIELDS.items():
        assert b"\xa2db" + array + b"\xa30/1\x05\x06" in stored({"db": mark})
    header = stored({"a": FIRST, "b": SECOND, "c": THIRD})
    read = header_of(header, 1, 4)
    assert dict(read.sources) == {"a": FIRST, "b": SECOND, "c": THIRD}
    assert encode_header(read) == header
