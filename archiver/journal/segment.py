"""Bytes of one segment, versions 1 and 2, which differ in the header alone: ``docs/reference/format.md`` has the tables. Pure: bytes in,
values out.

Two hashes: SHA-256 over the stored bytes finds rot and truncation before anything else is read; ``content``, over the raw
bytes of the runs, enters the chain, so that recompressing a segment would not break it.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np

from archiver.errors import Bug
from archiver.journal.entry import Kind, Placed, Run
from archiver.journal.segment_header import (
    ALL_MARKS,
    CHANGED_MARKS,
    UNREADABLE,
    CorruptSegment,
    SegmentHeader,
    encode_header,
    header_of,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = [
    "BLOCK_BYTES",
    "BLOCK_LIMIT",
    "CONTENT_LIMIT",
    "END_BYTES",
    "END_MAGIC",
    "FOOTER_LIMIT",
    "HEADER_LIMIT",
    "HEAD_BYTES",
    "HEAD_MAGIC",
    "NO_PREVIOUS",
    "RUNS_LIMIT",
    "UNREADABLE",
    "VERSION",
    "VERSIONS",
    "CorruptSegment",
    "Segment",
    "SegmentFooter",
    "SegmentHeader",
    "chain_of",
    "check_chain",
    "check_run",
    "check_sizes",
    "compressed_limit",
    "decode",
    "decode_footer",
    "decode_header",
    "encode",
    "footer_bytes",
    "footer_of",
    "header_end",
    "raw_size",
]

VERSION = ALL_MARKS
VERSIONS = (ALL_MARKS, CHANGED_MARKS)
HEAD_MAGIC = b"ARCHSEG" + bytes([VERSION])
"""Of version 1. Others differ in the last byte."""
END_MAGIC = b"ARCHEND" + bytes([VERSION])
NO_PREVIOUS = bytes(32)
"""``prev`` of the first segment."""
BLOCK_BYTES = 1 << 20
"""Raw bytes of every block but the last."""
BLOCK_LIMIT = 1 << 24
"""Raw bytes that a block may have. A writer cuts at ``BLOCK_BYTES``."""
CONTENT_LIMIT = (1 << 30) + (1 << 28)
"""Raw bytes that a segment may have: PostgreSQL sends no message of 1 GiB, and what else arrives with one is small."""
RUNS_LIMIT = 1 << 19
"""Runs that a segment may have: a writer counts each as 128 bytes at least, and 64 MiB is the largest that it gathers."""
HEADER_LIMIT = 1 << 24
"""Bytes that a header may have: marks of 100 000 sources."""
FOOTER_LIMIT = 1 << 16
"""Bytes that a footer may have."""
HEAD_BYTES = len(HEAD_MAGIC) + 4
"""What must be read to know how long the header is."""
END_BYTES = 4 + 32 + len(END_MAGIC)
"""What must be read, from the end, to know how long the footer is."""

_U32 = struct.Struct("<I")
_BLOCK = struct.Struct("<II")


class SegmentFooter(msgspec.Struct, frozen=True, array_like=True):
    """Last part of a segment. Evolves like the header."""

    content: bytes
    """SHA-256 of the raw runs."""
    chain: bytes
    """``chain_of(header.prev, header bytes, content)``."""
    raw: int
    """Bytes of the raw runs."""
    blocks: int


class Segment(msgspec.Struct, frozen=True):
    """A segment that passed every check it can pass alone."""

    header: SegmentHeader
    footer: SegmentFooter
    runs: list[Run]
    """``data`` of these are views of one buffer, which lives as long as one of them."""
    size: int
    """Bytes stored."""

    def placed(self) -> Iterator[Placed]:
        """The runs with their places, in order."""
        header, first = self.header, self.header.first
        for run in self.runs:
            yield Placed(first, header.number, header.epoch, header.time, run)
            first += run.count


class _RunHeader(msgspec.Struct, frozen=True, array_like=True):
    source: str
    kind: Kind
    observed: int
    changed: int
    position: str
    lengths: int
    data: int


_encode = msgspec.msgpack.Encoder(order="sorted").encode
_decode_footer = msgspec.msgpack.Decoder(SegmentFooter).decode
_decode_run = msgspec.msgpack.Decoder(_RunHeader).decode


def chain_of(prev: bytes, header: bytes | memoryview, content: bytes) -> bytes:
    """The hash that stands for a segment and all before it."""
    return hashlib.sha256(b"".join((prev, header, content))).digest()


def check_run(run: Run) -> None:
    """Raise ``Bug`` unless ``run`` has entries, its lengths add up to its data, and a segment can hold it."""
    if len(run.lengths) + len(run.data) > CONTENT_LIMIT - FOOTER_LIMIT:
        raise Bug(f"a run of source {run.source!r} has {len(run.data)} bytes; a segment may have {CONTENT_LIMIT}")
    if not run.lengths or len(run.lengths) % 4 or _total(run.lengths) != len(run.data):
        raise Bug(
            f"a run of source {run.source!r} whose {len(run.lengths)} bytes of lengths do not describe its {len(run.data)} bytes of data"
        )


def _total(lengths: bytes) -> int:
    return int(np.frombuffer(lengths, "<u4").sum(dtype=np.uint64))


def encode(header: SegmentHeader, runs: Sequence[Run], level: int) -> tuple[bytes, SegmentFooter]:
    """Bytes of a segment. Takes long for large ones, mostly without the GIL: call it in a thread.

    ``header.count`` and the runs must agree (``Bug`` otherwise). ``level`` is zstd's, 1 to 19.
    """
    if header.count != sum(run.count for run in runs):
        raise Bug(f"segment {header.number}: the header counts {header.count} entries, its runs hold {sum(run.count for run in runs)}")
    head = encode_header(header)
    version = bytes([header.version])
    if len(head) > HEADER_LIMIT:
        raise Bug(f"segment {header.number}: the header has {len(head)} bytes, {HEADER_LIMIT} are allowed: too many sources")
    content, raw, blocks = hashlib.sha256(), 0, 0
    stored: list[bytes] = [HEAD_MAGIC[:7] + version, _U32.pack(len(head)), head]
    for block in _blocks(runs):
        frame = zstd.compress(block, level)
        content.update(block)
        stored += (_BLOCK.pack(len(frame), len(block)), frame)
        raw += len(block)
        blocks += 1
    digest = content.digest()
    footer = SegmentFooter(digest, chain_of(header.prev, head, digest), raw, blocks)
    foot = _encode(footer)
    stored += (_U32.pack(0), foot, _U32.pack(len(foot)))
    whole = hashlib.sha256()
    for piece in stored:
        whole.update(piece)
    stored += (whole.digest(), END_MAGIC[:7] + version)
    return b"".join(stored), footer


def _blocks(runs: Iterable[Run]) -> Iterator[bytes]:
    gathered: list[bytes | memoryview] = []
    room = BLOCK_BYTES
    for piece in _pieces(runs):
        view = memoryview(piece)
        while len(view) >= room:
            gathered.append(view[:room])
            yield b"".join(gathered)
            view, gathered, room = view[room:], [], BLOCK_BYTES
        if len(view):
            gathered.append(view)
            room -= len(view)
    if gathered:
        yield b"".join(gathered)


def _pieces(runs: Iterable[Run]) -> Iterator[bytes | memoryview]:
    for run in runs:
        head = _encode(_RunHeader(run.source, run.kind, run.observed, run.changed, run.position, len(run.lengths), len(run.data)))
        yield _U32.pack(len(head)) + head
        yield run.lengths
        yield run.data


def header_end(start: bytes, number: int) -> int:
    """Where the header ends, from the first ``HEAD_BYTES`` (or more) of a segment."""
    if len(start) < HEAD_BYTES:
        raise CorruptSegment(number, f"truncated: {len(start)} bytes are less than any segment has")
    if start[:7] != HEAD_MAGIC[:7]:
        raise CorruptSegment(number, "not a segment: it does not begin with the format's magic")
    if start[7] not in VERSIONS:
        raise CorruptSegment(number, f"format version {start[7]} is not known to this program, which knows {_known()}")
    length = int(_U32.unpack_from(start, len(HEAD_MAGIC))[0])
    if length > HEADER_LIMIT:
        raise CorruptSegment(number, f"it says that its header has {length} bytes; {HEADER_LIMIT} are allowed")
    return HEAD_BYTES + length


def _known() -> str:
    return " and ".join(map(str, VERSIONS))


def decode_header(start: bytes, number: int) -> tuple[SegmentHeader, bytes]:
    """The header, and its bytes as they enter the chain, from the beginning of a segment that holds all of it.

    The header alone proves nothing: rot shows only against the footer (``check_chain``) or in the whole segment (``decode``).
    """
    end = header_end(start, number)
    if len(start) < end:
        raise CorruptSegment(number, "truncated: it ends inside the header")
    raw = start[HEAD_BYTES:end]
    return header_of(raw, start[7], number), raw


def footer_bytes(end: bytes, number: int) -> int:
    """How long the footer is, from the last ``END_BYTES`` (or more) of a segment. It stands right before those ``END_BYTES``."""
    if len(end) < END_BYTES or end[-8:-1] != END_MAGIC[:7]:
        raise CorruptSegment(number, "truncated: the end mark is missing")
    if end[-1] not in VERSIONS:
        raise CorruptSegment(number, f"format version {end[-1]} at its end is not known to this program, which knows {_known()}")
    length = int(_U32.unpack_from(end, len(end) - END_BYTES)[0])
    if length > FOOTER_LIMIT:
        raise CorruptSegment(number, f"it says that its footer has {length} bytes; {FOOTER_LIMIT} are allowed")
    return length


def decode_footer(footer: bytes | memoryview, number: int) -> SegmentFooter:
    """The footer from exactly its bytes."""
    try:
        return _decode_footer(footer)
    except UNREADABLE as error:
        raise CorruptSegment(number, f"the footer cannot be read: {error}") from error


def footer_of(data: bytes | memoryview, number: int) -> SegmentFooter:
    """The footer of a whole segment, or of an end of one that holds all of it."""
    at = len(data) - END_BYTES - footer_bytes(bytes(data[-END_BYTES:]), number)
    if at < 0:
        raise CorruptSegment(number, "the footer says it is longer than the segment")
    return decode_footer(memoryview(data)[at : len(data) - END_BYTES], number)


def raw_size(data: bytes, number: int) -> int:
    """Bytes of runs that a whole segment says it holds, before it is opened."""
    header_end(data, number)
    return footer_of(data, number).raw


def check_sizes(stored: int, footer: SegmentFooter, number: int) -> None:
    """Raise ``Corrupt`` when the footer, before anything else was read, says what no segment of ``stored`` bytes may say."""
    if not 0 <= footer.raw <= CONTENT_LIMIT:
        raise CorruptSegment(number, f"it says that it holds {footer.raw} bytes; {CONTENT_LIMIT} are allowed")
    if footer.blocks < 0 or stored > HEADER_LIMIT + FOOTER_LIMIT + compressed_limit(footer.raw, footer.blocks):
        raise CorruptSegment(number, f"it has {stored} bytes, which cannot be the {footer.raw} that it says it holds")


def compressed_limit(raw: int, frames: int) -> int:
    """More bytes than this ``frames`` zstd frames of ``raw`` bytes never have."""
    return raw + (raw >> 7) + 128 * frames


def check_chain(header: SegmentHeader, head: bytes, footer: SegmentFooter) -> None:
    """Raise ``Corrupt`` unless header (``head``: its bytes) and footer belong together and are as they were written."""
    if footer.chain != chain_of(header.prev, head, footer.content):
        raise CorruptSegment(header.number, "its chain hash does not match its header and content")


def decode(data: bytes, number: int) -> Segment:
    """Segment ``number``. ``Corrupt`` unless every byte is as it was written. Long for large ones: call it in a thread."""
    header_end(data, number)
    at = len(data) - END_BYTES - footer_bytes(data[-END_BYTES:], number)
    view = memoryview(data)
    if hashlib.sha256(view[: -END_BYTES + 4]).digest() != data[-40:-8]:
        raise CorruptSegment(number, "the SHA-256 of its bytes does not match: it was altered")
    if data[7] != data[-1]:
        raise CorruptSegment(number, f"it begins in format version {data[7]} and ends in {data[-1]}")
    header, head = decode_header(data, number)
    if at < HEAD_BYTES + len(head):
        raise CorruptSegment(number, "the footer says it is longer than the segment")
    footer = decode_footer(view[at : len(data) - END_BYTES], number)
    check_sizes(len(data), footer, number)
    raw = _raw(view[HEAD_BYTES + len(head) : at], footer, number)
    if hashlib.sha256(raw).digest() != footer.content:
        raise CorruptSegment(number, "its content hash does not match its content")
    check_chain(header, head, footer)
    runs = list(_runs(raw, number))
    if header.count != (held := sum(run.count for run in runs)):
        raise CorruptSegment(number, f"the header counts {header.count} entries, it holds {held}")
    return Segment(header, footer, runs, len(data))


def _raw(stored: memoryview, footer: SegmentFooter, number: int) -> memoryview:
    # What all blocks say is looked at before the first is opened: no more memory is used than the footer says.
    frames = list(_frames(stored, number))
    if sum(length for _, length in frames) != footer.raw or len(frames) != footer.blocks:
        raise CorruptSegment(number, "its blocks are not those that the footer describes")
    if len(frames) == 1:
        return memoryview(_decompress(*frames[0], "block 0", number))
    content, at = bytearray(footer.raw), 0
    for which, (frame, length) in enumerate(frames):
        content[at : at + length] = _decompress(frame, length, f"block {which}", number)
        at += length
    return memoryview(content).toreadonly()


def _frames(stored: memoryview, number: int) -> Iterator[tuple[memoryview, int]]:
    """Every block's zstd frame, and the raw length that it says."""
    at = count = 0
    while True:
        if at + 4 > len(stored):
            raise CorruptSegment(number, "its blocks do not end before the footer")
        (size,) = _U32.unpack_from(stored, at)
        if size == 0:
            break
        if at + 8 + size > len(stored):
            raise CorruptSegment(number, f"block {count} is longer than the segment")
        (length,) = _U32.unpack_from(stored, at + 4)
        if length > BLOCK_LIMIT:
            raise CorruptSegment(number, f"block {count} says it holds {length} bytes; {BLOCK_LIMIT} are allowed")
        yield stored[at + 8 : at + 8 + size], length
        at += 8 + size
        count += 1
    if at + 4 != len(stored):
        raise CorruptSegment(number, "its blocks are not those that the footer describes")


def _decompress(frame: memoryview, length: int, which: str, number: int) -> bytes:
    decompressor = zstd.ZstdDecompressor()
    try:
        block = decompressor.decompress(frame, length + 1)
    except zstd.ZstdError as error:
        raise CorruptSegment(number, f"{which} cannot be decompressed: {error}") from error
    if len(block) != length or not decompressor.eof or decompressor.unused_data:
        raise CorruptSegment(number, f"{which} does not hold the {length} bytes it says")
    return block


def _runs(view: memoryview, number: int) -> Iterator[Run]:
    at = count = 0
    while at < len(view):
        count += 1
        if count > RUNS_LIMIT:
            raise CorruptSegment(number, f"it holds more than {RUNS_LIMIT} runs")
        try:
            start = at + 4 + _U32.unpack_from(view, at)[0]
            head = _decode_run(view[at + 4 : start])
        except (*UNREADABLE, struct.error) as error:
            raise CorruptSegment(number, f"the run at byte {at} of its content cannot be read: {error}") from error
        middle = start + head.lengths
        at = middle + head.data
        lengths = bytes(view[start:middle])
        if head.lengths < 4 or head.lengths % 4 or head.data < 0 or at > len(view) or _total(lengths) != head.data:
            raise CorruptSegment(number, f"the run at byte {start} of its content does not hold what its header says")
        yield Run(head.source, head.kind, head.observed, lengths, view[middle:at], head.changed, head.position)
