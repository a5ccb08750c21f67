"""What a start reads of the journal."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.capture.kubernetes.journal_view import ResumedStream, resume_ended, resume_living, resume_streams
from archiver.journal.entry import Kind, Run
from archiver.journal.reader import Reader
from archiver.journal.records import Gap
from archiver.kubernetes.records import Listing, Resource, Watch
from archiver.kubernetes.stream_silence import open_silence
from archiver.replay.kubernetes.fold import read_streams
from archiver.replay.kubernetes.folded_stream import Cut
from tests.simulation.loop import inline, play
from tests.unit.journal.forge import Forgery
from tests.unit.replay.kubernetes.past import Past

LIVING, ENDED, NEVER_LISTED = "kube/g/things", "kube/g/olds", "kube/g/sealed"


def resource(stream: str) -> Resource:
    plural = stream.rpartition("/")[2]
    return Resource("g", "v1", plural, plural, True)


def began(stream: str, now: int) -> Run:
    watch = Watch("ca=x uid=y", "https://x", resource(stream), "", 0, "", "start")
    return Run.of(stream, Kind.K8S_WATCH, [msgspec.json.encode(watch)], observed=now)


def listed(stream: str, first: int, now: int) -> Run:
    listing = Listing(resource(stream), "", 0, "5", 0, first, "start")
    return Run.of(stream, Kind.CHECKPOINT, [msgspec.json.encode(listing)], observed=now, position="5")


class Long:
    """A journal in which one stream ended in the first minute, one never had a complete list, and one lives to the end."""

    def __init__(self, segments: int, ended: int = 1) -> None:
        self.forgery = forgery = Forgery()
        forgery.open()
        forgery.add(began(LIVING, 10), listed(LIVING, forgery.end.next, 11))
        forgery.add(began(ENDED, 12), listed(ENDED, forgery.end.next, 13), began(NEVER_LISTED, 14))
        forgery.add(Run.of(ENDED, Kind.GAP, [msgspec.json.encode(Gap("resource olds.g", "resource_gone"))], observed=15))
        for number in range(1, ended):
            stream = f"{ENDED}{number}"
            forgery.add(began(stream, 16), listed(stream, forgery.end.next, 17))
            forgery.add(Run.of(stream, Kind.GAP, [msgspec.json.encode(Gap("resource olds.g", "resource_gone"))], observed=18))
        for number in range(segments):
            forgery.add(Run.of("other", Kind.PG_FRAMES, [b"x"], observed=20 + number))
        forgery.add(began(LIVING, 20 + segments), listed(LIVING, forgery.end.next, 21 + segments))
        self.bodies = 0
        self.reads = 0
        get = forgery.store.get

        async def counted(key: str, start: int = 0, length: int | None = None) -> bytes | None:
            self.reads += 1
            self.bodies += key.startswith("journal/") and not start and length is None
            return await get(key, start, length)

        forgery.store.get = counted  # type: ignore[method-assign]


async def at_start(long: Long) -> dict[str, ResumedStream]:
    return await resume_streams(Reader(long.forgery.store, offload=inline), long.forgery.end.sources, "kube")


@pytest.mark.parametrize("what", ["start", "restore"])
def test_a_stream_that_ended_costs_nothing_that_grows(what: str) -> None:
    """Ten times as many segments since: as many whole segments are read, at a start and for a restore, and a few more headers."""

    async def story() -> None:
        figures: list[tuple[int, int]] = []
        for segments in (300, 3000):
            long = Long(segments)
            if what == "start":
                found = await at_start(long)
                assert (found[LIVING].state.complete, found[ENDED].state.ended) == (True, True)
                assert found[NEVER_LISTED].state.listing is None
            else:
                folds = await read_streams(Reader(long.forgery.store, offload=inline), "kube", Cut())
                assert [(fold.name, fold.state.ended) for fold in folds] == [(ENDED, True), (NEVER_LISTED, False), (LIVING, False)]
            figures.append((long.bodies, long.reads))
        (few, all_few), (many, all_many) = figures
        assert few == many < 20
        assert all_many < all_few + 60

    play(story())


def test_streams_that_ended_cost_a_start_and_a_status_nothing() -> None:
    """As many requests in a journal ten times as long in which thirty times as many streams ended. One that is served again is read then."""

    async def story() -> None:
        figures: set[int] = set()
        for segments, ended in ((300, 1), (3000, 30)):
            long = Long(segments, ended)
            marks = long.forgery.end.sources
            reader = Reader(long.forgery.store, offload=inline, known=long.forgery.number - 1)
            found = await resume_living(reader, marks, "kube")
            assert found.keys() == {LIVING, NEVER_LISTED}
            for stream, mark in marks.items():
                assert await open_silence(reader, stream, mark) is None
            figures.add(long.reads)
            again = await resume_ended(reader, marks, ENDED)
            assert again is not None
            assert again.state.ended
            assert [await resume_ended(reader, marks, stream) for stream in (LIVING, "kube/g/new")] == [None, None]
        assert len(figures) == 1

    play(story())


@given(st.integers(0, 2**32), st.integers(1, 60))
@settings(max_examples=100, deadline=None)
def test_what_is_skipped_says_nothing(seed: int, steps: int) -> None:
    """Any history: what a start knows of a stream that was listed is what folding every one of its entries gives."""

    async def story() -> None:
        past = Past(seed).make(steps)
        reader = Reader(past.forgery.store, offload=inline)
        found = await resume_streams(reader, past.forgery.end.sources, "kube")
        whole = {stream.name: ResumedStream() for stream in past.streams}
        async for placed in reader.read():
            if placed.run.source in whole:
                whole[placed.run.source].apply(placed)
        marks = past.forgery.end.sources
        assert found.keys() == marks.keys() & whole.keys()
        living = await resume_living(reader, marks, "kube")
        ended = {stream for stream in found if await resume_ended(reader, marks, stream) is not None}
        assert living.keys() | ended == found.keys()
        assert living.keys().isdisjoint(ended)
        assert all(found[stream].state.ended for stream in ended)
        for name, one in found.items():
            state, wanted = one.state, whole[name].state
            assert (state.listing, state.ended, state.position) == (wanted.listing, wanted.ended, wanted.position)
            if state.listing is not None:
                assert (state.objects, state.known().keys()) == (wanted.objects, wanted.known().keys())
                assert state.complete == wanted.complete

    play(story())
