"""Bytes of one segment."""

from __future__ import annotations

import hashlib
import struct
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.errors import Bug
from archiver.journal import segment as form
from archiver.journal.entry import Kind, Run, SourceMark
from archiver.journal.segment import CorruptSegment, SegmentHeader, decode, encode
from tests.unit.journal.forge import ARCHIVE, NEW, fence, forge, frames

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

positions = st.text(max_size=20)
times = st.integers(0, 2**53)
runs = st.builds(
    lambda source, kind, bodies, observed, changed, position: Run.of(
        source, kind, bodies, observed=observed, changed=changed, position=position
    ),
    st.text(max_size=20),
    st.sampled_from(Kind),
    st.lists(st.binary(max_size=200), min_size=1, max_size=20),
    times,
    times,
    positions,
)


def small() -> bytes:
    return forge(NEW, [fence(1), frames("db", b"one", b"", b"three", position="0/1")], epoch=1, session=0)[0]


@given(st.lists(runs, max_size=8), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_any_runs_come_back(held: list[Run], level: int) -> None:
    """Any list of runs comes back as it was, and the same header and footer with it."""
    marks = {"db": SourceMark("0/1", 1, 2, 3, 4, 5, 6, 7)}
    header = SegmentHeader(ARCHIVE, 7, 3, 11, sum(run.count for run in held), 9, 1, 2, bytes(32), marks, 5)
    data, footer = encode(header, held, level)
    segment = decode(data, 7)
    assert (segment.header, segment.footer, segment.runs, segment.size) == (header, footer, held, len(data))
    assert [list(run.bodies()) for run in segment.runs] == [list(run.bodies()) for run in held]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_flipped_bit_is_found(data: st.DataObject) -> None:
    """A segment with any one byte altered is refused, with its number and a reason."""
    whole = bytearray(small())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptSegment) as caught:
        decode(bytes(whole), 0)
    assert caught.value.number == 0
    assert caught.value.reason


def test_any_truncation_is_found() -> None:
    """A segment that ends early or late is refused at every length."""
    whole = small()
    for length in range(len(whole)):
        with pytest.raises(CorruptSegment) as caught:
            decode(whole[:length], 0)
        assert caught.value.reason
    with pytest.raises(CorruptSegment):
        decode(whole + b"\0", 0)


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    """Bytes that were never a segment are refused, with and without the magics around them."""
    for data in (noise, form.HEAD_MAGIC + noise, form.HEAD_MAGIC + noise + form.END_MAGIC):
        with pytest.raises(CorruptSegment):
            decode(data, 0)


@pytest.mark.parametrize("at", [7, -1])
def test_an_unknown_version_is_named(at: int) -> None:
    """A segment of another format version is refused with both versions in the message."""
    data = bytearray(small())
    data[at] = 3
    with pytest.raises(CorruptSegment, match=r"version 3.*not known.*knows 1 and 2"):
        decode(bytes(data), 0)


def test_it_knows_its_number() -> None:
    """A segment that was copied to another's key is refused."""
    with pytest.raises(CorruptSegment, match="says that it is segment 0"):
        decode(small(), 1)


@pytest.mark.parametrize("size", [form.BLOCK_BYTES - 60, form.BLOCK_BYTES, 3 * form.BLOCK_BYTES + 17])
def test_runs_cross_blocks(size: int) -> None:
    """A body may be larger than a block, and runs may begin and end anywhere in blocks."""
    big = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    held = [fence(1), frames("db", b"before"), frames("db", big, b"after"), frames("db", b"last")]
    data, _ = forge(NEW, held, epoch=1)
    segment = decode(data, 0)
    assert segment.runs == held
    assert segment.footer.blocks == -(-segment.footer.raw // form.BLOCK_BYTES)


def test_bodies_are_not_copied() -> None:
    """The data of a decoded run is a view, whatever its size."""
    segment = decode(small(), 0)
    assert all(isinstance(run.data, memoryview) for run in segment.runs)


def test_the_header_stands_alone() -> None:
    """The header can be read from the first bytes, and tells when there are not enough."""
    data = small()
    end = form.header_end(data[: form.HEAD_BYTES], 0)
    header, raw = form.decode_header(data[:end], 0)
    assert header == decode(data, 0).header
    assert form.chain_of(header.prev, raw, decode(data, 0).footer.content) == decode(data, 0).footer.chain
    with pytest.raises(CorruptSegment, match="inside the header"):
        form.decode_header(data[: end - 1], 0)


def test_recompressing_keeps_the_chain() -> None:
    """The chain goes over content, not over stored bytes: another compression level gives the same footer."""
    header = SegmentHeader(ARCHIVE, 0, 1, 1, 100, 1, 1, 1, bytes(32), {})
    held = [frames("db", *[b"compress me %d" % n for n in range(100)])]
    assert encode(header, held, 1)[1] == encode(header, held, 9)[1]


@pytest.mark.parametrize(
    "run",
    [
        Run("db", Kind.PG_FRAMES, 1, b"", b""),
        Run("db", Kind.PG_FRAMES, 1, b"\1\0\0", b"x"),
        Run("db", Kind.PG_FRAMES, 1, b"\2\0\0\0", b"x"),
        Run("db", Kind.PG_FRAMES, 1, b"\1\0\0\0\1\0\0\0", b"x"),
    ],
)
def test_a_run_that_contradicts_itself_is_a_bug(run: Run) -> None:
    """Lengths that do not describe the data never reach the journal."""
    with pytest.raises(Bug):
        form.check_run(run)


def test_a_wrong_count_is_a_bug() -> None:
    """The header's count is checked before anything is written."""
    with pytest.raises(Bug, match="counts 5"):
        forge(NEW, [frames("db", b"x")], count=5)


# Segments that were forged with valid hashes: structure is checked although no bit is wrong


def _sealed(header: SegmentHeader, blocks: bytes, footer: form.SegmentFooter | bytes) -> bytes:
    head = msgspec.msgpack.encode(header)
    foot = footer if isinstance(footer, bytes) else msgspec.msgpack.encode(footer)
    body = form.HEAD_MAGIC + struct.pack("<I", len(head)) + head + blocks + foot + struct.pack("<I", len(foot))
    return body + hashlib.sha256(body).digest() + form.END_MAGIC


def _forged(raw: bytes, *, count: int = 1, blocks: bytes | None = None, length: int | None = None, number: int = 1) -> bytes:
    header = SegmentHeader(ARCHIVE, 0, 1, 1, count, 1, 1, 1, bytes(32), {})
    content = hashlib.sha256(raw).digest()
    chain = form.chain_of(header.prev, msgspec.msgpack.encode(header), content)
    if blocks is None:
        frame = zstd.compress(raw)
        blocks = struct.pack("<II", len(frame), len(raw)) + frame + bytes(4)
    return _sealed(header, blocks, form.SegmentFooter(content, chain, len(raw) if length is None else length, number))


def _run(*fields: object, tail: bytes = b"") -> bytes:
    head = msgspec.msgpack.encode(fields)
    return struct.pack("<I", len(head)) + head + tail


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (_forged(b"\x01\0"), "cannot be read"),
        (_forged(_run("db", 99, 1, 1, "", 4, 1, tail=b"\1\0\0\0x")), "cannot be read.*99"),
        (_forged(_run("db", 17, 1, 1, "", 4, 9, tail=b"\1\0\0\0x")), "does not hold"),
        (_forged(_run("db", 17, 1, 1, "", 4, 1, tail=b"\2\0\0\0x")), "does not hold"),
        (_forged(_run("db", 17, 1, 1, "", -4, 5, tail=b"\1\0\0\0x")), "does not hold"),
        (_forged(_run("db", 17, 1, 1, "", 0, 0)), "does not hold"),
        (_forged(_run("db", 17, 1, 1, "", 4, 1, tail=b"\1\0\0\0x"), count=2), "counts 2 entries, it holds 1"),
        (_forged(b"", count=0, blocks=struct.pack("<I", 0), number=0, length=5), "not those that the footer describes"),
        (_forged(b"", count=0, blocks=b"", number=0), "do not end"),
        (_forged(b"x", blocks=struct.pack("<II", 500, 1)), "longer than the segment"),
        (_forged(b"x", blocks=struct.pack("<II", 5, 1) + b"noise" + bytes(4)), "cannot be decompressed"),
        (_forged(b"x", blocks=struct.pack("<II", 5, 1 << 30) + b"noise" + bytes(4)), "are allowed"),
        (_forged(b"", count=0, blocks=struct.pack("<II", 10, 5) + zstd.compress(b"x") + bytes(4), length=5), "does not hold the 5 bytes"),
        (_sealed(SegmentHeader(ARCHIVE, 0, 1, 1, 0, 1, 1, 1, bytes(32), {}), bytes(4), b"\xc1"), "footer cannot be read"),
        (
            _sealed(SegmentHeader(ARCHIVE, 0, 1, 1, 0, 1, 1, 1, bytes(32), {}), bytes(4), form.SegmentFooter(bytes(32), bytes(32), 0, 0)),
            "content hash",
        ),
        (
            _sealed(
                SegmentHeader(ARCHIVE, 0, 1, 1, 0, 1, 1, 1, bytes(32), {}),
                bytes(4),
                form.SegmentFooter(hashlib.sha256().digest(), bytes(32), 0, 0),
            ),
            "chain hash",
        ),
    ],
)
def test_forged_structure_is_found(data: bytes, reason: str) -> None:
    """What no honest writer makes is refused with its reason, even when all hashes are right."""
    with pytest.raises(CorruptSegment, match=reason):
        decode(data, 0)


def test_the_header_may_grow() -> None:
    """A header with fields that a later version appended is read, and its chain still holds."""
    header = SegmentHeader(ARCHIVE, 0, 1, 1, 0, 1, 1, 1, bytes(32), {"db": SourceMark("p")})
    grown = [*msgspec.to_builtins(header, builtin_types=(bytes,)), "later"]
    head = msgspec.msgpack.encode(grown)
    content = hashlib.sha256().digest()
    foot = msgspec.msgpack.encode(form.SegmentFooter(content, form.chain_of(header.prev, head, content), 0, 0))
    body = form.HEAD_MAGIC + struct.pack("<I", len(head)) + head + bytes(4) + foot + struct.pack("<I", len(foot))
    assert decode(body + hashlib.sha256(body).digest() + form.END_MAGIC, 0).header == header
