"""Plans: order by ownership, what is there already, what cannot be resolved."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.kubernetes.records import Resource
from archiver.replay.kubernetes.manifests import Manifest, desired, differing, owners
from archiver.replay.kubernetes.plan import levels, make_plan
from archiver.replay.kubernetes.selection import DEFINITIONS, Key, Objects, Selection

RUNS = "runs.g.io"


def manifest(name: str, *owned_by: str, **parts: Any) -> Manifest:
    references = [{"apiVersion": "g.io/v1", "kind": "Run", "name": uid, "uid": f"uid-{uid}"} for uid in owned_by]
    metadata = {"name": name, "namespace": "n", "uid": f"uid-{name}", "resourceVersion": "7", "ownerReferences": references}
    return {"apiVersion": "g.io/v1", "kind": "Run", "metadata": metadata, **parts}


def selection(*objects: Manifest) -> Selection:
    by_key: dict[Key, Manifest] = {(RUNS, "n", each["metadata"]["name"]): each for each in objects}
    resources = {RUNS: Resource("g.io", "v1", "runs", "Run", True)}
    return Selection(Objects(by_key), resources, ["ca=a uid=u"], ["https://x"], 9, 9, [])


forests = st.dictionaries(st.integers(0, 30), st.lists(st.integers(0, 40), max_size=3), max_size=25).map(
    lambda found: {str(one): [str(each) for each in above] for one, above in found.items()}
)


def reachable(owned: dict[str, list[str]], start: str) -> set[str]:
    """Everything above ``start``."""
    seen: set[str] = set()
    waiting = list(owned.get(start, []))
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            waiting += owned.get(one, [])
    return seen


@given(forests)
@settings(max_examples=400, deadline=None)
def test_owners_stand_above_what_they_own(owned: dict[str, list[str]]) -> None:
    """In any graph of owners every owner has a smaller level than what it owns, unless the two own each other in a circle."""
    depth = levels(owned)
    assert depth.keys() == owned.keys()
    for one, above in owned.items():
        inside = [owner for owner in above if owner in owned]
        assert depth[one] > 0 or not [owner for owner in inside if one not in reachable(owned, owner)]
        for owner in inside:
            if one != owner and one not in reachable(owned, owner):
                assert depth[owner] < depth[one]


def test_a_long_chain_is_no_deep_recursion() -> None:
    """Ten thousand objects, each owned by the one before."""
    owned = {str(number): [str(number - 1)] for number in range(10_000)}
    assert levels(owned)["9999"] == 9999


@given(forests, st.sets(st.integers(0, 40).map(str)))
@settings(max_examples=300, deadline=None)
def test_objects_created_in_the_plans_order_find_their_owners(owned: dict[str, list[str]], living: set[str]) -> None:
    """Carried out in order, each reference is to an owner that exists by then under its new UID, or is left out; it is left out only when the
    plan said so or ownership is a circle.
    """
    chosen = selection(*(manifest(name, *above) for name, above in owned.items()))
    outside = {f"uid-{name}": f"uid-{name}" for name in living - owned.keys()}
    plan, objects = make_plan("kube", chosen, {}, owners=outside)
    uids = dict(outside)
    announced = {line.partition(":")[0] for line in plan.orphans}
    for action in plan.actions:
        captured = objects.by_key[action.key]
        body, lost = desired(captured, uids)
        assert all(owner in uids.values() for owner in owners(body))
        assert len(owners(body)) + len(lost) == len(owners(captured))
        above = owned[action.name]
        circle = any(action.name == owner or action.name in reachable(owned, owner) for owner in above)
        if lost and not circle:
            assert f"{RUNS} n/{action.name}" in announced
        uids[f"uid-{action.name}"] = f"new-{action.name}"
    assert len(plan.actions) == len(owned)


leaves = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=3))
documents = st.recursive(
    leaves, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)), max_leaves=8
)
specs = st.dictionaries(st.text(max_size=3), documents, max_size=4)


@given(specs, specs, st.sampled_from(["spec", "status", "data"]))
@settings(max_examples=300, deadline=None)
def test_any_difference_is_found(one: dict[str, Any], other: dict[str, Any], part: str) -> None:
    """Two objects differ in a part exactly when it is reported; names and contents of parts do not matter."""
    found = differing(manifest("a", **{part: one}), manifest("a", **{part: other}), {})
    assert bool(found) == (json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))
    assert all(path.startswith(part) for path in found)


@given(st.sampled_from(["labels", "annotations", "finalizers", "name", "ownerReferences"]), st.booleans())
def test_differences_of_metadata_are_found(field: str, gone: bool) -> None:
    """Labels, annotations, finalizers and owners count; uid, resourceVersion and what else the server sets does not."""
    captured = manifest("a", "b", spec={})
    captured["metadata"] |= {"labels": {"a": "1"}, "annotations": {"a": "1"}, "finalizers": ["x/y"]}
    live = manifest("a", spec={})
    same = {key: value for key, value in captured["metadata"].items() if key not in {"uid", "ownerReferences"}}
    live["metadata"] = {**same, "uid": "other", "resourceVersion": "99", "generation": 4, "creationTimestamp": "now", "managedFields": [{}]}
    live["metadata"]["ownerReferences"] = [{**captured["metadata"]["ownerReferences"][0], "uid": "new-b"}]
    uids = {"uid-b": "new-b"}
    assert differing(captured, live, uids) == []
    changed: dict[str, Any] = {
        "labels": {"a": "2"},
        "annotations": {"a": "1", "b": "2"},
        "finalizers": ["x/z"],
        "name": "other",
        "ownerReferences": [{**captured["metadata"]["ownerReferences"][0], "uid": "another"}],
    }
    if gone and field != "name":
        del live["metadata"][field]
    else:
        live["metadata"][field] = changed[field]
    assert differing(captured, live, uids) == [f"metadata.{field}"]


def test_what_the_target_holds_is_refused_or_replaced() -> None:
    """An object that exists is a refusal without ``overwrite``; one that is being deleted there always is."""
    chosen = selection(manifest("a"), manifest("b"), manifest("c"))
    dying = manifest("b")
    dying["metadata"]["deletionTimestamp"] = "now"
    live = {(RUNS, "n", "a"): manifest("a"), (RUNS, "n", "b"): dying}
    plan, _ = make_plan("kube", chosen, live)
    assert plan.refusals == [f"{RUNS} n/a exists in the target; --overwrite replaces it", f"{RUNS} n/b is being deleted in the target"]
    plan, _ = make_plan("kube", chosen, live, overwrite=True)
    assert plan.refusals == [f"{RUNS} n/b is being deleted in the target"]
    assert plan.counts() == {"replace": 2, "create": 1}
    assert plan.namespaces == ["n"]


def test_definitions_come_first_and_are_never_replaced() -> None:
    """A definition that is there is left alone, with or without ``overwrite``; when it is another one, the plan says so."""
    chosen = selection(manifest("a"))
    chosen.resources[DEFINITIONS] = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
    names = ("runs.g.io", "others.g.io", "new.g.io")
    for name in names:
        body = {"metadata": {"name": name, "uid": name}, "spec": {"group": "g.io"}, "status": {"conditions": []}}
        chosen.objects.by_key[DEFINITIONS, "", name] = body
    live: dict[Key, Manifest] = {(DEFINITIONS, "", "runs.g.io"): {"metadata": {"name": "runs.g.io", "uid": "x"}, "spec": {"group": "g.io"}}}
    live[DEFINITIONS, "", "others.g.io"] = {"metadata": {"name": "others.g.io", "uid": "y"}, "spec": {"group": "g.io", "names": {}}}
    plan, _ = make_plan("kube", chosen, live, overwrite=True)
    assert [(action.do, action.name) for action in plan.actions] == [
        ("create", "new.g.io"),
        ("create", "a"),
        ("skip", "runs.g.io"),
        ("skip", "others.g.io"),
    ]
    assert plan.notes == [f"{DEFINITIONS} others.g.io is another one in the target: what its schema does not know is not restored"]
    assert plan.refusals == []
