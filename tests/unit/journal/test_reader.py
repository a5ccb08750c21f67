"""Reading a journal, and finding places in it."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.errors import Corrupt, Invalid
from archiver.journal.chain import VOID_REACH
from archiver.journal.entry import Kind
from archiver.journal.kept_segments import KeptSegments
from archiver.journal.keys import IDENTITY, segment_key
from archiver.journal.last_segment import STRAYS_LIMIT
from archiver.journal.reader import Reader
from archiver.journal.reading_ahead import MOST_ASKED
from archiver.journal.segment import CorruptSegment
from archiver.store.memory import MemoryStore
from tests.simulation.loop import inline, play
from tests.unit.journal.counting_store import CountingStore
from tests.unit.journal.forge import Forgery, frames


async def bodies(reader: Reader, number: int = 0, *, last: int | None = None) -> list[bytes]:
    found: list[bytes] = []
    async with aclosing(reader.read(number, last=last)) as runs:
        async for placed in runs:
            if placed.run.kind is not Kind.SESSION:
                found += placed.run.bodies()
    return found


def reader_of(forgery: Forgery, ahead: int = 2) -> Reader:
    return Reader(forgery.store, ahead=ahead, offload=inline)


def with_takeover() -> Forgery:
    """Slots: 0 fence, 1 x1, 2 fence, 3 and 4 void, 5 x2, 6 idle, 7 x3."""
    forgery = Forgery()
    forgery.open()
    forgery.add(frames("db", b"x1", position="1", changed=100))
    stale = forgery.end
    forgery.open("b")
    stale = forgery.void(stale, frames("db", b"v1", b"v2", position="8", changed=900))
    forgery.void(stale, frames("db", b"v3", position="9", changed=950))
    forgery.add(frames("db", b"x2", position="2", changed=200))
    forgery.add()
    forgery.add(frames("db", b"x3", position="3", changed=300))
    return forgery


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_void_segments_are_skipped(ahead: int) -> None:
    """What a fenced writer left is not read, and the numbers go on without it."""

    async def story() -> None:
        reader = reader_of(with_takeover(), ahead)
        assert await bodies(reader) == [b"x1", b"x2", b"x3"]
        async with aclosing(reader.read()) as runs:
            assert [(p.first, p.segment, p.epoch) async for p in runs] == [(1, 0, 1), (2, 1, 1), (3, 2, 2), (4, 5, 2), (5, 7, 2)]
        async with aclosing(reader.walk()) as steps:
            assert [segment.header.number async for segment, valid in steps if not valid] == [3, 4]

    play(story())


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("last", [None, *range(9)])
def test_any_range_can_be_read(number: int, last: int | None) -> None:
    """Reading begins at any segment, a void one too, and ends with ``last`` or the journal; behind the end there is nothing."""

    async def story() -> None:
        wanted = [body for at, body in ((1, b"x1"), (5, b"x2"), (7, b"x3")) if number <= at <= (9 if last is None else last)]
        assert await bodies(reader_of(with_takeover()), number, last=last) == wanted

    play(story())


def test_the_tail_is_valid() -> None:
    """The tail is the newest valid segment, even when void ones stand behind it; ``end`` is what must be continued."""

    async def story() -> None:
        forgery = Forgery()
        assert await reader_of(forgery).tail() is None
        assert (await reader_of(forgery).end()).segment == -1
        forgery.open()
        stale = forgery.end
        forgery.open()
        for _ in range(VOID_REACH - 1):
            stale = forgery.void(stale, frames("db", b"v"))
        reader = reader_of(forgery)
        tail = await reader.tail()
        assert tail is not None
        assert tail.number == 1
        assert await reader.end() == forgery.end
        assert await reader.before(forgery.number) == forgery.end
        assert await reader.last() == VOID_REACH

    play(story())


def test_there_must_be_an_archive() -> None:
    """A store without an archive is ``Invalid``, not an empty journal."""

    async def story() -> None:
        for call in (Reader(MemoryStore()).tail, Reader(MemoryStore()).end, Reader(MemoryStore()).identity):
            with pytest.raises(Invalid, match="no archive"):
                await call()

    play(story())


def test_a_hole_is_found() -> None:
    """A missing segment with others behind it is ``Corrupt``, wherever reading begins, and for the search of the tail."""

    async def story() -> None:
        forgery = with_takeover()
        forgery.store.replace(segment_key(6), None)
        for number in range(6):
            with pytest.raises(CorruptSegment) as caught:
                await bodies(reader_of(forgery), number)
            assert caught.value.number == 6
        with pytest.raises(CorruptSegment, match="missing"):
            await reader_of(forgery).require_end()
        with pytest.raises(CorruptSegment, match="missing"):
            await reader_of(forgery).end()
        with pytest.raises(CorruptSegment, match="missing"):
            await bodies(reader_of(forgery), 7)

    play(story())


def test_a_missing_identity_is_corrupt() -> None:
    """Segments without ``archive.json`` are damage, not a new archive."""

    async def story() -> None:
        forgery = with_takeover()
        forgery.store.replace(IDENTITY, None)
        with pytest.raises(Corrupt, match=r"no archive\.json"):
            await bodies(reader_of(forgery))

    play(story())


def test_strangers_among_segments_are_named() -> None:
    """An object under ``journal/`` that is no segment is known by its key and holds up nobody, whatever it is called."""

    async def story() -> None:
        for key in ("journal/README", "journal/ffffffffffffffff", segment_key(12)):
            forgery = with_takeover()
            forgery.store.create(key, b"x")
            reader = reader_of(forgery)
            assert await bodies(reader) == await bodies(reader_of(with_takeover()))
            assert await reader.last() == 7
            await reader.require_end()
            assert reader.strays == (key,)

    play(story())


def test_too_many_strangers_hide_the_end() -> None:
    """When more objects than can be looked at have keys of segments, the end is not known; what is before it is."""

    async def story() -> None:
        forgery = with_takeover()
        for number in range(20, 21 + STRAYS_LIMIT):
            forgery.store.create(segment_key(number), b"")
        reader = reader_of(forgery)
        assert (await reader.last(), await reader.find_seq(3)) == (7, 2)
        with pytest.raises(Corrupt, match="move them away"):
            await reader.require_end()

    play(story())


def test_damage_behind_the_end_is_left_to_who_needs_the_end() -> None:
    """Noise under the next numbers, or a segment behind a hole: everything before is found as without it, ``end`` is refused."""

    async def story() -> None:
        whole = with_takeover()
        last = whole.store.peek(segment_key(7)) or b""
        for noise in ({8: b""}, {8: b"x", 9: b"", 10: last}, {8: last}, {20: last}, {8: last[:60]}):
            forgery = with_takeover()
            for number, data in noise.items():
                forgery.store.create(segment_key(number), data)
            reader = reader_of(forgery)
            tail, expected = await reader.tail(), await reader_of(whole).tail()
            assert tail == expected
            assert [await reader.find_seq(seq) for seq in range(1, 7)] == [await reader_of(whole).find_seq(seq) for seq in range(1, 7)]
            assert await bodies(reader, last=7) == await bodies(reader, last=8) == await bodies(reader_of(whole))
            assert reader.fault is not None
            assert await reader.header(8) is None
            for call in (reader.require_end, reader.end, lambda reader=reader: bodies(reader)):
                with pytest.raises(Corrupt):
                    await call()

    play(story())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"archive": "f" * 32}, "belongs to archive"),
        ({"prev": bytes(32)}, "does not continue segment 7"),
        ({"first": 99}, "first entry is number 99"),
        ({"time": 5}, "time is not after"),
        ({"epoch": 9}, "without a session"),
    ],
)
def test_a_segment_must_follow(changes: dict[str, object], reason: str) -> None:
    """A segment with right hashes that does not continue the last valid one is refused with the reason."""

    async def story() -> None:
        forgery = with_takeover()
        number = forgery.add(frames("db", b"x4"), **changes)
        with pytest.raises(CorruptSegment, match=reason) as caught:
            await bodies(reader_of(forgery))
        assert caught.value.number == number

    play(story())


def test_a_replaced_segment_is_found() -> None:
    """A segment that is replaced by another with right hashes of its own breaks the chain at the next valid one."""

    async def story() -> None:
        one, other = with_takeover(), with_takeover()
        other.store.replace(segment_key(7), None)
        other.number = 7
        other.end = await reader_of(other).before(7)
        other.add(frames("db", b"forged"))
        one.add(frames("db", b"x4"))
        one.store.replace(segment_key(7), other.store.peek(segment_key(7)))
        with pytest.raises(CorruptSegment, match="does not continue segment 7") as caught:
            await bodies(reader_of(one))
        assert caught.value.number == 8

    play(story())


def test_headers_of_any_length_are_read() -> None:
    """A header longer than what is asked for at first, and footers likewise, are read whole."""

    async def story() -> None:
        forgery = Forgery()
        forgery.open()
        forgery.add(*(frames(f"cluster/group/resource-{n}@namespace", b"x", position=str(n) * 20) for n in range(300)))
        reader = reader_of(forgery)
        header = await reader.header(1)
        assert header is not None
        assert len(header.sources) == 300
        assert await reader.before(2) == forgery.end

    play(story())


def test_reading_follows_a_growing_journal() -> None:
    """Segments that appear while reading are read too, up to the end at that moment."""

    async def story() -> None:
        forgery = with_takeover()
        found: list[bytes] = []
        async with aclosing(reader_of(forgery).read()) as runs:
            async for placed in runs:
                found += placed.run.bodies()
                if placed.segment == 7:
                    forgery.add(frames("db", b"x4"))
        assert found[-2:] == [b"x3", b"x4"]

    play(story())


def test_reading_may_be_given_up() -> None:
    """A reader that is closed early leaves no task behind."""

    async def story() -> None:
        runs = reader_of(with_takeover(), 5).read()
        await anext(runs)
        await runs.aclose()

    play(story())


# Finding places


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_every_entry_is_found(seed: int) -> None:
    """By number and by time, every entry is found in its segment, however many writers were fenced and whatever they left behind; with
    whatever hint.
    """

    async def story() -> None:
        rng = random.Random(seed)
        forgery = Forgery()
        forgery.open()
        numbers: dict[int, int] = {1: 0}
        times: list[tuple[int, int]] = [(forgery.end.time, 0)]
        for _ in range(rng.randint(0, 25)):
            if rng.random() < 0.3:
                stale, first = forgery.end, forgery.end.next
                numbers[first] = forgery.open()
                times.append((forgery.end.time, forgery.number - 1))
                for _ in range(rng.randint(0, VOID_REACH - 1)):
                    stale = forgery.void(stale, frames("db", *[b"v"] * rng.randint(1, 50)), time=stale.time + rng.choice([1, 10_000]))
            else:
                first = forgery.end.next
                held = [frames("db", *[b"x"] * rng.randint(1, 5))] if rng.random() < 0.8 else []
                number = forgery.add(*held, time=forgery.end.time + rng.randint(1, 50))
                numbers |= dict.fromkeys(range(first, forgery.end.next), number)
                times.append((forgery.end.time, number))
        reader = reader_of(forgery)
        after = forgery.number
        for seq, number in numbers.items():
            assert await reader.find_seq(seq) == number
            assert await reader.find_seq(seq, hint=rng.randint(-2, after + 2)) == number
        assert await reader.find_seq(forgery.end.next) == await reader.find_seq(forgery.end.next, hint=rng.randint(0, after)) == after
        for time, number in times:
            assert await _at_time(reader, time) == number
        assert await _at_time(reader, forgery.end.time + 1) == after
        assert await _at_time(reader, 0) == 0

    play(story())


async def _at_time(reader: Reader, time: int) -> int:
    return await reader.bisect(lambda header: header.time >= time)


def test_bisection_asks_for_few_headers() -> None:
    """A place among thousands of segments costs some dozen ranged reads."""

    async def story() -> None:
        forgery = Forgery()
        forgery.store = counting = CountingStore()
        forgery.store.create(IDENTITY, b'{"format":1,"id":"%s","created":1}' % (b"0123456789abcdef" * 2))
        forgery.open()
        for _ in range(3000):
            forgery.add(frames("db", b"x"))
        reader = Reader(counting, offload=inline)
        assert await reader.find_seq(1234) == 1233
        assert counting.calls.total() < 60
        without = counting.calls["get"]
        assert await Reader(counting, offload=inline).find_seq(1234, hint=1230) == 1233
        assert counting.calls["get"] - without < without - 5
        counting.calls.clear()
        assert await reader.find_seq(1235) == 1234
        assert counting.calls.total() < 6

    play(story())


@pytest.mark.parametrize("damaged", [b"ARCHSEG\x01", None])
@pytest.mark.parametrize("bad", range(3, 25))
def test_a_bad_header_costs_its_own_place_only(bad: int, damaged: bytes | None) -> None:
    """Wherever a segment is missing or its header damaged, every other entry is found, and reading begins anywhere behind it."""

    async def story() -> None:
        forgery = Forgery()
        forgery.open()
        for number in range(1, 40):
            forgery.open() if number % 7 == 0 else forgery.add(frames("db", b"x%d" % number))
        forgery.store.replace(segment_key(bad), damaged)
        reader = reader_of(forgery)
        assert await reader.last() == 39
        await reader.require_end()
        assert await reader.end() == forgery.end
        for number in range(40):
            if number == bad:
                with pytest.raises(CorruptSegment) as caught:
                    await reader_of(forgery).find_seq(number + 1)
                assert caught.value.number == bad
                continue
            assert await reader_of(forgery).find_seq(number + 1) == number
            wanted = [b"x%d" % n for n in range(number, 40) if n and n % 7]
            if number > bad:
                assert await bodies(reader_of(forgery), number) == wanted
            else:
                with pytest.raises(CorruptSegment):
                    await bodies(reader_of(forgery), number)
        with pytest.raises(CorruptSegment):
            await reader_of(forgery).bisect(lambda header: header.number >= bad)
        assert await reader_of(forgery).bisect(lambda header: header.number >= bad, near=True) == bad + 1

    play(story())


def test_what_was_void_stays_void_behind_a_bad_fence() -> None:
    """A void segment right behind a fence that cannot be read is not taken for history."""

    async def story() -> None:
        forgery = with_takeover()
        forgery.store.replace(segment_key(2), b"ARCHSEG\x01")
        for number in (3, 4):
            with pytest.raises(CorruptSegment):
                await bodies(reader_of(forgery), number)
        assert await bodies(reader_of(forgery), 5) == [b"x2", b"x3"]

    play(story())


# Reading once


class Slow(MemoryStore):
    """Counts reads of segments, and how many wait at once."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: dict[str, int] = {}
        self.waiting = self.most = 0

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        self.reads[key] = self.reads.get(key, 0) + 1
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0)
        self.waiting -= 1
        return await super().get(key, start, length)


def slow(forgery: Forgery) -> Slow:
    store = Slow()
    for key in forgery.store.names(""):
        store.create(key, forgery.store.peek(key) or b"")
    return store


def test_what_was_walked_over_is_not_asked_for_again(tmp_path: Path) -> None:
    """A second walk gives the same and reads nothing but what it begins with; void segments and large ones are no exception."""

    async def story() -> None:
        forgery = with_takeover()
        forgery.add(frames("db", random.Random(1).randbytes(MOST_ASKED + 5)))
        for number in range(200):
            forgery.add(frames("db", b"x%d" % number))
        store = slow(forgery)
        with KeptSegments(tmp_path) as kept:
            reader = Reader(store, kept=kept, offload=inline)
            last = await reader.last()
            once = await bodies(reader, last=last)
            store.reads.clear()
            assert await bodies(reader, last=last) == once
            assert store.reads == {}
            assert await bodies(reader, 100, last=last) == once[-(last - 99) :]
            assert sum(store.reads.values()) <= VOID_REACH + 4

    play(story())


def test_what_was_kept_and_is_damaged_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk of this machine that fails says nothing of the archive."""

    async def story() -> None:
        forgery = with_takeover()
        store = slow(forgery)
        with KeptSegments(tmp_path) as kept:
            reader = Reader(store, kept=kept, offload=inline)
            once = await bodies(reader, last=7)
            monkeypatch.setattr(kept, "find", lambda number: (store.peek(segment_key(number)) or b"")[:-50] + b"\0" * 50)
            store.reads.clear()
            assert await bodies(reader, last=7) == once
            assert [store.reads[segment_key(number)] for number in range(1, 8)] == [1] * 7

    play(story())


def test_many_small_segments_are_asked_for_at_once() -> None:
    """So that a store that answers late is not waited for segment by segment; each is asked for once. Behind the end, little is."""

    async def story() -> None:
        forgery = Forgery()
        forgery.open()
        for number in range(500):
            forgery.add(frames("db", b"x%d" % number))
        store = slow(forgery)
        reader = Reader(store, offload=inline)
        await reader.last()
        store.reads.clear()
        assert len(await bodies(reader)) == 500
        assert store.most == 64
        assert {count for key, count in store.reads.items() if key <= segment_key(500)} == {1}
        assert sum(count for key, count in store.reads.items() if key > segment_key(500)) <= 4

    play(story())
