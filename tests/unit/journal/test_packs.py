"""Reading many small segments from packs: the same journal with a hundredth of the requests, whatever stands under their keys."""

from __future__ import annotations

import hashlib
import random
from contextlib import aclosing, suppress
from typing import Any

import pytest

from archiver.errors import Bug, Corrupt, Unavailable
from archiver.journal import whole_segments
from archiver.journal.entry import Placed
from archiver.journal.keys import PACKS, pack_key, pack_span, segment_key
from archiver.journal.pack import MOST_SEGMENTS, PACK_LIMIT, decode_pack, encode_pack
from archiver.journal.reader import Reader
from archiver.journal.verifier import verify
from archiver.maintenance.packed import Packed
from archiver.maintenance.packing import LEAST, SMALL_BYTES, pack_segments, uncovered
from archiver.store.memory import MemoryStore
from tests.simulation.loop import VirtualClock, inline, play
from tests.unit.journal.counting_store import CountingStore
from tests.unit.journal.forge import ARCHIVE, Forgery, frames

COUNT = 620
SPAN = 100


def journal(count: int = COUNT, large: range = range(0), void_at: int = -1) -> Forgery:
    """So many segments, a fence every 150; one that is too large to be packed for each of ``large``."""
    forgery = Forgery()
    forgery.open()
    while forgery.number < count:
        number = forgery.number
        if number == void_at:
            stale = forgery.end
            forgery.open()
            forgery.void(stale, frames("db", b"void"))
        elif number % 150 == 0:
            forgery.open()
        else:
            body = random.Random(number).randbytes(SMALL_BYTES + 1) if number in large else str(number).encode()
            forgery.add(frames("db", body, position=str(number)))
    return forgery


async def packed(store: MemoryStore, *, behind: int = 50, span: int = SPAN) -> list[Packed]:
    reader = Reader(store, packs=False, offload=inline)
    async with aclosing(pack_segments(reader, VirtualClock(), span=span, behind=behind)) as steps:
        return [step async for step in steps]


async def everything(store: MemoryStore, first: int = 0, **options: Any) -> list[tuple[int, int, bytes]]:
    reader = Reader(store, offload=inline, **options)
    await reader.last()
    async with aclosing(reader.read(first)) as runs:
        return [_said(placed) async for placed in runs]


def _said(placed: Placed) -> tuple[int, int, bytes]:
    return placed.segment, placed.first, bytes(placed.run.data)


def test_a_walk_reads_packs_and_meets_the_same_journal() -> None:
    """Five packs, two requests for each; what is new is read as ever. Whoever packs again finds nothing to do."""

    async def story() -> None:
        store = journal().store
        before = await everything(store)
        made = await packed(store)
        assert [(each.first, each.last, each.segments) for each in made] == [(at, at + 99, 100) for at in range(0, 500, 100)]
        assert await packed(store) == []
        counting = CountingStore(store)
        assert await everything(counting) == before
        # What is new; five packs, and where the journal stands at the end of each.
        assert counting.calls["get"] < 120 + 5 * 2 + 20
        without = CountingStore(store)
        assert await everything(without, packs=False) == before
        assert without.calls["get"] > COUNT
        assert await everything(counting, 137) == [each for each in before if each[0] >= 137]
        report = await verify(store, offload=inline, deep=True)
        assert (report.ok, report.packs, report.bad_packs, report.strays, report.segments) == (True, 5, [], [], COUNT), report.verdict

    play(story())


def test_a_short_walk_looks_for_none() -> None:
    """Whoever reads the last few segments, as at a start, makes no request more than without."""

    async def story() -> None:
        store = journal().store
        await packed(store)
        counts = []
        for packs in (True, False):
            counting = CountingStore(store)
            await everything(counting, COUNT - 300, packs=packs)
            counts.append(dict(counting.calls))
        assert counts[0] == counts[1]

    play(story())


def test_two_at_a_time_make_the_same_packs() -> None:
    """Byte for byte: the one that is later changes nothing."""

    async def story() -> None:
        store = journal().store
        other = store.copy()
        await packed(store)
        await packed(other)
        assert {key: store.peek(key) for key in store.names(PACKS)} == {key: other.peek(key) for key in other.names(PACKS)}

    play(story())


@pytest.mark.parametrize("place", ["magic", "index", "body", "end", "shorter", "empty", "longer", "other segments", "not its key"])
def test_a_bad_pack_is_passed_over_and_told(place: str) -> None:
    """The segments themselves serve. ``verify`` names it."""

    async def story() -> None:
        store = journal().store
        before = await everything(store)
        await packed(store)
        key = pack_key(200, 299)
        data = store.peek(key) or b""
        at = {"magic": 3, "index": 20, "body": len(data) // 2, "end": len(data) - 2}.get(place, 0)
        other = store.peek(pack_key(300, 399)) or b""
        damaged = {
            "shorter": data[:-100],
            "empty": b"",
            "longer": data + bytes(PACK_LIMIT),
            "other segments": sealed(data[:-40]),
            "not its key": other,
        }.get(place, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        store.replace(key, damaged)
        assert await everything(store) == before
        report = await verify(store, offload=inline)
        assert (report.ok, [bad.key for bad in report.bad_packs], report.packs) == (True, [key], 4)
        assert key in report.verdict

    play(story())


def sealed(data: bytes) -> bytes:
    return data + hashlib.sha256(data).digest()


def test_a_pack_that_was_made_up_is_not_believed() -> None:
    """Whole by itself, with segments that continue one another and other content: it does not end where the journal stands."""

    async def story() -> None:
        true, forged = journal(), Forgery()
        forged.open()
        while forged.number < COUNT:
            forged.add(frames("db", b"forged", position=str(forged.number)))
        await packed(forged.store)
        before = await everything(true.store)
        for key in forged.store.names(PACKS):
            true.store.create(key, forged.store.peek(key) or b"")
        assert await everything(true.store) == before
        report = await verify(true.store, offload=inline)
        assert (report.ok, len(report.bad_packs)) == (True, 5)
        assert await packed(true.store) == []

    play(story())


def test_segments_inside_cannot_be_exchanged() -> None:
    """One segment of a pack is replaced by another whole one of that number; the last one is the journal's. Nothing of it is given out."""

    async def story() -> None:
        forgery = journal()
        store, end = forgery.store, await Reader(forgery.store, offload=inline).before(250)
        before = await everything(store)
        await packed(store)
        other = Forgery()
        other.end, other.number = end, 250
        other.add(frames("db", b"exchanged", position="250"))
        segments = [store.peek(segment_key(number)) or b"" for number in range(200, 300)]
        segments[50] = other.store.peek(segment_key(250)) or b""
        store.replace(pack_key(200, 299), encode_pack(ARCHIVE, 200, 299, segments))
        assert await everything(store) == before
        assert [bad.key for bad in (await verify(store, offload=inline)).bad_packs] == [pack_key(200, 299)]

    play(story())


def test_a_journal_that_was_rolled_back_and_went_on_is_not_read_from_old_packs() -> None:
    """The newest segments were lost, and others were written under their numbers; the packs of those that were lost are still there."""

    async def story() -> None:
        store = journal().store
        await packed(store, behind=1)
        for key in store.names(segment_key(320)[:-3], after=segment_key(319)):
            store.replace(key, None)
        again = Forgery()
        again.store, again.end, again.number = store, await Reader(store, offload=inline, packs=False).before(320), 320
        again.open()
        while again.number < COUNT:
            again.add(frames("db", b"again", position=str(again.number)))
        found = await everything(store)
        assert found == await everything(store, packs=False)
        assert [each[2] for each in found if each[0] == 350] == [b"again"]
        bad = [bad.key for bad in (await verify(store, offload=inline)).bad_packs]
        assert bad == [pack_key(at, at + 99) for at in range(300, 600, 100)]

    play(story())


def test_a_pack_behind_the_end_is_not_read() -> None:
    """Segments that are gone are not made up for: where the journal ends, a walk ends."""

    async def story() -> None:
        store = journal().store
        await packed(store, behind=1)
        for number in range(550, COUNT):
            store.replace(segment_key(number), None)
        found = await everything(store)
        assert found[-1][0] == 549
        report = await verify(store, offload=inline)
        assert (report.segments, [bad.key for bad in report.bad_packs]) == (550, [pack_key(500, 599)])

    play(story())


def test_void_and_large_segments() -> None:
    """Void ones stand in a pack and are void there; a large one ends a pack, and a stretch of them gets one that holds nothing."""

    async def story() -> None:
        store = journal(large=range(330, 345), void_at=120).store
        before = await everything(store)
        made = await packed(store)
        assert [(each.first, each.last, bool(each.segments)) for each in made[:4]] == [
            (0, 99, True),
            (100, 199, True),
            (200, 299, True),
            (300, 344, False),
        ]
        assert await everything(store) == before == await everything(store, packs=False)
        assert (await verify(store, offload=inline)).bad_packs == []
        assert await packed(store) == []

    play(story())


def test_a_pack_ends_with_a_valid_segment() -> None:
    """One that would end with a void one is not made: the chain hash there would not stand for what is before."""

    async def story() -> None:
        store = journal(void_at=98).store
        before = await everything(store, packs=False)
        assert [bool(each.segments) for each in await packed(store)] == [False, True, True, True, True]
        assert await everything(store) == before

    play(story())


def test_a_segment_that_is_lost_is_read_from_its_pack() -> None:
    """By whoever walks far. ``verify`` tells of it all the same."""

    async def story() -> None:
        store = journal().store
        before = await everything(store)
        await packed(store)
        store.replace(segment_key(250), None)
        data = store.peek(segment_key(330)) or b""
        store.replace(segment_key(330), data[:-60] + b"x" + data[-59:])
        assert await everything(store) == before
        report = await verify(store, offload=inline)
        assert [bad.segment for bad in report.bad_segments] == [250, 330]
        # The one that proves the pack is lost: it is not believed.
        store.replace(segment_key(299), None)
        with pytest.raises(Corrupt, match="segment 250"):
            await everything(store)

    play(story())


def test_packs_that_vanish_under_a_walk() -> None:
    """Retention deletes what a walk has listed: the segments are read, as far as they are there."""

    async def story() -> None:
        store = journal().store
        before = await everything(store)
        await packed(store)
        found = []
        reader = Reader(store, offload=inline)
        await reader.last()
        async with aclosing(reader.read(0)) as runs:
            async for placed in runs:
                found.append(_said(placed))
                if placed.segment == 150:
                    for key in store.names(PACKS):
                        store.replace(key, None)
        assert found == before

    play(story())


def test_a_damaged_segment_is_not_packed() -> None:
    """Its stretch gets no segments, and is not read again each time. The segment is found to be bad as ever."""

    async def story() -> None:
        store = journal().store
        data = store.peek(segment_key(50)) or b""
        store.replace(segment_key(50), data[:-60] + b"x" + data[-59:])
        made = await packed(store)
        assert [each.first for each in made if not each.segments] == [0]
        with pytest.raises(Corrupt, match="segment 50"):
            await everything(store)

    play(story())


def test_what_is_new_is_left_alone() -> None:
    """Nothing is packed nearer to the end than it may; what is less than a pack waits."""

    async def story() -> None:
        store = journal().store
        assert await packed(store, behind=COUNT - SPAN + 1) == []
        assert [each.last for each in await packed(store, behind=COUNT - SPAN - 1)] == [99]
        assert [each.last for each in await packed(store, behind=COUNT - 2 * SPAN + 1)] == []
        assert [each.last for each in await packed(store, behind=COUNT - 2 * SPAN)] == [199]

    play(story())


def test_killed_at_any_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever request is the last: the journal is as it was, and the next round makes the packs that the first one would have."""
    monkeypatch.setattr(whole_segments, "_LONG_WALK", 0)

    async def story() -> None:
        original = journal(180).store
        before = await everything(original)
        whole = original.copy()
        await packed(whole, span=64)
        for survived in range(0, 300, 23):
            store = Dying(original, survived)
            with suppress(Unavailable):
                await packed(store, span=64)
            store.left = 1 << 60
            assert await everything(store) == before
            await packed(store, span=64)
            assert store.names("") == whole.names("")

    play(story())


class Dying(CountingStore):
    """Answers so many requests, and none after that."""

    def __init__(self, other: MemoryStore, left: int) -> None:
        super().__init__(other)
        self.left = left

    def _spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Unavailable("killed")

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        self._spend()
        return await super().get(key, start, length)

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        self._spend()
        return await super().put_if_absent(key, data)

    async def list(self, prefix: str, after: str = "", limit: int | None = None) -> list[str]:
        self._spend()
        return await super().list(prefix, after, limit)


def test_strange_names_hide_no_pack() -> None:
    """A thousand objects among the packs that are none, and packs that overlap."""

    async def story() -> None:
        store = journal().store
        before = await everything(store)
        await packed(store)
        for n in range(1100):
            store.create(f"{PACKS}0000000000000000-{n:x}-stray", b"")
        store.create(pack_key(0, (1 << 64) - 1), b"")
        store.create(pack_key(250, 349), b"no pack")
        counting = CountingStore(store)
        assert await everything(counting) == before
        assert counting.calls["get"] < COUNT

    play(story())


def test_uncovered_stretches() -> None:
    """Pure: in order, both ends included."""
    assert uncovered([], 0, 9) == [(0, 9)]
    assert uncovered([(0, 3), (6, 7), (2, 4)], 0, 9) == [(5, 5), (8, 9)]
    assert uncovered([(0, 30)], 5, 9) == []
    assert uncovered([(0, 2), (20, 30)], 5, 9) == [(5, 9)]
    assert uncovered([], 5, 4) == []


def test_bounds_of_a_pack() -> None:
    """Sizes are looked at before they are believed."""
    assert pack_span(pack_key(1, 300)) == (1, 300)
    assert pack_span("packs/1-2") is None
    assert len(encode_pack(ARCHIVE, 0, MOST_SEGMENTS - 1, [b"x" * 4000] * MOST_SEGMENTS)) < PACK_LIMIT
    for first, last, segments in ((0, MOST_SEGMENTS, []), (5, 4, []), (0, 2, [b""]), (0, 0, [bytes(PACK_LIMIT)])):
        with pytest.raises(Bug):
            encode_pack(ARCHIVE, first, last, segments)
    good = encode_pack(ARCHIVE, 0, LEAST, [b"x"] * (LEAST + 1))
    assert decode_pack(good, 0, LEAST).segment(3) == b"x"
    for bad in (
        good[:8] + (1 << 31).to_bytes(4, "little") + good[12:-32],
        good[:7] + b"\x02" + good[8:-32],
        encode_pack(ARCHIVE, 1, LEAST, [b"x"] * LEAST)[:-32],
        good[:-33],
    ):
        with pytest.raises(Corrupt):
            decode_pack(sealed(bad), 0, LEAST)
