"""One object at a point, from history files: what the fold of everything says, to the word, and what is read for it."""

from __future__ import annotations

import asyncio
import json
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.clock import SystemClock
from archiver.errors import HistoryLost, Invalid
from archiver.history.filed_streams import filed_streams
from archiver.history.object_at import ObjectAt, object_at
from archiver.history.objects import ObjectRef
from archiver.journal.entry import Kind, Run
from archiver.journal.reader import Reader
from archiver.kubernetes.records import Listing, Resource, Verified, Watch
from archiver.kubernetes.state_digest import state_digest
from archiver.maintenance.cluster_folding import fold_cluster
from archiver.maintenance.object_history import add_object_history
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.store.memory import MemoryStore
from tests.unit.journal.counting_store import CountingStore
from tests.unit.journal.forge import Forgery
from tests.unit.replay.kubernetes.past import Past

SECOND = 1_000_000
NOON = 1_800_000_000 * SECOND
NAME = "kube/g.io/things"
THING = Resource("g.io", "v1", "things", "Thing", True)


async def answer(reader: Reader, ref: ObjectRef, cut: Cut) -> ObjectAt | str:
    """What is said, or why nothing is."""
    try:
        return await object_at(reader, "kube", ref, cut)
    except (Invalid, HistoryLost) as error:
        return error.message


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 5))
@settings(max_examples=12, deadline=None)
def test_files_tell_what_the_fold_tells(seed: int, steps: int, number: int) -> None:
    """At entries and times, wherever the files end: the same state, gaps and notes."""
    past, chance = Past(seed).make(steps), random.Random(seed)
    stream = chance.choice(past.streams)
    ref = ObjectRef(f"{stream.resource.plural}.g.io", "n", f"o{number}")
    last = past.forgery.end.next - 1
    times = [truth.observed + late for truth in stream.truths for late in (-1, 0, 1) if truth.observed > 1]
    cuts = [Cut(), Cut(seq=last), *(Cut(seq=chance.randint(1, last)) for _ in range(4))]
    cuts += [Cut(time=time) for time in chance.sample(times, min(4, len(times)))]

    async def story() -> None:
        store = past.forgery.store
        expected = [await answer(Reader(store), ref, cut) for cut in cuts]
        for step_entries in (max(1, last * 2 // 3), last):
            await add_object_history(Reader(store), SystemClock(), "kube", step_entries=step_entries)
            for cut, each in zip(cuts, expected, strict=True):
                assert await answer(Reader(store), ref, cut) == each, cut

    asyncio.run(story())


class Story:
    """A journal of one stream of two objects that a list saw, in segments of one entry each."""

    def __init__(self) -> None:
        self.forgery = Forgery()
        self.forgery.open()
        self.version, self.time = 10, NOON
        watch = Watch("ca=x uid=y", "https://x", THING, "", 0, "", "start")
        self.add(Kind.K8S_WATCH, msgspec.json.encode(watch))
        for name in "ab":
            self.add(Kind.K8S_ITEM, self.body(name))
        self.add(Kind.CHECKPOINT, msgspec.json.encode(Listing(THING, "", 0, "10", 2, 2, "start")), position="10")

    def body(self, name: str) -> bytes:
        metadata = {"name": name, "namespace": "n", "uid": name, "resourceVersion": str(self.version)}
        return json.dumps({"metadata": metadata, "spec": {"turn": self.version}}).encode()

    def add(self, kind: Kind, body: bytes, position: str = "") -> None:
        self.time += SECOND
        self.forgery.add(Run.of(NAME, kind, [body], observed=self.time, position=position), time=self.time)

    def change(self, name: str, count: int = 1) -> None:
        for _ in range(count):
            self.version += 1
            self.add(Kind.K8S_EVENT, b'{"type":"MODIFIED","object":' + self.body(name) + b"}", str(self.version))

    def file(self) -> None:
        asyncio.run(add_object_history(Reader(self.forgery.store), SystemClock(), "kube"))

    def asked(self, cut: Cut) -> tuple[ObjectAt, int]:
        """What is said of the first object, and how many requests that took."""
        store = CountingStore(self.forgery.store)
        found = asyncio.run(object_at(Reader(store), "kube", ObjectRef("things", "n", "a"), cut))
        return found, sum(store.calls.values())


def test_requests_do_not_grow_with_the_journal() -> None:
    """As many for the newest state behind ten times as many segments, and for one in the middle only those of looking for its place."""
    newest, middle = list[int](), list[int]()
    for length in (60, 600):
        story = Story()
        story.change("b", length // 2)
        story.change("a")
        entry = story.forgery.end.next - 1
        story.change("b", length // 2)
        alone = [story.asked(cut) for cut in (Cut(), Cut(seq=entry))]
        story.file()
        # Behind the files a tail is read.
        story.change("b", 3)
        (last, most), (between, some) = (story.asked(cut) for cut in (Cut(), Cut(seq=entry)))
        assert (last, between) == (alone[0][0], alone[1][0])
        assert last.state is not None
        newest.append(most)
        middle.append(some)
        assert alone[0][1] > length / 2
    assert newest[0] == newest[1] < 40
    # Each doubling costs one header more each time that a place is looked for.
    assert middle[1] - middle[0] < 25


def test_what_the_api_server_listed_is_no_less_a_doubt() -> None:
    """Where the fold was held against a list and is another, the answer says so, files or not; a checkpoint behind an equal one is enough."""
    story = Story()
    story.change("a", 40)
    objects = [(("n", name), (name, version)) for name, version in (("a", str(story.version)), ("b", "10"))]
    right = msgspec.json.encode(Verified(str(story.version), 2, state_digest(objects), story.time))
    story.add(Kind.PROGRESS, right, str(story.version))
    story.file()
    assert story.asked(Cut())[1] > 40
    asyncio.run(fold_cluster(Reader(story.forgery.store), SystemClock(), "kube", until=story.forgery.number - 1))
    known, requests = story.asked(Cut())
    assert (known.gaps, requests < 40) == ([], True)
    story.add(Kind.PROGRESS, msgspec.json.encode(Verified(str(story.version), 3, "no", story.time)), str(story.version))
    story.file()
    assert any("the API server listed 3 objects" in gap for gap in story.asked(Cut())[0].gaps)


@pytest.mark.parametrize("seed", [0, 5, 7])
def test_what_files_do_not_tell_is_folded(seed: int) -> None:
    """In a list that is not complete, and where nothing is heard: the same answer all the same, and not by files."""
    past = Past(seed).make(60)
    store: MemoryStore = past.forgery.store
    stream = past.streams[0]
    asyncio.run(add_object_history(Reader(store), SystemClock(), "kube"))
    inside = [truth.entry for truth in stream.truths if truth.relisting and truth.objects is not None]
    assert inside
    for entry in inside:
        assert asyncio.run(filed_streams(Reader(store), "kube", {stream.name}, ("n", "o1"), Cut(seq=entry))) is None
