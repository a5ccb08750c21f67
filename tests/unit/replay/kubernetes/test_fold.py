"""Streams read up to any point of made-up histories, against what is known to be true there."""

from __future__ import annotations

from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.errors import HistoryLost, Invalid
from archiver.journal.reader import Reader
from archiver.replay.kubernetes.fold import read_streams
from archiver.replay.kubernetes.folded_stream import Cut, FoldedStream
from tests.simulation.loop import inline, play
from tests.unit.journal.forge import Forgery
from tests.unit.replay.kubernetes.past import Past, Stream, Truth


def at(stream: Stream, *, entry: int = 0, time: int = 0) -> Truth | None:
    """The newest truth at a cut."""
    within = [truth for truth in stream.truths if (not entry or truth.entry <= entry) and (not time or truth.observed <= time)]
    return within[-1] if within else None


async def check(past: Past, cut: Cut) -> None:
    point = cut.time or (past.times[cut.seq - 1] if cut.seq else 0)
    wanted = {stream.name: (stream, truth) for stream in past.streams if (truth := at(stream, entry=cut.seq, time=cut.time))}
    reader = Reader(past.forgery.store, offload=inline)
    if not any(truth.objects is not None for _, truth in wanted.values()):
        with pytest.raises((HistoryLost, Invalid)):
            await read_streams(reader, "kube", cut)
        return
    folds = {fold.name: fold for fold in await read_streams(reader, "kube", cut)}
    assert folds.keys() == wanted.keys()
    for name, (stream, truth) in wanted.items():
        judge(folds[name], stream, truth, point, end=not (cut.seq or cut.time), by_time=bool(cut.time))


def judge(fold: FoldedStream, stream: Stream, truth: Truth, point: int, *, end: bool, by_time: bool) -> None:
    found = {name: (seen.uid, seen.resource_version) for (_, name), seen in fold.state.objects.items()}
    assert (fold.entry, fold.observed) == (truth.entry, truth.observed)
    if truth.objects is None:
        assert found == {}
        assert fold.gaps == ["no complete list by then"]
        return
    assert found == truth.objects
    # What verifying lists found is told by what comes after them; where the first found nothing new, all is certain.
    verifying = list(takewhile(lambda each: each.verifying, (each for each in stream.truths if each.entry > truth.entry)))
    checked = next((each for each in verifying if not each.listing), None)
    certain = end or (checked is not None and checked.objects == truth.objects)
    last = verifying[-1] if verifying else truth
    between = any(since == last.observed and truth.observed < point < until for since, until in stream.outages) and not certain
    later = [each for each in stream.truths if each.entry > last.entry and not each.relisting]
    changed = not later or later[0].objects != truth.objects or bool(glimpsed(stream, truth, later[0]) - (later[0].objects or {}).keys())
    ends = [until for since, until in stream.pauses if since == last.observed and truth.observed < point < until and not certain]
    doubtful = by_time and any(until in stream.late for until in ends)
    assert bool(fold.gaps) == (((truth.relisting or between) and changed) or doubtful), (fold.gaps, point)
    assert bool(fold.notes) == bool(ends), (fold.notes, point)


def glimpsed(stream: Stream, truth: Truth, then: Truth) -> set[str]:
    """What lists saw that did not become complete, between the last time that all was known and ``then``."""
    settled = max((each.entry for each in stream.truths if each.entry <= truth.entry and not each.relisting), default=0)
    return {name for entry, name in stream.glimpses if settled < entry < then.entry}


@given(st.integers(0, 2**32), st.integers(1, 60), st.data())
@settings(max_examples=150, deadline=None)
def test_any_point_of_any_history_is_as_it_was(seed: int, steps: int, data: st.DataObject) -> None:
    """At every entry, at every time, and at the end: the objects are those of the newest complete list and the events after it, and what
    nobody saw is said.
    """
    past = Past(seed).make(steps)
    cuts = [Cut()]
    cuts += [Cut(seq=data.draw(st.integers(1, past.entry))) for _ in range(4)]
    cuts += [Cut(time=data.draw(st.integers(1000, past.now + 20))) for _ in range(4)]

    async def story() -> None:
        for cut in cuts:
            await check(past, cut)

    play(story())


def test_an_archive_without_the_source_is_told() -> None:
    """A name that the archive does not know is an input error."""

    async def story() -> None:
        forgery = Forgery()
        forgery.open()
        with pytest.raises(Invalid, match="no Kubernetes source 'kube'"):
            await read_streams(Reader(forgery.store, offload=inline), "kube", Cut())

    play(story())
