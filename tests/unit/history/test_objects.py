"""History of one object in made-up pasts: complete, in order, and consistent with what a restore would bring back."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.clock import SystemClock
from archiver.errors import Invalid
from archiver.history.filed_objects import filed_entries
from archiver.history.objects import ObjectChange, ObjectRef, differences, object_log
from archiver.journal.reader import Reader
from archiver.maintenance.history_checking import check_history
from archiver.maintenance.object_history import add_object_history
from tests.simulation.loop import inline, play
from tests.unit.replay.kubernetes.past import Past, Stream


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_the_log_of_an_object_is_what_happened(seed: int, steps: int, number: int) -> None:
    """Every state that was received is in the log once; at every entry outside a list, the state it tells is the one a restore has."""
    past = Past(seed).make(steps)
    name = f"o{number}"

    async def story() -> None:
        for stream in past.streams:
            if not any(truth.objects is not None for truth in stream.truths):
                continue
            reader = Reader(past.forgery.store, offload=inline)
            changes = await object_log(reader, "kube", ObjectRef(f"{stream.resource.plural}.g.io", "n", name))
            assert [change.entry for change in changes] == sorted(change.entry for change in changes)
            versions = [change.resource_version for change in changes if change.state is not None or change.event == "DELETED"]
            assert len(versions) == len(set(versions))
            received = {version for kind, each, _, version in seen(stream) if each == name}
            assert received <= set(versions)
            for truth in stream.truths:
                if truth.objects is None or truth.listing or truth.relisting:
                    continue
                state = state_at([change for change in changes if change.entry <= truth.entry])
                assert (state and (state.uid, state.resource_version)) == truth.objects.get(name)

    play(story())


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 5), st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_history_files_tell_the_same(seed: int, steps: int, number: int, step_entries: int) -> None:
    """Wherever they end: the same changes, states and gaps as from the journal alone; and they are read instead of it."""
    past = Past(seed).make(steps)

    async def story() -> None:
        reader = Reader(past.forgery.store)
        asked = [ObjectRef(f"{stream.resource.plural}.g.io", "n", f"o{number}") for stream in past.streams]
        expected = [await answer(reader, ref) for ref in asked]
        done = False
        while not done:
            done = (await add_object_history(Reader(past.forgery.store), SystemClock(), "kube", step_entries=step_entries)).done
            assert [await answer(reader, ref) for ref in asked] == expected
        (checked,) = await check_history(reader, level="all", turn=seed)
        assert (checked.bad, bool(checked.compared)) == ([], True)
        assert await filed_entries(reader, "kube", asked[0].resource, "n", asked[0].name) is not None or not isinstance(expected[0], list)

    asyncio.run(story())


async def answer(reader: Reader, ref: ObjectRef) -> list[ObjectChange] | str:
    """The log, or why there is none."""
    try:
        return await object_log(reader, "kube", ref)
    except Invalid as error:
        return error.message


def state_at(changes: list[ObjectChange]) -> ObjectChange | None:
    """The newest state in ``changes``; ``None`` when it never was, or is gone."""
    last = next((change for change in reversed(changes) if change.event != "GAP" and not change.late), None)
    return last if last is not None and last.state is not None else None


def seen(stream: Stream) -> list[tuple[str, str, str, str]]:
    """What watches brought: not what happened while nobody watched."""
    return [each for each in stream.versions if each[3] in stream.brought]


def test_differences_name_paths() -> None:
    """Leaves by path; keys with dots in brackets; null is not nothing, true is not 1; lists are compared as wholes."""
    one = {"spec": {"a": 1, "b": None, "c": [1, 2]}, "metadata": {"labels": {"x.io/y": "1"}}, "same": 1}
    other = {"spec": {"a": True, "c": [1, 3]}, "metadata": {"labels": {"x.io/y": "2"}}, "same": 1.0}
    assert differences(one, other) == [
        ('metadata.labels["x.io/y"]', "1", "2"),
        ("spec.a", 1, True),
        ("spec.b", None, None),
        ("spec.c", [1, 2], [1, 3]),
    ]


@pytest.mark.parametrize("text", ["a", "a/b/c/d", "a//b", "/a", ""])
def test_what_does_not_name_an_object_is_told(text: str) -> None:
    """``plural.group/namespace/name`` or ``plural.group/name``."""
    with pytest.raises(Invalid, match="does not name an object"):
        ObjectRef.parse(text)
    assert ObjectRef.parse("runs.g.io/n/a") == ObjectRef("runs.g.io", "n", "a")
    assert ObjectRef.parse("zones.g.io/a") == ObjectRef("zones.g.io", "", "a")


def test_a_plural_of_several_groups_is_asked_for() -> None:
    """Objects of two kinds are never one history; with its group each is named, the core group with a dot at the end."""
    past = Past(1)
    for stream, group in zip(past.streams, ("", "g.io"), strict=True):
        stream.resource = msgspec.structs.replace(stream.resource, group=group, plural="things")
    for stream in past.streams:
        past.read(stream, "start")
    past.flush()

    async def story() -> None:
        reader = Reader(past.forgery.store, offload=inline)
        with pytest.raises(Invalid, match="several groups have things") as raised:
            await object_log(reader, "kube", ObjectRef("things", "n", "o1"))
        assert raised.value.hint == "name one: things., things.g.io"
        for name in ("things.", "things.g.io"):
            assert await object_log(reader, "kube", ObjectRef(name, "n", "o1")) == []

    play(story())
