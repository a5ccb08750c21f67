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
    found = select(folds, RestoreScope(namespaces=frozenset({"a", "c"})))
    assert names(found) == {"runs.g.io/a/r1", "tools.g.io/a/t1", f"{DEFINITIONS}/runs.g.io", f"{DEFINITIONS}/tools.g.io"}
    assert found.notes == ["namespace c: nothing to restore"]
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
