"""Headers that carry the marks which changed: what is read is what a header with all of them would say, and damage costs its own place."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from archiver.errors import Corrupt
from archiver.journal.changed_marks import FEW, REACH, Carrying, ChangedMarks, MarksElsewhere
from archiver.journal.entry import Kind, Run, SourceMark
from archiver.journal.keys import segment_key
from archiver.journal.reader import Reader
from archiver.journal.segment import CorruptSegment, SegmentHeader, decode, encode
from archiver.journal.spans import first_segment_of, last_segment_of
from archiver.journal.verifier import verify
from archiver.journal.writer import Writer, WriterLimits
from archiver.store.memory import MemoryStore
from tests.simulation.loop import VirtualClock, inline, play
from tests.unit.journal.forge import ARCHIVE, Forgery, forge, frames

STREAMS = [f"kube/group/kind{number}" for number in range(12)]


class Grown:
    """A journal of random entries whose headers carry what a writer's would, and the marks behind every segment."""

    def __init__(self, seed: int, length: int = 60) -> None:
        chance = random.Random(seed)
        self.forgery = Forgery()
        self.forgery.carrying = Carrying()
        self.marks: list[dict[str, SourceMark]] = []
        self.void: list[int] = []
        streams = STREAMS[: chance.randint(1, len(STREAMS))]
        busy = chance.choice([0.02, 0.1, 0.5])
        for number in range(length):
            if number == 0 or chance.random() < 0.05:
                self.forgery.open()
            elif chance.random() < 0.03 and self.forgery.end.base >= 0:
                self._void(chance)
                self.marks.append(self.marks[-1])
                self.forgery.open()
            else:
                self.forgery.add(*(self._run(chance, stream) for stream in streams if chance.random() < busy))
            self.marks.append(dict(self.forgery.end.sources))

    def _run(self, chance: random.Random, stream: str) -> Run:
        kind = chance.choice([Kind.K8S_EVENT, Kind.K8S_EVENT, Kind.PROGRESS, Kind.CHECKPOINT, Kind.K8S_WATCH])
        body = b'{"resource_version":"1","first":1,"count":0}' if kind is Kind.CHECKPOINT else b""
        if kind is Kind.PROGRESS:
            return frames(stream, b"", kind=kind, observed=self.forgery.number + 5, position=str(chance.randint(1, 1 << 40)))
        return frames(stream, body, kind=kind, observed=self.forgery.number + 5)

    def _void(self, chance: random.Random) -> None:
        """What the old session's writer left behind the fence that follows; the fence continues what was before it."""
        end = self.forgery.end
        data, _ = forge(end, [self._run(chance, STREAMS[0])], Carrying(), number=self.forgery.number, epoch=max(0, end.epoch - 1))
        assert self.forgery.store.create(segment_key(self.forgery.number), data)
        self.void.append(self.forgery.number)
        self.forgery.number += 1

    def reader(self) -> Reader:
        return Reader(self.forgery.store, offload=inline)

    def stored(self, number: int) -> SegmentHeader:
        data = self.forgery.store.peek(segment_key(number))
        assert data is not None
        return decode(data, number).header


@pytest.mark.parametrize("seed", range(12))
def test_marks_are_read_as_they_were(seed: int) -> None:
    """Of every segment, in any order, by header and by walking; every search by a mark ends where it did; and all of it verifies."""
    grown = Grown(seed)

    async def story() -> None:
        reader = grown.reader()
        numbers = list(range(len(grown.marks)))
        random.Random(seed).shuffle(numbers)
        for number in numbers:
            header = await reader.header(number)
            assert header is not None
            assert number in grown.void or header.sources == grown.marks[number]
        assert (await grown.reader().end()).sources == grown.marks[-1]
        tail = await grown.reader().tail()
        assert tail is not None
        assert tail.sources == grown.marks[-1]
        for number in numbers[:10]:
            assert (await grown.reader().before(number)).sources == ({} if number == 0 else grown.marks[number - 1])
            async for _ in grown.reader().read(number):
                pass
        for stream, mark in grown.marks[-1].items():
            last = next(number for number, marks in enumerate(grown.marks) if marks.get(stream) == mark)
            assert await last_segment_of(grown.reader(), stream, mark) == last
            first = next(number for number, marks in enumerate(grown.marks) if stream in marks)
            assert await first_segment_of(grown.reader(), stream) == first
        report = await verify(grown.forgery.store, offload=inline)
        assert report.reason == ""

    play(story())


def test_both_forms_are_in_what_was_read() -> None:
    """The journals above are not all of one form."""
    forms = Counter(
        isinstance(grown.stored(number).sources, ChangedMarks)
        for grown in map(Grown, range(12))
        for number in range(len(grown.marks))
        if grown.marks[number]
    )
    assert min(forms[True], forms[False]) > 50


def _long() -> Grown:
    """One session; all marks stand in segments 1 and 30, changed ones in the others; stream 0 moves in each, stream 1 once behind each."""
    grown = Grown(0, 0)
    forgery = grown.forgery
    forgery.open()
    forgery.add(*(frames(stream, b"x", kind=Kind.K8S_EVENT) for stream in STREAMS))
    for number in range(2, 40):
        if number == 30:
            forgery.carrying = None
        moved = STREAMS[:2] if number in (5, 33) else STREAMS[:1]
        forgery.carrying = None if number == 30 else Carrying()
        forgery.add(*(frames(stream, b"x", kind=Kind.K8S_EVENT, observed=number + 5) for stream in moved))
    return grown


@pytest.mark.parametrize("damage", [b"ARCHSEG\x01", b"", None])
def test_a_bad_base_costs_what_did_not_change_since(damage: bytes | None) -> None:
    """What changed is known without it, of all else nothing is said; every other segment is as it was."""
    grown = _long()
    grown.forgery.store.replace(segment_key(1), damage)

    async def story() -> None:
        reader = grown.reader()
        for number in range(2, 40):
            header = await reader.header(number)
            assert header is not None
            assert header.sources.get(STREAMS[0]) is not None
            if number >= 30:
                assert len(header.sources) == len(STREAMS)
                continue
            assert number < 5 or header.sources[STREAMS[1]].observed == 10
            with pytest.raises(CorruptSegment) as raised:
                header.sources.get(STREAMS[2])
            assert raised.value.number == 1
        assert (await reader.end()).sources.keys() == set(STREAMS)
        # The first segment that says so again, where it is not known which one was the first.
        assert await reader.bisect(lambda header: STREAMS[2] in header.sources, near=True) == 30
        with pytest.raises(CorruptSegment):
            await reader.bisect(lambda header: STREAMS[2] in header.sources)
        assert await reader.bisect(lambda header: header.sources[STREAMS[0]].observed >= 20, near=True) == 15
        assert await reader.find_seq(20) == 7
        report = await verify(grown.forgery.store, offload=inline)
        assert [(bad.segment, bad.to_segment) for bad in report.bad_segments] == [(1, 1)]

    play(story())


def test_without_the_base_of_the_newest_marks_the_journal_ends_before_it() -> None:
    """Whoever reads is given what is before; a writer refuses, as where the last segment is damaged."""
    grown = _long()
    grown.forgery.store.replace(segment_key(30), b"ARCHSEG\x01")

    async def story() -> None:
        reader = grown.reader()
        assert await reader.last() == 29
        assert isinstance(reader.fault, CorruptSegment)
        assert reader.fault.number == 30
        tail = await reader.tail()
        assert tail is not None
        assert tail.sources.keys() == set(STREAMS)
        with pytest.raises(Corrupt, match="segment 30"):
            await reader.end()
        with pytest.raises(Corrupt, match="segment 30"):
            await Writer.open(
                grown.forgery.store, VirtualClock(), instance="a", version="1", sources={}, limits=WriterLimits(), offload=inline
            )

    play(story())


def test_a_base_whose_marks_rotted_begins_no_session() -> None:
    """Its header is compared with its footer before a writer goes on from what it says."""
    grown = _long()
    key = segment_key(30)
    data = grown.forgery.store.peek(key)
    assert data is not None
    at = data.index(STREAMS[3].encode())
    grown.forgery.store.replace(key, data[:at] + b"K" + data[at + 1 :])

    async def story() -> None:
        with pytest.raises(Corrupt, match="segment 30"):
            await Writer.open(
                grown.forgery.store, VirtualClock(), instance="a", version="1", sources={}, limits=WriterLimits(), offload=inline
            )

    play(story())


def _based(base: int, number: int = 5, session: int = 2) -> bytes:
    header = SegmentHeader(ARCHIVE, number, 1, 1, 0, 1, 0, 0, bytes(32), ChangedMarks(base, {"a": SourceMark("1")}), session)
    return encode(header, [], 1)[0]


def test_a_header_with_changed_marks_comes_back() -> None:
    """In the version of its own, which a program that does not know it refuses."""
    data = _based(3)
    assert (data[7], data[-1]) == (2, 2)
    header = decode(data, 5).header
    assert header.sources == ChangedMarks(3, {"a": SourceMark("1")})
    with pytest.raises(MarksElsewhere):
        header.sources.get("b")
    with pytest.raises(MarksElsewhere):
        list(header.sources)


@pytest.mark.parametrize("base", [-1, 1, 5, 6])
def test_a_base_is_of_the_same_session_and_before(base: int) -> None:
    """Any other would not be known to be valid."""
    with pytest.raises(CorruptSegment, match="has all marks"):
        decode(_based(base), 5)


def test_a_base_that_is_not_the_newest_one_is_refused() -> None:
    """A walk knows which it is; one that has not all marks is none."""
    forgery = _long().forgery
    wrong = ChangedMarks(20, {})
    data, _ = forge(forgery.end, [], number=forgery.number, sources=wrong)
    forgery.store.create(segment_key(forgery.number), data)

    async def story() -> None:
        with pytest.raises(CorruptSegment, match="based on segment 20; all of them stand in 30"):
            async for _ in Reader(forgery.store, offload=inline).read(35):
                pass
        header = await Reader(forgery.store, offload=inline).header(forgery.number)
        assert header is None or isinstance(header.sources, ChangedMarks)

    play(story())


def test_carrying_pays() -> None:
    """All marks are carried where the changed ones would cost as much, and sooner or later anyway."""
    carrying, marks = Carrying(), {stream: SourceMark("1") for stream in STREAMS}
    assert isinstance(carrying.carried(marks, [], 1, 0, marks), ChangedMarks)
    assert carrying.carried(marks, [], REACH, 0, marks) is marks
    assert carrying.carried(marks, [], 1, -1, {}) is marks
    few = dict(list(marks.items())[:FEW])
    assert carrying.carried(few, [], 1, 0, few) is few
    most = marks | {stream: SourceMark("2") for stream in STREAMS[:6]}
    assert carrying.carried(most, [], 1, 0, marks) is most
    some = marks | {STREAMS[0]: SourceMark("2")}
    forms = [isinstance(carrying.carried(some, [], number, 0, marks), ChangedMarks) for number in range(1, 14)]
    assert forms == [True] * 12 + [False]


def _sizes(count: int) -> list[int]:
    """Bytes of heartbeats of a writer that has so many streams."""

    async def story() -> list[int]:
        store = MemoryStore()
        writer = await Writer.open(store, VirtualClock(), instance="a", version="1", sources={}, limits=WriterLimits(), offload=inline)
        commit = asyncio.create_task(writer.run())
        for number in range(count):
            await writer.append(frames(f"cluster/group/kind{number}@ns", b"", kind=Kind.PROGRESS, observed=1 << 50, position=str(10**9)))
        await writer.durable(count + 1)
        first = writer.durable_segment + 1
        while writer.durable_segment < first + 40:
            await asyncio.sleep(10)
        await writer.close()
        await commit
        closing = store.peek(segment_key(writer.durable_segment))
        assert closing is not None
        assert len(decode(closing, writer.durable_segment).header.sources) == count
        return [len(store.peek(segment_key(number)) or b"") for number in range(first, first + 40)]

    return play(story())


def test_a_heartbeat_with_many_streams_costs_no_more_than_with_one() -> None:
    """Nothing changed: nothing is carried."""
    assert max(_sizes(200)[1:]) <= max(_sizes(1))
