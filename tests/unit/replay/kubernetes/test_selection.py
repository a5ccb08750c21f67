"""Which objects a restore is about."""

from __future__ import annotations

import json

import msgspec
import pytest

from archiver.errors import Invalid
from archiver.journal.entry import Kind, Placed, Run
from archiver.kubernetes.records import Listing, Resource, Watch
from archiver.kubernetes.stream_state import StreamState
from archiver.replay.kubernetes.folded_stream import FoldedStream
from archiver.replay.kubernetes.label_selector import LabelSelector
from archiver.replay.kubernetes.selection import DEFINITIONS, RestoreScope, Selection, select

RUNS = Resource("g.io", "v1", "runs", "Run", True)
TOOLS = Resource("g.io", "v1", "tools", "Tool", True)
ZONES = Resource("g.io", "v1", "zones", "Zone", False)
DEFINED = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)


def fold(resource: Resource, *names: str, observed: int = 10, scope: str = "", listed: bool = True) -> FoldedStream:
    """A stream that holds ``namespace/name`` or ``name``; ``observed`` is when its newest entry was received."""
    state = StreamState()
    name = f"kube/{resource.group}/{resource.plural}{f'@{scope}' if scope else ''}"

    def put(kind: Kind, *bodies: bytes) -> None:
        state.apply(Placed(1, 0, 1, 1, Run.of(name, kind, bodies, observed=observed)))

    items = []
    for each in names:
        namespace, _, short = each.rpartition("/")
        uid = f"{resource.plural}-{each}-{scope}"
        items.append(json.dumps({"metadata": {"name": short, "namespace": namespace, "uid": uid, "resourceVersion": "5"}}).encode())
    watch = Watch(f"ca=c uid={scope}", "https://x", resource, scope, 0, "", "start")
    listing = Listing(resource, scope, 0, "5", len(items), 1, "start")
    put(Kind.K8S_WATCH, msgspec.json.encode(watch))
    if items:
        put(Kind.K8S_ITEM, *items)
    if listed:
        put(Kind.CHECKPOINT, msgspec.json.encode(listing))
    return FoldedStream(name, state, entry=observed, observed=observed)


def names(selection: Selection) -> set[str]:
    return {"/".join(part for part in key if part) for key in selection.objects.by_key}


def test_kinds_and_namespaces_narrow() -> None:
    """Kinds by plural or full name; namespaces leave out cluster-scoped objects; definitions follow what is restored."""
    folds = [
        fold(RUNS, "a/r1", "b/r2"),
        fold(TOOLS, "a/t1"),
        fold(ZONES, "z"),
        fold(DEFINED, "runs.g.io", "tools.g.io", "zones.g.io", "unused.g.io"),
    ]
    everything = {"runs.g.io/a/r1", "runs.g.io/b/r2", "tools.g.io/a/t1", "zones.g.io/z"}
    defined = {f"{DEFINITIONS}/{name}" for name in ("runs.g.io", "tools.g.io", "zones.g.io", "unused.g.io")}
    assert names(select(folds, RestoreScope())) == everything | defined
    runs = {"runs.g.io/a/r1", "runs.g.io/b/r2", f"{DEFINITIONS}/runs.g.io"}
    assert names(select(folds, RestoreScope(frozenset({"runs"})))) == names(select(folds, RestoreScope(frozenset({"runs.g.io"})))) == runs
    found = select(folds, RestoreScope(namespaces=frozenset({"a"})))
    assert names(found) == {"runs.g.io/a/r1", "tools.g.io/a/t1", f"{DEFINITIONS}/runs.g.io", f"{DEFINITIONS}/tools.g.io"}
    assert found.notes == []
    assert names(select(folds, RestoreScope(frozenset({"customresourcedefinitions"})))) == defined
    with pytest.raises(Invalid, match="no kind 'nope'"):
        select(folds, RestoreScope(frozenset({"nope"})))


def test_of_overlapping_streams_the_newest_counts() -> None:
    """After the settings went from all namespaces to one, the old stream stands still: what the new one covers is not taken from it, so that
    what was deleted since does not come back; what only the old one covers is, with a note.
    """
    folds = [fold(RUNS, "a/gone", "b/old", observed=10), fold(RUNS, "a/new", observed=400_000_000, scope="a")]
    found = select(folds, RestoreScope())
    assert names(found) == {"runs.g.io/a/new", "runs.g.io/b/old"}
    assert found.notes == ["kube/g.io/runs: nothing was received after 1970-01-01T00:00:00.000010Z"]
    assert found.clusters == ["ca=c uid=a", "ca=c uid="]
    back = [fold(RUNS, "a/new", "b/new", observed=20), fold(RUNS, "a/gone", observed=10, scope="a")]
    assert names(select(back, RestoreScope())) == {"runs.g.io/a/new", "runs.g.io/b/new"}


def test_gaps_count_only_where_they_matter() -> None:
    """A stream that is not restored may be as incomplete as it likes; one that is says so."""
    broken = fold(TOOLS, "a/t1", listed=False)
    broken.gaps = ["no complete list by then"]
    folds = [fold(RUNS, "a/r1"), broken]
    assert select(folds, RestoreScope()).gaps == ["kube/g.io/tools: no complete list by then"]
    assert select(folds, RestoreScope(frozenset({"runs"}))).gaps == []
    elsewhere = fold(TOOLS, "b/t1", scope="b")
    elsewhere.gaps = ["something"]
    assert select([fold(RUNS, "a/r1"), elsewhere], RestoreScope(namespaces=frozenset({"a"}))).gaps == []


def test_objects_by_name_and_by_labels() -> None:
    """By plural or full name, of all that else was named; definitions follow; a stream that holds none of them may be incomplete."""
    folds = [fold(RUNS, "a/r1", "a/r2", "b/r1"), fold(TOOLS, "a/r1"), fold(ZONES, "r1"), fold(DEFINED, "runs.g.io", "zones.g.io")]
    folds[1].gaps = ["something"]

    def found(*objects: tuple[str, str, str], spaces: frozenset[str] = frozenset()) -> set[str]:
        selection = select(folds, RestoreScope(namespaces=spaces, objects=frozenset(objects)))
        assert selection.gaps == []
        return names(selection)

    one, defined = "runs.g.io/a/r1", f"{DEFINITIONS}/runs.g.io"
    assert found(("runs", "a", "r1")) == found(("runs.g.io", "a", "r1")) == {one, defined}
    assert found(("runs", "a", "r1"), ("zones", "", "r1")) == {one, defined, "zones.g.io/r1", f"{DEFINITIONS}/zones.g.io"}
    assert found((DEFINITIONS, "", "zones.g.io")) == {f"{DEFINITIONS}/zones.g.io"}
    with pytest.raises(Invalid, match="no object runs/b/r1 is known at that point that fits"):
        found(("runs", "b", "r1"), spaces=frozenset({"a"}))
    with pytest.raises(Invalid, match="no object runs/r1 is known"):
        found(("runs", "", "r1"))


def labelled(stream: FoldedStream, **labels: str) -> FoldedStream:
    """``stream`` after its first object got ``labels``."""
    (namespace, name), seen = next(iter(stream.state.objects.items()))
    body = json.loads(seen.body)
    body["metadata"] |= {"labels": labels, "resourceVersion": "6"}
    event = json.dumps({"type": "MODIFIED", "object": body}).encode()
    stream.state.apply(Placed(2, 0, 2, 1, Run.of(stream.name, Kind.K8S_EVENT, (event,), observed=11)))
    assert (namespace, name) in stream.state.objects
    return stream


def test_labels_are_those_of_the_point() -> None:
    """A selector is met by what the objects had then; one that nothing meets is refused."""
    folds = [labelled(fold(RUNS, "a/r1", "a/r2"), team="x"), fold(TOOLS, "a/t1"), fold(DEFINED, "runs.g.io", "tools.g.io")]
    assert names(select(folds, RestoreScope(labels=LabelSelector.parse("team=x")))) == {"runs.g.io/a/r1", f"{DEFINITIONS}/runs.g.io"}
    others = select(folds, RestoreScope(frozenset({"runs", "tools"}), labels=LabelSelector.parse("!team")))
    assert names(others) >= {"runs.g.io/a/r2", "tools.g.io/a/t1"}
    assert "runs.g.io/a/r1" not in names(others)
    with pytest.raises(Invalid, match="no object at that point fits"):
        select(folds, RestoreScope(labels=LabelSelector.parse("team=y")))
    with pytest.raises(Invalid, match="nothing in namespace 'a' is known at that point that fits"):
        select(folds, RestoreScope(namespaces=frozenset({"a"}), labels=LabelSelector.parse("team=y")))


def test_what_a_scope_names_and_nothing_fits_is_refused() -> None:
    """A misspelt namespace, and a kind without objects; inside a gap nobody can tell, and it is one more gap."""
    folds = [fold(RUNS, "agents/r1"), fold(TOOLS)]
    with pytest.raises(Invalid, match="nothing in namespace 'agent' is known") as refused:
        select(folds, RestoreScope(namespaces=frozenset({"agents", "agent"})))
    assert "did you mean agents?" in refused.value.hint
    with pytest.raises(Invalid, match="no object at that point fits"):
        select(folds, RestoreScope(frozenset({"tools"})))
    folds[1].gaps = ["no complete list by then"]
    gaps = select(folds, RestoreScope(namespaces=frozenset({"agent"}))).gaps
    assert gaps == [
        "kube/g.io/tools: no complete list by then",
        "nothing in namespace 'agent' is known at that point that fits what was asked for",
    ]


def test_a_namespace_into_another_one() -> None:
    """Its objects alone are meant, and stand in the new one, with everything else as it was."""
    folds = [fold(RUNS, "a/r1", "b/r1"), fold(ZONES, "z"), fold(DEFINED, "runs.g.io", "zones.g.io")]
    found = select(folds, RestoreScope(moves={"a": "c"}))
    assert names(found) == {"runs.g.io/c/r1", f"{DEFINITIONS}/runs.g.io"}
    assert found.objects.by_key["runs.g.io", "c", "r1"]["metadata"]["namespace"] == "c"
    both = select(folds, RestoreScope(namespaces=frozenset({"a", "b"}), moves={"a": "c"}))
    assert names(both) == {"runs.g.io/c/r1", "runs.g.io/b/r1", f"{DEFINITIONS}/runs.g.io"}
