"""What a plan says of each object beside what lives."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from archiver.replay.kubernetes.findings import Finding, Total, gitops, lost_fields
from archiver.replay.kubernetes.manifests import Manifest
from archiver.replay.kubernetes.plan import Action, ClusterPlan, Mode, make_plan
from archiver.replay.kubernetes.selection import Key
from tests.unit.replay.kubernetes.objects import RUNS, manifest, selection

HELD = "the target holds it already"


def planned(live: list[Manifest], mode: Mode) -> tuple[ClusterPlan, dict[str, Action]]:
    chosen = selection(
        manifest("same", spec={"a": 1}, status={"p": 1}),
        manifest("status", spec={"a": 1}, status={"p": 1}),
        manifest("other", spec={"a": 1}, status={"p": 1}),
        manifest("new", "same"),
        manifest("lost", "nobody"),
        manifest("half", "same", "nobody"),
    )
    there: dict[Key, Manifest] = {(RUNS, "n", each["metadata"]["name"]): each for each in live}
    plan, _ = make_plan("kube", chosen, there, mode=mode)
    return plan, {action.name: action for action in plan.actions}


def live(name: str, **parts: Any) -> Manifest:
    made = manifest(name, **parts)
    made["metadata"] |= {"uid": f"live-{name}", "resourceVersion": "99"}
    return made


@pytest.mark.parametrize(
    ("mode", "status", "other"),
    [("create-missing", "conflict", "conflict"), ("merge", "status only", "update"), ("exact", "status only", "update")],
)
def test_each_object_is_found_to_be_something(mode: Mode, status: Finding, other: Finding) -> None:
    """By what lives and by the mode; with the reason, and in totals."""
    held = [live("same", spec={"a": 1}, status={"p": 1}), live("status", spec={"a": 1}, status={"p": 2}), live("other", spec={"a": 2})]
    plan, found = planned(held, mode)
    expected = {"same": "unchanged", "status": status, "other": other, "new": "create", "lost": "would be collected", "half": "create"}
    assert {name: action.finding for name, action in found.items()} == expected
    assert found["new"].why == ""
    assert found["lost"].why == "owner missing (Run/nobody): it comes without, or would be collected at once"
    assert found["half"].why == "owner missing (Run/nobody): that reference is left out"
    assert found["status"].why.endswith(", and differs in status.p")
    assert found["other"].why.endswith(", and differs in spec.a, status")
    assert sum(total.objects for total in plan.totals()) == 6
    assert Total(RUNS, "would be collected", 1) in plan.totals()


def test_merging_changes_only_what_was_captured() -> None:
    """A field more in what lives is no change when it is merged, and one when it becomes exactly what was captured."""
    held = [live("same", spec={"a": 1, "more": 1}, status={"p": 1})]
    assert planned(held, "merge")[1]["same"].finding == "unchanged"
    assert planned(held, "exact")[1]["same"].finding == "update"


def test_an_owner_that_is_made_anew_changes_what_it_owns() -> None:
    """What lives without its owner, or under that one's old UID, has to be given the new one."""
    for owned in (live("owned"), manifest("owned", "owner")):
        for mode in get_args(Mode)[1:]:
            chosen = selection(manifest("owner"), manifest("owned", "owner"))
            plan, _ = make_plan("kube", chosen, {(RUNS, "n", "owned"): owned}, mode=mode)
            assert {action.name: action.finding for action in plan.actions} == {"owner": "create", "owned": "update"}


def test_objects_that_argo_cd_manages_are_told_by_its_marks() -> None:
    """Its annotation or label names the application; a field manager alone does not."""
    marked = manifest("a")
    assert gitops(marked) == ""
    marked["metadata"]["managedFields"] = [{"manager": "argocd-controller"}]
    assert gitops(marked) == "Argo CD manages it, and may take this back"
    for mark in (
        {"labels": {"argocd.argoproj.io/instance": "web"}},
        {"annotations": {"argocd.argoproj.io/tracking-id": "web:g.io/Run:n/a"}},
    ):
        marked["metadata"] = {**manifest("a")["metadata"], **mark}
        assert gitops(marked) == "Argo CD manages it (application web), and may take this back"
        chosen = selection(marked)
        assert make_plan("kube", chosen, {})[0].actions[0].why == gitops(marked)
    marked["metadata"] |= {"annotations": None, "labels": msgspec.Raw(b"{}")}
    assert gitops(marked) == ""


def test_fields_that_a_schema_loses() -> None:
    """Paths of what was sent and does not come back, at any depth; nulls and what the server adds or changes are none."""
    sent = {"spec": {"a": 1, "b": {"c": [{"d": 1, "e": 2}]}, "none": None}, "x": 1}
    answered = {"spec": {"a": 2, "b": {"c": [{"d": 1, "default": 1}]}}, "added": 1}
    assert lost_fields(sent, answered) == ["spec.b.c[0].e", "x"]
    assert lost_fields(sent, sent) == []
