"""What ``verify`` says can still be restored of a damaged archive, against restores of made-up histories."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.errors import ArchiverError
from archiver.journal.keys import segment_key
from archiver.journal.reader import Reader
from archiver.journal.verifier import VerifyReport, verify
from archiver.replay.kubernetes.fold import read_streams
from archiver.replay.kubernetes.folded_stream import Cut, FoldedStream
from tests.simulation.loop import inline, play
from tests.unit.replay.kubernetes.past import Past, Stream
from tests.unit.replay.kubernetes.test_fold import at


async def restored(past: Past, stream: Stream, cut: Cut) -> FoldedStream:
    reader = Reader(past.forgery.store, offload=inline)
    (fold,) = await read_streams(reader, "kube", cut, lambda name: str(name) == stream.name)
    return fold


async def as_it_was(past: Past, stream: Stream, cut: Cut) -> None:
    truth = at(stream, entry=cut.seq, time=cut.time)
    assert truth is not None
    fold = await restored(past, stream, cut)
    found = {name: (seen.uid, seen.resource_version) for (_, name), seen in fold.state.objects.items()}
    assert found == truth.objects, cut


def damage(past: Past, number: int, kind: str) -> None:
    key = segment_key(number)
    whole = past.forgery.store.peek(key)
    assert whole is not None
    middle = len(whole) - 60
    damaged = {
        "missing": None,
        "header": bytes([*whole[:30], whole[30] ^ 4, *whole[31:]]),
        "body": bytes([*whole[:middle], whole[middle] ^ 4, *whole[middle + 1 :]]),
        "cut": whole[:-1],
    }[kind]
    past.forgery.store.replace(key, damaged)


@given(st.integers(0, 2**32), st.integers(20, 80), st.sampled_from(["missing", "header", "body", "cut"]), st.data())
@settings(max_examples=150, deadline=None)
def test_what_is_said_to_be_restorable_is(seed: int, steps: int, kind: str, data: st.DataObject) -> None:
    """Every point that ``verify`` names, before the bad segments and behind a later complete list, is as it was; and before the first bad
    segment none is left out.
    """
    past = Past(seed).make(steps)
    last = past.forgery.number - 1
    bad = sorted(data.draw(st.sets(st.integers(1, last), min_size=1, max_size=2)))
    if last in bad and kind == "missing":
        return
    lost = play(verify(past.forgery.store, offload=inline))
    assert lost.ok
    for number in bad:
        damage(past, number, kind)
    report = play(verify(past.forgery.store, offload=inline))
    assert [number for each in report.bad_segments for number in range(each.segment, each.to_segment + 1)] == bad
    assert report.bad_segment == bad[0]
    assert report.segments + report.behind + len(bad) == last + 1
    # Where less than five segments stand behind a missing one, they are not known to be the journal's end.
    near = kind != "body" and last - bad[-1] < 5
    streams = {stream.name: stream for stream in past.streams}

    async def story() -> None:
        for each in report.restorable:
            if near and not each.proved:
                continue
            stream = streams[each.source]
            for entry in {each.from_entry, each.to_entry, data.draw(st.integers(each.from_entry, each.to_entry))}:
                await as_it_was(past, stream, Cut(seq=entry))
            if each.before_time:
                if each.from_time < each.before_time:
                    await as_it_was(past, stream, Cut(time=data.draw(st.integers(each.from_time, each.before_time - 1))))
            else:
                await as_it_was(past, stream, Cut(time=each.from_time))

    play(story())
    _complete(past, report)


def _complete(past: Past, report: VerifyReport) -> None:
    """Before the first bad segment every point is named at which a list was complete; what is not named there cannot be restored."""
    until = report.bad_segments[0].after_entry
    for stream in past.streams:
        known = [truth.entry for truth in stream.truths if truth.objects is not None and truth.entry <= until]
        stretches = [each for each in report.restorable if each.source == stream.name and each.proved]
        assert all(any(each.from_entry <= entry <= each.to_entry for each in stretches) for entry in known)


@pytest.mark.parametrize("seed", range(20))
def test_no_point_is_restored_otherwise_than_it_was(seed: int) -> None:
    """A point that needs the bad segment is refused, or comes with a gap: never as a state that lacks what the segment held."""

    async def story() -> None:
        past = Past(seed).make(60)
        damage(past, past.forgery.number // 2, "header")
        for stream in past.streams:
            for truth in stream.truths:
                try:
                    fold = await restored(past, stream, Cut(seq=truth.entry))
                except ArchiverError:
                    continue
                found = {name: (seen.uid, seen.resource_version) for (_, name), seen in fold.state.objects.items()}
                assert found == (truth.objects or {}) or fold.gaps

    play(story())
