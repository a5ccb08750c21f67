"""Entries of a stream."""

from __future__ import annotations

import msgspec

from archiver.journal.entry import Kind
from archiver.journal.records import Gap
from archiver.kubernetes.records import Absent
from tests.unit.capture.kubernetes.handed_over import SCOPE, KeptRuns, entries
from tests.unit.capture.set_clock import SetClock


async def test_each_thing_has_its_kind_and_the_position_that_it_brings() -> None:
    """Objects of a list move nothing; events, progress and a complete list do; nothing is written of nothing."""
    outbox = KeptRuns()
    written = entries(outbox, SetClock())
    assert await written.listing(1, "start") == 1
    written.items([])
    written.items([b"{}"])
    written.absent({}, 0, 0)
    written.events([b"{}"], "7")
    written.progress("8")
    assert [(run.kind, run.position) for run in outbox.runs] == [
        (Kind.K8S_WATCH, ""),
        (Kind.K8S_ITEM, ""),
        (Kind.K8S_EVENT, "7"),
        (Kind.PROGRESS, "8"),
    ]
    assert {run.source for run in outbox.runs} == {SCOPE.stream}


def test_objects_that_went_unseen_are_told_with_the_time_in_which_they_did() -> None:
    """One record an object."""
    outbox = KeptRuns()
    entries(outbox, SetClock()).absent({("n", "a"): ("u", "5")}, 10, 20)
    (body,) = outbox.runs[0].bodies()
    assert msgspec.json.decode(body, type=Absent) == Absent("n", "a", "u", "5", 10, 20)


def test_a_gap_is_newer_than_every_entry_before_it() -> None:
    """It has no position: whoever looks for it goes by its time, even where the clock went back."""
    clock, outbox = SetClock(1000), KeptRuns()
    written = entries(outbox, clock, newest=2_000_000_000)
    written.gap(Gap(what="resource things.g.io", reason="unwatched", detail=""))
    written.progress("8")
    assert [run.observed for run in outbox.runs] == [2_000_000_001, 1_000_000_000]
