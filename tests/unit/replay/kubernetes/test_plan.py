"""Plans: order by ownership, what is there already, what cannot be resolved."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.kubernetes.records import Resource
from archiver.kubernetes.redaction_mark import APPLIED, APPLIED_PATH, REDACTED
from archiver.replay.kubernetes.manifests import Manifest, desired, differing, with_applied
from archiver.replay.kubernetes.owners import owner_uids
from archiver.replay.kubernetes.plan import make_plan
from archiver.replay.kubernetes.selection import DEFINITIONS, Key
from tests.unit.replay.kubernetes.objects import RUNS, forests, manifest, reachable, selection


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
        assert all(owner in uids.values() for owner in owner_uids(body))
        assert len(owner_uids(body)) + len(lost) == len(owner_uids(captured))
        above = owned[action.name]
        circle = any(action.name == owner or action.name in reachable(owned, owner) for owner in above)
        if lost and not circle:
            assert f"{RUNS} n/{action.name}" in announced
        uids[f"uid-{action.name}"] = f"new-{action.name}"
    assert len(plan.actions) == len(owned)


def test_what_the_target_holds_stays_is_refused_or_replaced() -> None:
    """An object that exists stays as it is, and the plan says in what it is another one; ``strict`` refuses it, ``overwrite`` replaces it.
    One that is being deleted there is refused always.
    """
    chosen = selection(manifest("a"), manifest("b"), manifest("c"), manifest("d"))
    dying, other = manifest("b"), manifest("d")
    dying["metadata"]["deletionTimestamp"] = "now"
    other["spec"] = {"more": 1}
    live = {(RUNS, "n", "a"): manifest("a"), (RUNS, "n", "b"): dying, (RUNS, "n", "d"): other}
    plan, _ = make_plan("kube", chosen, live)
    assert plan.refusals == [f"{RUNS} n/b is being deleted in the target"]
    assert [(action.name, action.why) for action in plan.actions if action.do == "skip"] == [
        ("a", "stays as the target has it"),
        ("d", "stays as the target has it, and differs in spec"),
    ]
    plan, _ = make_plan("kube", chosen, live, strict=True)
    exists = "exists in the target; --overwrite replaces it, without --strict it stays as it is"
    assert plan.refusals == [f"{RUNS} n/a {exists}", f"{RUNS} n/b is being deleted in the target", f"{RUNS} n/d {exists}"]
    plan, _ = make_plan("kube", chosen, live, overwrite=True)
    assert plan.refusals == [f"{RUNS} n/b is being deleted in the target"]
    assert plan.counts() == {"replace": 3, "create": 1}
    plan, _ = make_plan("kube", chosen, live, mode="merge")
    assert plan.counts() == {"merge": 3, "create": 1}
    assert plan.namespaces == ["n"]


def test_without_the_copy_of_kubectl_apply_alone_an_object_is_whole() -> None:
    """Every object that it wrote is captured without, once its kind is redacted: what lives is replaced, and keeps the copy it has."""
    captured, lacking, there = manifest("a", spec={"x": 1}), manifest("b"), manifest("a", spec={"x": 2})
    captured["metadata"][REDACTED] = [APPLIED_PATH]
    lacking["metadata"][REDACTED] = [APPLIED_PATH, "spec.token"]
    there["metadata"]["annotations"] = {APPLIED: "{}"}
    live = {(RUNS, "n", "a"): there, (RUNS, "n", "b"): manifest("b")}
    for mode, does in (("exact", "replace"), ("merge", "merge")):
        plan, _ = make_plan("kube", selection(captured, lacking), live, mode=mode)  # type: ignore[arg-type]
        assert [(action.do, action.name) for action in plan.actions] == [(does, "a"), ("skip", "b")]
        assert "stays as the target has it" in plan.actions[0].why
        assert plan.actions[1].why.endswith("(spec.token)")
        assert any(APPLIED_PATH in note for note in plan.notes)
    wanted, _ = desired(captured, {})
    assert with_applied(wanted, captured, there)["metadata"]["annotations"] == {APPLIED: "{}"}
    assert with_applied(wanted, manifest("a"), there) is wanted
    same = manifest("a", spec={"x": 1})
    same["metadata"]["annotations"] = {APPLIED: "{}"}
    assert differing(captured, same, {}) == []
    assert differing(manifest("a", spec={"x": 1}), same, {}) == ["metadata.annotations"]
    assert differing(captured, there, {}) == ["spec.x"]


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
