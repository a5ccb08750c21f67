"""Retention of made-up clusters: whatever passes do, and wherever they are killed, every promised point is what it was."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from archiver.capture.kubernetes.journal_view import resume_streams
from archiver.clock import SystemClock
from archiver.errors import ArchiverError
from archiver.journal import clock_doubts, whole_segments
from archiver.journal.boundary import newest_boundary
from archiver.journal.entry import Kind
from archiver.journal.keys import IDENTITY, segment_key
from archiver.journal.marks import find_mark, mark_run
from archiver.journal.reader import Reader
from archiver.journal.records import Gap
from archiver.journal.verifier import verify
from archiver.journal.window import windows
from archiver.kubernetes.records import Resource
from archiver.maintenance import packing
from archiver.maintenance.cluster_folding import fold_cluster
from archiver.replay.kubernetes.fold import read_streams
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.retention.limits import RetentionLimits
from archiver.retention.retention import Outcome, retain
from archiver.service.journal_status import restorable_since
from archiver.store.memory import MemoryStore
from archiver.store.protocol import Store
from tests.simulation.loop import inline
from tests.unit.replay.kubernetes.past import Past, Stream

SEEDS = (17, 202, 244, 1143, 5003)
"""Some that found something once. Others are tried by changing this."""
TOGETHER_SEEDS = range(4)
"""Any."""
MARKED_SEEDS = (5, 22, 23, 29, 48)
"""Likewise, with marks."""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of a clock are looked for near a time; a whole history here takes a millisecond. Its walks are long, and few segments a pack."""
    monkeypatch.setattr(clock_doubts, "NEAR", 5)
    monkeypatch.setattr(whole_segments, "_LONG_WALK", 1)
    monkeypatch.setattr(packing, "LEAST", 2)


class TimedPast(Past):
    """Segments are sealed when their newest entry was received."""

    def flush(self) -> None:
        if self.batch:
            self.forgery.add(*self.batch, time=max(self.now, self.forgery.end.time + 1))
            self.batch = []


class MarkedPast(TimedPast):
    """Somebody sets a mark now and then."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.marks: list[int] = []

    def flush(self) -> None:
        if self.random.random() < 0.07:
            self.now += 1
            self.batch.append(mark_run(f"mark {len(self.marks)}", self.now))
            self.entry += 1
            self.times.append(self.now)
            self.marks.append(self.entry)
        super().flush()


class EndedPast(TimedPast):
    """One more stream ended before anything else was."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        resource = Resource("g.io", "v1", "gone", "Gone", True)
        ended = Stream("kube/g.io/gone", resource, self.random)
        self.read(ended, "start")
        gap = Gap("resource gone.g.io", "resource_gone", from_time=self.now + 1)
        self.add(ended, Kind.GAP, [msgspec.json.encode(gap)])
        self.flush()
        self.ended = gap.from_time


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self.time = 0

    def now(self) -> int:
        return self.time

    def monotonic(self) -> float:
        return self.time / 1e6

    async def sleep(self, seconds: float) -> None:
        self.time += int(seconds * 1e6) + 1

    def random(self) -> float:
        return 0.5

    def unique(self) -> str:
        return self._system.unique()


class Killed(BaseException):
    """The process ended here."""


class Mortal:
    """A store whose caller dies after so many requests; the last of them has arrived."""

    def __init__(self, store: MemoryStore, left: int) -> None:
        self._store, self.left = store, left

    @property
    def url(self) -> str:
        return self._store.url

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        done = self._store.create(key, data)
        self._count()
        return done

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        self._count()
        return await self._store.get(key, start, length)

    async def size(self, key: str) -> int | None:
        self._count()
        return await self._store.size(key)

    async def list(self, prefix: str, after: str = "", limit: int | None = None) -> list[str]:
        self._count()
        return self._store.names(prefix, after, limit)

    async def delete(self, key: str) -> None:
        self._store.replace(key, None)
        self._count()

    async def close(self) -> None:
        pass


class Slow(Mortal):
    """And others have their turn before each request."""

    def __init__(self, store: MemoryStore, left: int, dice: random.Random) -> None:
        super().__init__(store, left)
        self._dice = dice

    async def _turns(self) -> None:
        for _ in range(self._dice.randint(0, 3)):
            await asyncio.sleep(0)

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        await self._turns()
        return await super().put_if_absent(key, data)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        await self._turns()
        return await super().get(key, start, length)

    async def list(self, prefix: str, after: str = "", limit: int | None = None) -> list[str]:
        await self._turns()
        return await super().list(prefix, after, limit)

    async def delete(self, key: str) -> None:
        await self._turns()
        await super().delete(key)


async def seen(store: Store, cut: Cut) -> Any:
    """All that a restore could tell of a point, or the error."""
    try:
        folds = await read_streams(Reader(store, offload=inline), "kube", cut)
    except ArchiverError as error:
        return error
    return [
        (
            each.name,
            each.entry,
            each.observed,
            each.gaps,
            each.notes,
            dict(sorted(each.state.objects.items())),
            (each.state.resource, each.state.namespace, each.state.cluster, each.state.server, each.state.epoch),
            (each.state.listing, each.state.ended, each.state.selected, each.state.unwatched, each.state.loose, each.state.complete),
        )
        for each in folds
    ]


async def resumed(store: MemoryStore) -> Any:
    """What capture would begin with."""
    reader = Reader(store, offload=inline)
    tail = await reader.tail()
    assert tail is not None
    found = await resume_streams(reader, tail.sources, "kube")
    return {name: (each.state.position, each.agreed, dict(sorted(each.state.known().items()))) for name, each in found.items()}


def same(one: Any, other: Any) -> bool:
    """The same answer, or the same kind of error."""
    if isinstance(one, ArchiverError):
        return type(one) is type(other) and one.message == other.message
    return bool(one == other)


class World:
    """An archive that grows, with all of its journal beside it."""

    def __init__(self, seed: int, steps: int, window: int, past: type[TimedPast] = TimedPast) -> None:
        self.past = past(seed).make(steps)
        self.source, self.count = self.past.forgery.store, self.past.forgery.number
        self.archive, self.whole = MemoryStore("archive"), MemoryStore("whole")
        for store in (self.archive, self.whole):
            store.create(IDENTITY, self.source.peek(IDENTITY) or b"")
        self.there, self.window, self.clock = 0, window, Hand()
        self.limits = RetentionLimits(restore_seconds=window / 1e6, grace_seconds=1e-6, most_share=1.0)

    async def grow(self, segments: int) -> None:
        for number in range(self.there, min(self.count, self.there + segments)):
            await asyncio.sleep(0)
            for store in (self.archive, self.whole):
                assert store.create(segment_key(number), self.source.peek(segment_key(number)) or b"")
            self.there = number + 1
        tail = await Reader(self.whole, offload=inline).tail()
        assert tail is not None
        self.clock.time = max(self.clock.time, tail.time) + 1

    async def fold(self) -> None:
        reader = Reader(self.archive, offload=inline)
        await fold_cluster(reader, self.clock, "kube", until=await reader.last())

    async def pack(self, killed_after: int, span: int) -> int:
        """Pack all but the newest segments; how many packs."""
        count = 0
        reader = Reader(Mortal(self.archive, killed_after), packs=False, offload=inline)
        try:
            async for _ in packing.pack_segments(reader, self.clock, span=span, behind=3):
                count += 1
        except Killed:
            pass
        return count

    async def retain(self, killed_after: int) -> Outcome | None:
        store = Mortal(self.archive, killed_after)
        try:
            return await retain(store, self.clock, self.limits, offload=inline, least_segments=1)
        except Killed:
            return None

    async def together(self, dice: random.Random) -> Counter[str]:
        """Two ways of maintenance beside each other and beside capture, killed or not; what became of them."""

        async def one() -> str:
            store = Slow(self.archive, dice.randint(0, 900) if dice.random() < 0.3 else 1 << 30, dice)
            try:
                if dice.random() < 0.4:
                    reader = Reader(store, offload=inline)
                    await fold_cluster(reader, self.clock, "kube", until=await reader.last())
                    return "folded"
                return (await retain(store, self.clock, self.limits, offload=inline, least_segments=1)).state
            except Killed:
                return "killed"

        *done, _ = await asyncio.gather(one(), one(), self.grow(dice.randint(0, 4)))
        return Counter(done)

    async def check(self, cuts: int, dice: random.Random) -> None:
        """Every promised point is what it is with the whole journal; any other is, too, or is refused."""
        tail = await Reader(self.whole, offload=inline).tail()
        assert tail is not None
        last, oldest = tail.first + tail.count - 1, min(tail.time, self.clock.time) - self.window
        number = await Reader(self.whole, offload=inline).bisect(lambda header: header.time > oldest)
        header = await Reader(self.whole, offload=inline).valid_before(number)
        entry = header.first + header.count - 1 if header is not None else 1
        points = [Cut(), Cut(seq=entry), Cut(seq=last), *([Cut(time=oldest)] if oldest > 0 else [])]
        points += [Cut(seq=dice.randint(1, last)) for _ in range(cuts)]
        points += [Cut(time=dice.randint(1000, self.past.now + 20)) for _ in range(cuts)]
        for cut in points:
            found, expected = await seen(self.archive, cut), await seen(self.whole, cut)
            promised = cut.seq >= entry if cut.seq else cut.time >= oldest if cut.time else True
            assert same(found, expected) or (isinstance(found, ArchiverError) and not promised), (cut, found)
        assert await resumed(self.archive) == await resumed(self.whole)
        report = await verify(self.archive, deep=True, offload=inline)
        assert (report.ok, report.bad_checkpoints, report.strays, report.bad_packs) == (True, [], [], []), report.verdict
        boundary = await newest_boundary(self.archive)
        if boundary is not None:
            # What was kept from before the oldest promised point does not look as if all points from there on were there.
            floor = boundary.floors["kube"]
            assert all(each.from_entry >= floor.entry and each.from_time >= floor.time for each in report.restorable)
            assert await restorable_since(Reader(self.archive, offload=inline), "kube") == floor.time


async def story(seed: int, *, together: bool = False) -> Counter[str]:
    """A random history with folds, packs and passes, one or two at a time, passes and packing killed after any request; what happened."""
    dice, others = random.Random(seed), random.Random(seed + 1)
    world, happened = World(seed, dice.randint(40, 90), dice.randint(1, 300)), Counter[str]()
    await world.grow(1)
    while world.there < world.count:
        await world.grow(dice.randint(1, 12))
        if dice.random() < 0.6:
            await world.fold()
        if others.random() < 0.7:
            killed_after = others.randint(0, 60) if others.random() < 0.4 else 1 << 30
            happened["packs"] += await world.pack(killed_after, others.choice([4, 4, 9]))
        for _ in range(dice.randint(0, 3)):
            outcome = await world.retain(dice.randint(0, 900) if dice.random() < 0.4 else 1 << 30)
            happened[outcome.state if outcome else "killed"] += 1
            await world.check(1, dice)
        if together:
            happened += await world.together(dice)
            await world.check(1, dice)
    await world.check(5, dice)
    boundary = await newest_boundary(world.archive)
    happened["boundary"] += boundary is not None
    happened["kept"] += bool(boundary and boundary.kept)
    return happened


def test_every_promised_point_stays() -> None:
    """Random histories, always the same."""
    happened = Counter[str]()
    for seed in SEEDS:
        try:
            happened += asyncio.run(story(seed))
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    assert happened["retired"] > 0
    assert happened["killed"] > 0
    assert happened["packs"] > 0


def test_every_promised_point_stays_where_two_maintain() -> None:
    """At the same time, and while more is captured."""
    happened = Counter[str]()
    for seed in TOGETHER_SEEDS:
        try:
            happened += asyncio.run(story(seed, together=True))
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    assert min(happened[each] for each in ("folded", "planned", "retired", "killed")) > 0, happened


async def marked(seed: int, keep: bool) -> Counter[str]:
    """Every mark, or the one that is pinned, is as with the whole journal."""
    dice = random.Random(seed)
    world, happened = World(seed, dice.randint(60, 140), dice.choice([1, 20, 100]), MarkedPast), Counter[str]()
    assert isinstance(world.past, MarkedPast)
    pinned = dice.randrange(max(1, len(world.past.marks)))
    world.limits = msgspec.structs.replace(world.limits, keep_marks=keep, pins=[] if keep else [f"mark {pinned}"])
    while world.there < world.count:
        await world.grow(dice.randint(1, 12))
        if dice.random() < 0.6:
            await world.fold()
        for _ in range(dice.randint(0, 3)):
            outcome = await world.retain(1 << 30)
            assert outcome is not None
            happened[outcome.state] += 1
        tail = await Reader(world.whole, offload=inline).tail()
        assert tail is not None
        for number, entry in enumerate(world.past.marks):
            if entry < tail.first + tail.count and (keep or number == pinned):
                assert await find_mark(Reader(world.archive, offload=inline), tail.number, f"mark {number}") == entry
                assert same(await seen(world.archive, Cut(seq=entry)), await seen(world.whole, Cut(seq=entry))), (number, entry)
    return happened


@pytest.mark.parametrize("keep", [True, False])
def test_marks_stay(keep: bool) -> None:
    """Also those in segments that are kept for something else, and those behind the boundary that begin before it."""
    happened = Counter[str]()
    for seed in MARKED_SEEDS:
        try:
            happened += asyncio.run(marked(seed, keep))
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    assert happened["retired"] > 0


def test_what_ended_long_ago_is_said_to_have_ended() -> None:
    """The window ends there for the stream, also when all that was around it is retired."""

    async def trial() -> None:
        world = World(244, 90, 1, EndedPast)
        while world.there < world.count:
            await world.grow(12)
            await world.fold()
            await world.retain(1 << 30)
        assert isinstance(world.past, EndedPast)
        boundary = await newest_boundary(world.archive)
        assert boundary is not None
        assert boundary.next > 10
        for store in (world.archive, world.whole):
            report = await verify(store, offload=inline)
            [window] = [each for each in windows(report, {}) if each.source == "kube/g.io/gone"]
            assert all(each.before_time is not None and each.before_time <= world.past.ended for each in window.restorable)
            assert [(each.reason, each.to_time) for each in window.gaps] == [("resource_gone", None)]

    asyncio.run(trial())


def test_what_is_not_understood_stops_a_pass() -> None:
    """A hold, whatever it holds; an object among the segments; a journal ahead of the clock; more than may go; damage in what would go."""

    async def prepared() -> World:
        world = World(244, 90, 1)
        while world.there < world.count:
            await world.grow(12)
            await world.fold()
        return world

    async def unchanged(world: World, word: str) -> None:
        before = world.archive.names("", "", None)
        with pytest.raises(ArchiverError, match=word):
            await world.retain(1 << 30)
        assert world.archive.names("", "", None) == before

    async def trial() -> None:
        world = await prepared()
        store = world.archive
        plan = await retain(store, world.clock, world.limits, offload=inline, least_segments=1, dry_run=True)
        assert (plan.state, plan.segments > 0) == ("would plan", True)
        assert not store.names("retention/", "", None)
        store.create("retention/holds/x.json", b"nobody can read this")
        held = await world.retain(1 << 30)
        assert held is not None
        assert (held.state, held.holds) == ("held", ["x.json"])
        await store.delete("retention/holds/x.json")
        store.create("journal/strange", b"x")
        await unchanged(world, "stands among the segments")
        await store.delete("journal/strange")
        world.limits = RetentionLimits(restore_seconds=1e-6, grace_seconds=1e-6, most_share=0.01)
        await unchanged(world, "may go in one pass")
        world.limits = RetentionLimits(restore_seconds=1e-6, grace_seconds=1e-6, most_share=1.0)
        world.clock.time -= 400_000_000
        await unchanged(world, "ahead of this machine's clock")
        world.clock.time += 400_000_000
        whole = store.peek(segment_key(1)) or b""
        store.replace(segment_key(1), whole[:-50] + b"x" + whole[-49:])
        await unchanged(world, "segment 1")

    asyncio.run(trial())
