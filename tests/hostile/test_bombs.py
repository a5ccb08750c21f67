"""Objects of an archive that say they are larger than they are, or are larger than they say: little memory, and a plain answer."""

from __future__ import annotations

import hashlib
import struct
import sys
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from archiver.errors import Corrupt
from archiver.journal import segment as form
from archiver.journal.identity import require_identity
from archiver.journal.keys import IDENTITY, part_key, segment_key
from archiver.journal.parts import ROWS_LIMIT, Part, fetch_part, opened, part_fault
from archiver.journal.reader import Reader
from archiver.journal.segment import CorruptSegment, SegmentFooter, SegmentHeader
from archiver.store.directory import DirectoryStore
from archiver.store.memory import MemoryStore
from archiver.store.protocol import Store
from tests.simulation.loop import inline, play
from tests.unit.journal.forge import ARCHIVE, Forgery, frames

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1 << 20
KEY = part_key("db", "base", 0)


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Nothing in the block has more than ``size`` bytes at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] <= size
    finally:
        tracemalloc.stop()


def header(number: int, end: Any = None) -> SegmentHeader:
    first, time, prev, epoch = (end.next, end.time + 1, end.chain, end.epoch) if end else (1, 1, bytes(32), 1)
    return SegmentHeader(ARCHIVE, number, epoch, first, 0, time, 0, 0, prev, {}, 0)


def sealed(head: bytes, blocks: bytes, foot: bytes, *, head_length: int | None = None, foot_length: int | None = None) -> bytes:
    """A segment whose lengths and content are as given, and whose hash of the stored bytes is right."""
    lengths = struct.pack("<I", len(head) if head_length is None else head_length), struct.pack("<I", foot_length or len(foot))
    body = form.HEAD_MAGIC + lengths[0] + head + blocks + foot + lengths[1]
    return body + hashlib.sha256(body).digest() + form.END_MAGIC


def blocks_of(raw: bytes, times: int) -> bytes:
    frame = zstd.compress(raw, 3)
    return (struct.pack("<II", len(frame), len(raw)) + frame) * times + bytes(4)


def bomb(number: int, *, times: int, said: int | None = None, end: Any = None) -> bytes:
    """``times`` blocks of 16 MiB in about a KiB each. ``said``: what the footer says that they hold."""
    raw = times * form.BLOCK_LIMIT if said is None else said
    foot = msgspec.msgpack.encode(SegmentFooter(bytes(32), bytes(32), raw, times))
    return sealed(msgspec.msgpack.encode(header(number, end)), blocks_of(bytes(form.BLOCK_LIMIT), times), foot)


HEAD = msgspec.msgpack.encode(header(1))
FOOT = msgspec.msgpack.encode(SegmentFooter(bytes(32), bytes(32), 0, 0))
TINY_RUN = struct.pack("<I", 8) + msgspec.msgpack.encode(("", 4, 0, 0, "", 4, 0)) + bytes(4)
BOMBS = {
    "blocks that the footer does not know": lambda: bomb(1, times=400, said=0),
    "blocks that hold more than any segment": lambda: bomb(1, times=400),
    "a footer that says less": lambda: bomb(1, times=400, said=form.BLOCK_LIMIT),
    "one block that says too much": lambda: sealed(HEAD, struct.pack("<II", 8, 1 << 31) + bytes(8) + bytes(4), FOOT),
    "one block that holds more than it says": lambda: sealed(
        HEAD,
        blocks_of(bytes(200 * MIB), 1)[:4] + struct.pack("<I", 10) + blocks_of(bytes(200 * MIB), 1)[8:],
        msgspec.msgpack.encode(SegmentFooter(bytes(32), bytes(32), 10, 1)),
    ),
    "a header that says it is 4 GiB": lambda: sealed(HEAD, bytes(4), FOOT, head_length=0xFFFFFFF0),
    "a footer that says it is 4 GiB": lambda: sealed(HEAD, bytes(4), FOOT, foot_length=0xFFFFFFF0),
    "a footer that says a negative length": lambda: sealed(
        HEAD, bytes(4), msgspec.msgpack.encode(SegmentFooter(bytes(32), bytes(32), -1, -1))
    ),
    "a header that nests without end": lambda: sealed(b"\xdc\x00\x0c" + HEAD[1:] + b"\x91" * 100_000 + b"\xc0", bytes(4), FOOT),
    "a footer that nests without end": lambda: sealed(HEAD, bytes(4), b"\x95" + FOOT[1:] + b"\x91" * 50_000 + b"\xc0"),
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
def test_a_segment_that_lies_about_its_size(make: Callable[[], bytes]) -> None:
    """It is refused with its number and a reason, by whoever meets it, and costs little more than its stored bytes."""
    forgery = Forgery()
    forgery.open()
    forgery.store.create(segment_key(1), make())

    async def story() -> None:
        reader = Reader(forgery.store, offload=inline)
        calls: list[Callable[[], Awaitable[object]]] = [lambda: reader.segment(1), lambda: collect(reader)]
        for call in calls:
            with pytest.raises(CorruptSegment) as caught:
                await call()
            assert caught.value.number == 1

    with at_most(64 * MIB):
        play(story())


async def collect(reader: Reader) -> list[int]:
    return [placed.first async for placed in reader.read()]


def test_runs_that_are_too_many() -> None:
    """A run costs more memory than bytes: a segment with more than any writer makes is refused before all of them are there."""
    raw = TINY_RUN * (form.RUNS_LIMIT + 1)
    content = hashlib.sha256(raw).digest()
    chain = form.chain_of(bytes(32), HEAD, content)
    pieces = [raw[at : at + MIB] for at in range(0, len(raw), MIB)]
    blocks = b"".join(blocks_of(piece, 1)[:-4] for piece in pieces) + bytes(4)
    foot = msgspec.msgpack.encode(SegmentFooter(content, chain, len(raw), len(pieces)))
    with pytest.raises(CorruptSegment, match="more than"):
        form.decode(sealed(HEAD, blocks, foot), 1)


async def test_a_huge_object_among_the_segments(tmp_path: Path) -> None:
    """20 GB under the next number: only what tells that it is none is read."""
    forgery = Forgery()
    forgery.open()
    store = DirectoryStore(tmp_path)
    for key in (IDENTITY, segment_key(0)):
        assert await store.put_if_absent(key, forgery.store.peek(key) or b"")
    good = bomb(1, times=1, end=forgery.end)
    with (tmp_path / segment_key(1)).open("wb") as file:
        file.write(good[:4000])
        file.truncate(20 << 30)
    with at_most(64 * MIB), pytest.raises(CorruptSegment):
        await Reader(store).segment(1)
    with at_most(128 * MIB), pytest.raises(CorruptSegment):
        await collect(Reader(store))
    with (tmp_path / segment_key(1)).open("r+b") as file:
        file.seek(-len(FOOT) - form.END_BYTES, 2)
        file.write(FOOT + struct.pack("<I", len(FOOT)) + bytes(32) + form.END_MAGIC)
    with at_most(64 * MIB), pytest.raises(CorruptSegment, match="cannot be the 0"):
        await Reader(store).segment(1)
    await store.close()


async def test_a_huge_identity(tmp_path: Path) -> None:
    """``archive.json`` of 20 GB is not read."""
    (tmp_path / IDENTITY).touch()
    with (tmp_path / IDENTITY).open("wb") as file:
        file.truncate(20 << 30)
    store = DirectoryStore(tmp_path)
    with at_most(4 * MIB), pytest.raises(Corrupt):
        await require_identity(store)
    await store.close()


def part_of(stored: bytes, raw_size: int, *, size: int | None = None) -> Part:
    return Part(KEY, 1, len(stored) if size is None else size, raw_size, hashlib.sha256(stored).hexdigest())


def large() -> bytes:
    """A few KiB that open to 1 GiB."""
    compressor, chunk = zstd.ZstdCompressor(level=1), bytes(16 * MIB)
    return b"".join([*(compressor.compress(chunk) for _ in range(64)), compressor.flush()])


@pytest.mark.parametrize("said", [0, 17, ROWS_LIMIT + 1, 1 << 60, -1])
def test_a_part_that_lies_about_its_rows(said: int) -> None:
    """Hash and stored size are right, what it opens to is not: refused within what the entry says, by a restore and by verify."""
    stored = large()
    part = part_of(stored, said)
    store = MemoryStore()
    store.create(KEY, stored)
    with at_most(64 * MIB):
        with pytest.raises(Corrupt, match=KEY):
            opened(part, stored)
        assert play(part_fault(store, part, deep=True, offload=inline))


class Watched(MemoryStore):
    """Counts the bytes that it gives out."""

    given = 0

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        data = await super().get(key, start, length)
        self.given += len(data or b"")
        return data


@pytest.mark.parametrize("size", [0, 1, 100, -5])
def test_a_part_that_is_larger_than_its_entry_says(size: int) -> None:
    """No more than a byte beyond what the entry says is read."""
    store = Watched()
    store.create(KEY, bytes(5000))
    part = part_of(bytes(5000), 5000, size=size)
    with pytest.raises(Corrupt, match=KEY):
        play(fetch_part(store, part))
    assert store.given <= max(0, size + 1)
    assert play(part_fault(store, part, deep=True, offload=inline))


def test_a_part_is_one_of_ours() -> None:
    """An entry cannot name an object that is no part."""
    for key in ("archive.json", segment_key(0), "../etc/passwd", ""):
        store: Store = MemoryStore()
        with pytest.raises(Corrupt, match="none"):
            play(fetch_part(store, Part(key, 1, 1, 1, "")))


def test_a_large_entry_is_still_read() -> None:
    """The bounds leave room for what PostgreSQL may send: a segment of 48 MiB stored, in its turn and before it."""
    import random

    forgery = Forgery()
    forgery.open()
    body = random.Random(1).randbytes(48 * MIB)
    forgery.add(frames("db", body))
    forgery.add(frames("db", b"after"))

    async def story() -> None:
        bodies = [body async for placed in Reader(forgery.store, offload=inline).read(1) for body in placed.run.bodies()]
        assert bodies == [body, b"after"]

    play(story())
