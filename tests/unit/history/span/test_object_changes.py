"""What is told of all objects of a cluster against what the history of each object by itself says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.history.objects import ObjectRef, object_log
from archiver.history.span.bounds import Told
from archiver.history.span.known_values import KnownValues
from archiver.history.span.object_changes import KnownState, StreamBeginning, StreamChanges
from archiver.journal.entry import Kind, Placed
from archiver.journal.reader import Reader
from tests.simulation.loop import inline, play
from tests.unit.replay.kubernetes.past import Past


def told_of(runs: list[Placed], name: str, most_bytes: int = 1 << 20) -> list[Told]:
    known: KnownValues[KnownState] = KnownValues(most_bytes)
    stream = StreamChanges(name, StreamBeginning(), known)
    return [told for placed in runs if placed.run.source == name for told in stream.feed(placed)]


@given(st.integers(0, 2**32), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_all_objects_together_tell_what_each_tells_by_itself(seed: int, steps: int) -> None:
    """Every change once, in the journal's order, but for what the first list found: that is where knowledge begins."""
    past = Past(seed).make(steps)

    async def story() -> None:
        reader = Reader(past.forgery.store, offload=inline)
        runs = [placed async for placed in reader.read()]
        for stream in past.streams:
            if not any(placed.run.source == stream.name for placed in runs):
                continue
            found = told_of(runs, stream.name)
            assert [told.order for told in found] == sorted(told.order for told in found)
            first = next((each.first for each in runs if each.run.source == stream.name and each.run.kind is Kind.CHECKPOINT), 1 << 60)
            for number in range(6):
                name = f"o{number}"
                alone = await object_log(reader, "kube", ObjectRef(f"{stream.resource.plural}.g.io", "n", name))
                expected = [
                    (each.entry, each.event.lower(), each.uid, each.resource_version, each.late, each.since, each.until)
                    for each in alone
                    if each.event != "GAP" and not (each.event == "LISTED" and each.entry <= first)
                ]
                mine = [told.change for told in found if told.change.name == name]
                assert [(each.entry, each.operation, each.uid, each.resource_version, each.late) for each in mine] == [
                    each[:5] for each in expected
                ]
                by_itself = [each[5:] for each in expected if each[1] not in ("listed", "absent")]
                assert [
                    (each.happened_from, each.happened_until) for each in mine if each.operation not in ("listed", "absent")
                ] == by_itself

    play(story())


@given(st.integers(0, 2**32), st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_with_little_room_nothing_is_told_that_is_not_so(seed: int, steps: int) -> None:
    """What is forgotten may be told again, and is said to be not known; what was news stays news."""
    past = Past(seed).make(steps)

    async def story() -> None:
        runs = [placed async for placed in Reader(past.forgery.store, offload=inline).read()]
        for stream in past.streams:
            all_of_it, some = told_of(runs, stream.name), told_of(runs, stream.name, 1000)
            told = {told.order: told.change for told in some}
            for each in all_of_it:
                if each.change.operation in ("added", "modified", "deleted"):
                    change = told[each.order]
                    assert (change.operation, change.uid, change.name) == (each.change.operation, each.change.uid, each.change.name)
                    for field in change.fields:
                        assert field.old_known is False or field in each.change.fields

    play(story())


@pytest.mark.parametrize("most_bytes", [0, 1 << 20])
def test_a_stream_without_a_list_begins_with_nothing(most_bytes: int) -> None:
    """No entries: no changes, and nothing unknown."""
    assert told_of([], "kube/g.io/things0", most_bytes) == []
