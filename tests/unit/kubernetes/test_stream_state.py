"""The fold of one Kubernetes stream."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest

from archiver.errors import Corrupt
from archiver.journal.entry import Kind, Placed, Run
from archiver.journal.records import Gap
from archiver.kubernetes.checkpoint_records import is_settled
from archiver.kubernetes.json_fields import document, order
from archiver.kubernetes.records import Absent, Listing, Resource, Verified, Watch
from archiver.kubernetes.state_digest import state_digest
from archiver.kubernetes.stream_state import RESOURCE_GONE, StreamState

RESOURCE = Resource("g", "v1", "things", "Thing", namespaced=True)


class Journal:
    """Hands runs to a fold."""

    def __init__(self) -> None:
        self.state = StreamState()
        self.next = 1
        self.began = 0

    def put(self, kind: Kind, *bodies: Any, position: str = "") -> None:
        encoded = [body if isinstance(body, bytes) else msgspec.json.encode(body) for body in bodies]
        run = Run.of("c/g/things", kind, encoded, observed=self.next, position=position)
        self.state.apply(Placed(self.next, 0, 1, 0, run))
        self.next += len(bodies)

    def begin(self, *, epoch: int = 0, cause: Literal["start", "verify", "cluster_changed"] = "start", cluster: str = "ca=x uid=") -> None:
        self.began = self.next
        self.put(Kind.K8S_WATCH, Watch(cluster, "https://s", RESOURCE, "", epoch, "", cause))

    def end(self, version: str, count: int, *, epoch: int = 0, position: str | None = None) -> None:
        listing = Listing(RESOURCE, "", epoch, version, count, self.began, "start")
        self.put(Kind.CHECKPOINT, listing, position=version if position is None else position)

    def items(self, **objects: tuple[str, int]) -> None:
        self.put(Kind.K8S_ITEM, *(thing(name, *about) for name, about in objects.items()))

    def event(self, kind: str, name: str, uid: str, version: int) -> None:
        self.put(Kind.K8S_EVENT, {"type": kind, "object": thing(name, uid, version)}, position=str(version))

    def complete(self) -> bool:
        return self.state.complete

    def replaced(self) -> bool:
        return self.state.replaced

    @property
    def versions(self) -> dict[str, tuple[str, str]]:
        return {name: (seen.uid, seen.resource_version) for (_, name), seen in self.state.objects.items()}


def thing(name: str, uid: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "n", "uid": uid, "resourceVersion": str(version)}, "spec": {"at": version}}


def listed() -> Journal:
    """A complete list of a and b at 20."""
    journal = Journal()
    journal.begin()
    journal.items(a=("u1", 10), b=("u2", 15))
    journal.end("20", 2)
    return journal


def test_events_follow_a_list() -> None:
    """Added, modified and deleted objects after a list; the body is the object and not the line."""
    journal = listed()
    journal.event("MODIFIED", "a", "u1", 21)
    journal.event("ADDED", "c", "u3", 22)
    journal.event("DELETED", "b", "u2", 23)
    assert journal.versions == {"a": ("u1", "21"), "c": ("u3", "22")}
    seen = journal.state.objects["n", "a"]
    assert msgspec.json.decode(seen.body) == thing("a", "u1", 21)
    assert (journal.state.position, journal.complete()) == ("23", True)


def test_a_list_counts_when_it_is_complete() -> None:
    """Until its CHECKPOINT the state is the one before; a list that never ends changes nothing, but what it saw is known."""
    journal = listed()
    journal.begin()
    journal.items(a=("u1", 10), d=("u4", 30))
    assert journal.versions == {"a": ("u1", "10"), "b": ("u2", "15")}
    assert not journal.complete()
    journal.begin()
    journal.items(a=("u1", 10))
    assert {name for _, name in journal.state.known()} == {"a", "b", "d"}
    journal.end("40", 1)
    assert journal.versions == {"a": ("u1", "10")}
    assert journal.complete()
    assert len(journal.state.known()) == 1


def test_events_that_a_list_already_holds_fold_to_nothing() -> None:
    """A verifying list at 40 with the watch going on from 20: what it brings up to 40 is history, what follows is state."""
    journal = listed()
    journal.begin()
    journal.items(a=("u1", 35))
    journal.end("40", 1, position="")
    assert journal.state.position == "20"
    journal.event("MODIFIED", "a", "u1", 25)
    journal.event("ADDED", "brief", "u7", 26)
    journal.event("DELETED", "brief", "u7", 27)
    journal.event("DELETED", "b", "u2", 30)
    journal.event("MODIFIED", "a", "u1", 35)
    assert journal.versions == {"a": ("u1", "35")}
    journal.event("MODIFIED", "a", "u1", 41)
    assert journal.versions == {"a": ("u1", "41")}


def test_a_verifying_list_that_was_abandoned_does_not_stop_the_watch() -> None:
    """Events go on from the position; the open list neither counts nor stands in the way of a resumption."""
    journal = listed()
    journal.begin(cause="verify")
    journal.items(a=("u1", 30))
    assert journal.complete()
    journal.event("MODIFIED", "a", "u1", 25)
    assert journal.versions["a"] == ("u1", "25")
    journal.put(Kind.K8S_WATCH, Watch("ca=x uid=", "https://s", RESOURCE, "", 0, "25", "resume"))
    assert journal.state.pending is None
    assert journal.complete()


def test_events_outdate_what_an_abandoned_list_saw() -> None:
    """What it saw is known to exist only until an event as new as that says otherwise; an older event changes nothing."""
    journal = listed()
    journal.begin(cause="verify")
    journal.items(a=("u1", 30), b=("u2", 31), c=("u3", 32), d=("u4", 33), e=("u5", 34))
    journal.event("MODIFIED", "a", "u1", 25)
    assert known(journal)["a"] == ("u1", "30")
    journal.event("MODIFIED", "a", "u1", 35)
    journal.event("DELETED", "b", "u2", 36)
    journal.event("ADDED", "c", "u6", 37)
    journal.event("DELETED", "c", "u6", 38)
    journal.put(Kind.K8S_ABSENT, Absent("n", "d", "u4", "33", 0, 0))
    assert known(journal) == {"a": ("u1", "35"), "e": ("u5", "34")}


def test_another_cluster_counts_from_its_first_complete_list() -> None:
    """A crash in the list of a new cluster: what is known is still the old one's, and has to be told apart from the new one once more."""
    journal = listed()
    journal.begin(epoch=1, cause="cluster_changed", cluster="ca=y uid=")
    journal.items(a=("u9", 500))
    assert journal.replaced()
    assert (journal.state.cluster, journal.state.epoch, journal.complete()) == ("ca=x uid=", 0, False)
    journal.begin(epoch=1, cause="cluster_changed", cluster="ca=y uid=")
    journal.end("501", 0, epoch=1)
    assert not journal.replaced()
    assert (journal.state.cluster, journal.state.epoch, journal.complete()) == ("ca=y uid=", 1, True)


def known(journal: Journal) -> dict[str, tuple[str, str]]:
    return {name: (seen.uid, seen.resource_version) for (_, name), seen in journal.state.known().items()}


def test_repetitions_keep_the_first_entry() -> None:
    """An event that comes twice is known from its first entry."""
    journal = listed()
    journal.event("MODIFIED", "a", "u1", 21)
    first = journal.state.objects["n", "a"].entry
    journal.event("MODIFIED", "a", "u1", 21)
    assert journal.state.objects["n", "a"].entry == first


def test_absence_outside_a_list_needs_the_uid() -> None:
    """An absence removes the object it names, not one that took its name."""
    journal = listed()
    journal.put(Kind.K8S_ABSENT, Absent("n", "a", "other", "1", 0, 0), Absent("n", "b", "u2", "15", 0, 0))
    assert journal.versions == {"a": ("u1", "10")}


def test_a_new_epoch_goes_back_in_version() -> None:
    """After a rewind, a list with lower versions is the state, and events above it count again."""
    journal = listed()
    journal.event("MODIFIED", "a", "u1", 900)
    journal.begin(epoch=1)
    journal.items(a=("u1", 10))
    journal.end("12", 1, epoch=1)
    journal.event("MODIFIED", "a", "u1", 13)
    assert journal.versions == {"a": ("u1", "13")}
    assert (journal.state.epoch, journal.state.position) == (1, "13")


def test_the_end_of_a_resource_ends_the_state() -> None:
    """A resource that is no longer served has no objects, and is not complete until it is listed again."""
    journal = listed()
    journal.put(Kind.GAP, Gap("resource things.g", RESOURCE_GONE))
    assert journal.state.ended
    assert not journal.versions
    assert not journal.complete()
    journal.begin()
    journal.end("50", 0)
    assert journal.complete()


def test_damage_is_told() -> None:
    """Items outside a list, a count that is not true, and bodies that are no JSON are Corrupt, not guessed at."""
    with pytest.raises(Corrupt):
        Journal().items(a=("u", 1))
    journal = Journal()
    journal.begin()
    journal.items(a=("u", 1))
    with pytest.raises(Corrupt):
        journal.end("2", 2)
    with pytest.raises(Corrupt):
        listed().put(Kind.K8S_EVENT, b'{"type":"ADDED"')


@pytest.mark.parametrize(
    ("one", "other", "result"),
    [("9", "10", -1), ("10", "9", 1), ("7", "7", 0), ("0", "1", -1), ("", "1", 0), ("01", "2", 0), ("a", "b", 0), ("19", "20", -1)],
)
def test_order_of_versions(one: str, other: str, result: int) -> None:
    """Decimal numbers compare by value at any length; anything else does not compare."""
    assert order(one, other) == result


def test_documents_of_built_in_items_get_their_kind() -> None:
    """Items of typed lists come without apiVersion and kind; what an object says of itself wins."""
    assert document(b'{"metadata":{}}', "", "v1", "ConfigMap") == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}
    assert document(b'{"kind":"X","apiVersion":"g/v2"}', "g", "v1", "Y") == {"apiVersion": "g/v2", "kind": "X"}


def verified(count: int, **objects: tuple[str, int]) -> Verified:
    digest = state_digest((("n", name), (uid, str(version))) for name, (uid, version) in objects.items())
    return Verified("9", count, digest)


def test_what_the_api_server_listed_is_held_against_the_fold() -> None:
    """The same changes nothing. Anything else is told until a list or another such proof says better."""
    journal = Journal()
    journal.begin()
    journal.items(a=("ua", 1), b=("ub", 2))
    journal.end("3", 2)
    journal.event("MODIFIED", "a", "ua", 5)
    before = dict(journal.state.objects)
    journal.put(Kind.PROGRESS, verified(2, a=("ua", 5), b=("ub", 2)), position="9")
    journal.put(Kind.PROGRESS, b"", position="10")
    assert (journal.state.disproved, journal.state.objects, journal.state.position) == ("", before, "10")
    journal.put(Kind.PROGRESS, verified(2, a=("ua", 6), b=("ub", 2)))
    assert journal.state.disproved == (
        "at resourceVersion 9 the API server listed 2 objects, and what the archive has up to entry 8 comes to 2, in other versions or others"
    )
    journal.put(Kind.PROGRESS, verified(2, a=("ua", 5), b=("ub", 2)))
    assert journal.state.disproved == ""
    journal.put(Kind.PROGRESS, verified(1, a=("ua", 5)))
    assert "listed 1 objects, and what the archive has up to entry 10 comes to 2" in journal.state.disproved
    assert not is_settled(journal.state)
    journal.begin()
    journal.items(a=("ua", 5))
    journal.end("11", 1)
    assert (journal.state.disproved, is_settled(journal.state)) == ("", True)
