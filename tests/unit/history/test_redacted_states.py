"""What is redacted begins or ends in the middle of a history: nobody has changed an object by that."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from archiver.history.objects import ObjectChange, ObjectRef, comparable, object_log
from archiver.history.span.changes import Change
from archiver.history.span.known_values import KnownValues
from archiver.history.span.object_changes import KnownState, StreamBeginning, StreamChanges
from archiver.journal.entry import Kind, Run
from archiver.journal.reader import Reader
from archiver.kubernetes.equal_redaction import equally_redacted
from archiver.kubernetes.records import Listing, Resource, Watch
from archiver.timeline.answers import _object_states
from tests.simulation.loop import inline
from tests.unit.journal.forge import Forgery

SECOND = 1_000_000
NAME = "kube/g.io/things"
THING = Resource("g.io", "v1", "things", "Thing", True)
SECRET = "hunter2"


def body(version: int, spec: dict[str, Any], *, mark: tuple[str, ...] = (), writer: str = "") -> bytes:
    metadata: dict[str, Any] = {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": str(version)}
    owned: dict[str, Any] = {f"f:{name}": {} for name in spec if name not in mark}
    metadata["managedFields"] = [
        {"manager": "alice", "operation": "Update", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": owned}},
        *([{"manager": writer, "operation": "Update", "time": "2026-01-02T00:00:00Z", "fieldsV1": {}}] if writer else []),
    ]
    if mark:
        metadata["archiverRedacted"] = list(mark)
    return json.dumps({"metadata": metadata, "spec": spec}).encode()


class Story:
    """A journal of one object."""

    def __init__(self) -> None:
        self.forgery = Forgery()
        self.forgery.open()
        self.time = 1_800_000_000 * SECOND

    def add(self, kind: Kind, found: bytes, position: str = "") -> None:
        self.time += SECOND
        self.forgery.add(Run.of(NAME, kind, [found], observed=self.time, position=position), time=self.time)

    def listed(self, cause: Any, version: int, found: bytes) -> None:
        self.add(Kind.K8S_WATCH, msgspec.json.encode(Watch("ca=x uid=y", "https://x", THING, "", 0, "", cause)))
        self.add(Kind.K8S_ITEM, found)
        self.add(Kind.CHECKPOINT, msgspec.json.encode(Listing(THING, "", 0, str(version), 1, 1, cause)), str(version))

    def event(self, version: int, found: bytes, sort: str = "MODIFIED") -> None:
        self.add(Kind.K8S_EVENT, msgspec.json.encode({"type": sort, "object": msgspec.Raw(found)}), str(version))

    def alone(self) -> list[ObjectChange]:
        reader = Reader(self.forgery.store, offload=inline)
        return asyncio.run(object_log(reader, "kube", ObjectRef("things", "n", "a")))

    def together(self) -> list[Change]:
        async def told() -> list[Change]:
            known: KnownValues[KnownState] = KnownValues(1 << 20)
            stream = StreamChanges(NAME, StreamBeginning(), known)
            reader = Reader(self.forgery.store, offload=inline)
            return [each.change async for placed in reader.read() for each in stream.feed(placed)]

        return asyncio.run(told())


WHOLE = {"token": SECRET, "image": "one"}
CUT = {"image": "one"}


@pytest.mark.parametrize("heard_again", [True, False])
@pytest.mark.parametrize("begins", [True, False])
def test_the_next_writer_has_not_removed_what_is_redacted(*, heard_again: bool, begins: bool) -> None:
    """Nor made it, where redaction ends; whether the state was listed again in between, or the change is what comes first."""
    story = Story()
    mark = ("spec.token",)
    first, then = ((WHOLE, ()), (CUT, mark)) if begins else ((CUT, mark), (WHOLE, ()))
    story.listed("start", 2, body(2, first[0], mark=first[1]))
    if heard_again:
        story.listed("verify", 2, body(2, then[0], mark=then[1]))
    story.event(3, body(3, {**then[0], "image": "two"}, mark=then[1], writer="bob"))
    change, alone = story.together()[-1], story.alone()
    assert [(field.name, field.old, field.new) for field in change.fields] == [("spec.image", "one", "two")]
    assert (alone[-1].changed, alone[-1].manager) == (["spec.image"], "bob (Update)")
    assert change.field_manager == "bob (Update)"
    assert len(alone) == 2
    assert ["spec.token" in each.detail for each in (change, alone[-1])] == [not heard_again] * 2
    shown = _object_states(alone)[-1]
    assert [each.name for each in shown.fields] == ["spec.image"]


def test_no_later_entry_tells_a_value_that_is_redacted_by_then() -> None:
    """The object is deleted, or really loses the field, after a list had it without the value."""
    for sort, last in (("DELETED", body(3, CUT, mark=("spec.token",))), ("MODIFIED", body(3, CUT, writer="bob"))):
        story = Story()
        story.listed("start", 2, body(2, WHOLE))
        story.listed("verify", 2, body(2, CUT, mark=("spec.token",)))
        story.event(3, last, sort)
        assert SECRET not in str(story.together()[-1])
    story = Story()
    story.listed("start", 2, body(2, WHOLE))
    story.listed("verify", 2, body(2, CUT, mark=("spec.token",)))
    story.add(Kind.K8S_WATCH, msgspec.json.encode(Watch("ca=x uid=y", "https://x", THING, "", 0, "", "expired")))
    story.add(Kind.CHECKPOINT, msgspec.json.encode(Listing(THING, "", 0, "5", 0, 9, "expired")), "5")
    gone = story.together()[-1]
    assert (gone.operation, SECRET in str(gone)) == ("absent", False)


def test_who_wrote_is_not_read_from_fields_that_are_cut() -> None:
    """What redaction's end brings back into managedFields nobody has written."""
    story = Story()
    story.listed("start", 2, body(2, CUT, mark=("spec.token",)))
    story.event(3, body(3, {"token": SECRET, "image": "one"}))
    assert (story.together()[-1].field_manager, story.alone()[-1].manager) == ("", "")


def test_states_are_compared_without_what_one_of_them_lacks() -> None:
    """Through lists, stars and quoted names, as capture cuts; with equal marks nothing is left out."""
    env = [{"name": "a", "value": SECRET}, {"name": "b"}]
    one = {"metadata": {"annotations": {"a.b/c": SECRET, "kept": "1"}}, "spec": {"env": env, "data": {"x": SECRET}, "lists": [[SECRET], 1]}}
    mark = ["metadata.annotations[a.b/c]", "spec.data.*", "spec.env[*].value", "spec.lists.x"]
    other = {
        "metadata": {"annotations": {"kept": "1"}, "archiverRedacted": mark},
        "spec": {"env": [{"name": "a"}, {"name": "b"}], "data": {}, "lists": [1]},
    }
    left, right, paths = equally_redacted(one, other)
    assert (left == right, paths) == (True, mark)
    assert equally_redacted(other, other) == (other, other, [])
    stub = {"metadata": {"name": "a", "archiverRedacted": ["*"]}}
    assert comparable(one, stub) == ({"metadata": {}}, {"metadata": {}}, "not compared, for one of the states is without: anything")
