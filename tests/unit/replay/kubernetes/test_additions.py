"""What mode ``exact`` deletes, and what it leaves because it may have been there, or is somebody else's."""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec
import pytest

from archiver.clock import from_text
from archiver.errors import Invalid
from archiver.kubernetes.answer import Answer
from archiver.kubernetes.records import Resource
from archiver.replay.kubernetes import deleting
from archiver.replay.kubernetes.additions import add_deletions
from archiver.replay.kubernetes.folded_stream import FoldedStream
from archiver.replay.kubernetes.manifests import Manifest
from archiver.replay.kubernetes.patient_api import PatientApi
from archiver.replay.kubernetes.plan import ClusterPlan, make_plan
from archiver.replay.kubernetes.selection import Key, RestoreScope, select
from archiver.replay.kubernetes.to_cluster import ClusterReport
from tests.unit.replay.kubernetes.test_selection import DEFINED, RUNS, TOOLS, fold

POINT = from_text("2026-11-23T10:00:00.5Z")
LATER = "2026-11-23T10:00:01Z"


def living(*names: str, resource: str = "runs.g.io", made: str = LATER, **metadata: Any) -> dict[Key, Manifest]:
    found: dict[Key, Manifest] = {}
    for each in names:
        space, _, name = each.rpartition("/")
        head = {"name": name, "namespace": space, "uid": f"new-{each}", "resourceVersion": "9", "creationTimestamp": made}
        found[resource, space, name] = {"metadata": {**head, **metadata}}
    return found


def plan(folds: list[FoldedStream], live: dict[Key, Manifest], *, most: int = 9, managed: bool = False, **scope: Any) -> ClusterPlan:
    meant = msgspec.convert(scope, RestoreScope)
    chosen = select(folds, meant, lenient=True)
    made, _ = make_plan("kube", chosen, live, mode="exact")
    add_deletions(made, chosen, meant, live, moment=POINT, most=most, managed=managed)
    return made


def said(made: ClusterPlan) -> dict[str, str]:
    return {action.name: action.finding if action.do == "delete" else action.why for action in made.actions if action.finding != "create"}


def test_only_what_is_certain_not_to_have_been_there_is_deleted() -> None:
    """Each doubt leaves the object, with its reason."""
    sure = [fold(RUNS, "a/r"), fold(TOOLS, "a/t")]
    assert said(plan(sure, living("a/new"), namespaces=["a"])) == {"new": "delete"}
    assert said(plan(sure, living("b/new"), namespaces=["a"])) == {}, "another namespace"
    assert said(plan(sure, living("a/new"), kinds=["tools"])) == {}, "another kind"
    early = said(plan(sure, living("a/new", made="2026-11-23T10:00:00Z"), namespaces=["a"]))
    assert early["new"].startswith("it was made by the point (2026-11-23T10:00:00")
    assert said(plan(sure, living("a/new", made="?"), namespaces=["a"]))["new"].startswith(
        "it was made by the point (its time is not known)"
    )
    dying = said(plan(sure, living("a/new", deletionTimestamp="now"), namespaces=["a"]))
    assert dying == {"new": "was not there at the point, and is being deleted already"}
    narrow = [fold(RUNS, "a/r", scope="a")]
    assert said(plan(narrow, living("b/new"), kinds=["runs"])) == {
        "new": "whether it was there at the point is not known: no complete list had its namespace"
    }
    noted = [fold(RUNS, "a/r")]
    noted[0].notes.append("nobody watched; nothing came late")
    assert said(plan(noted, living("a/new"), kinds=["runs"])) == {"new": "delete"}
    noted[0].state.selected = False
    assert "the settings select it no longer since" in said(plan(noted, living("a/new"), kinds=["runs"]))["new"]
    stale = [fold(RUNS, "a/r"), fold(TOOLS, "a/t", observed=400_000_000)]
    assert said(plan(stale, living("a/new"), namespaces=["a"]))["new"].startswith(
        "whether it was there at the point is not certain: nothing"
    )
    ended = [fold(RUNS, "a/r")]
    ended[0].state.ended = True
    assert "not served then" in said(plan(ended, living("a/new"), kinds=["runs"]))["new"]
    never = [*sure, fold(DEFINED, "runs.g.io")]
    assert said(plan(never, living("new.g.io", resource="customresourcedefinitions.apiextensions.k8s.io"), kinds=["runs"])) == {}
    newest_counts = [fold(RUNS, "a/r", observed=20, scope="a"), fold(RUNS, "a/old", "b/r")]
    newest_counts[1].state.selected = False
    assert said(plan(newest_counts, living("a/new"), kinds=["runs"])) == {"new": "delete"}


def test_a_gap_and_more_than_was_said_refuse_all_of_it() -> None:
    """A gap makes every absence doubtful, whatever gaps are allowed; the number is what the user has seen."""
    holey = [fold(RUNS, "a/r")]
    holey[0].gaps.append("a hole")
    (refused,) = plan(holey, living("a/r", "a/new"), kinds=["runs"]).refusals or [""]
    assert refused == "" or "not certain" in refused
    (refused,) = plan([fold(RUNS, "a/r")], living("a/x", "a/y"), kinds=["runs"], most=1).refusals
    assert refused.startswith("2 objects would be deleted, and --delete 1 allows 1")


def test_what_argo_and_helm_manage_is_left_without_a_word() -> None:
    """By the marks that they put on objects."""
    marked: dict[str, dict[str, Any]] = {
        "Argo-managed": {"annotations": {"argocd.argoproj.io/tracking-id": "app:g/K:n/x"}},
        "Helm-managed": {"labels": {"app.kubernetes.io/managed-by": "Helm"}},
    }
    for word, marks in marked.items():
        live = living("a/new", **marks)
        assert said(plan([fold(RUNS, "a/r")], live, kinds=["runs"]))["new"].startswith(word)
        assert said(plan([fold(RUNS, "a/r")], live, kinds=["runs"], managed=True)) == {"new": "delete"}


def test_a_scope_that_means_something_only_now_is_no_mistake() -> None:
    """A namespace or an object that was not there at the point and lives is what is deleted; one that neither was nor lives is misspelt."""
    folds = [fold(RUNS, "a/r")]
    assert said(plan(folds, living("b/new"), namespaces=["b"])) == {"new": "delete"}
    assert said(plan(folds, living("b/new"), objects=[("runs", "b", "new")])) == {"new": "delete"}
    with pytest.raises(Invalid, match="nothing in namespace 'c'"):
        plan(folds, living("b/new"), namespaces=["b", "c"])
    with pytest.raises(Invalid, match="no object runs/b/nwe is known"):
        plan(folds, living("b/new"), objects=[("runs", "b", "nwe")])


def test_volume_claims_stay_and_say_why() -> None:
    """Their data goes with them, by the reclaim policy of the volume, and no archive has it."""
    claims = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", True)
    live = living("a/new", resource="persistentvolumeclaims")
    assert said(plan([fold(claims, "a/c")], live, namespaces=["a"]))["new"].endswith("its data may go with it, and is in no archive")


def test_owners_go_before_what_they_own() -> None:
    """Whatever their names: what is owned comes back while its owner lives."""
    live = living("a/a", "a/b", "a/c", "a/d")
    for owned, owner in (("a", "c"), ("c", "d")):
        live["runs.g.io", "a", owned]["metadata"]["ownerReferences"] = [{"uid": f"new-a/{owner}", "kind": "Run", "name": owner}]
    deleted = [action for action in plan([fold(RUNS, "a/r")], live, kinds=["runs"]).actions if action.do == "delete"]
    assert [(action.name, action.level) for action in deleted] == [("b", 0), ("d", 0), ("c", 1), ("a", 2)]


class Orphaning:
    """A server that takes a deleted owner out of what it owned, and may have somebody else write to that."""

    def __init__(self, live: dict[Key, Manifest], *, theirs: bool) -> None:
        self.there = {key[2]: json.loads(json.dumps(each)) for key, each in live.items()}
        self.theirs = theirs
        self.asked: list[str] = []

    async def send(self, method: str, place: str, body: Manifest) -> tuple[Answer, bool]:
        name = place.rpartition("/")[2]
        self.asked.append(name)
        metadata = self.there[name]["metadata"]
        if body["preconditions"] != {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}:
            return Answer(409, b"{}", 0.0), False
        del self.there[name]
        for each in self.there.values():
            kept = [one for one in each["metadata"].get("ownerReferences", []) if one["uid"] != metadata["uid"]]
            if kept != each["metadata"].get("ownerReferences", []):
                each["metadata"] |= {"ownerReferences": kept, "resourceVersion": "10"}
                if self.theirs:
                    each["spec"] = {"theirs": True}
        return Answer(200, b"{}", 0.0), False

    async def get(self, place: str) -> Answer:
        return Answer(200, json.dumps(self.there[place.rpartition("/")[2]]).encode(), 0.0)

    def manifest(self, body: bytes) -> Manifest:
        found: Manifest = json.loads(body)
        return found


@pytest.mark.parametrize("theirs", [False, True])
async def test_losing_a_deleted_owner_is_no_write_of_somebody_else(theirs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deletion of what it owned goes on; what somebody wrote to besides stays, as a failure."""
    live = living("a/a", "a/z")
    live["runs.g.io", "a", "a"]["metadata"]["ownerReferences"] = [{"uid": "new-a/z", "kind": "Run", "name": "z"}]
    made = plan([fold(RUNS, "a/r")], live, kinds=["runs"])
    server, report = Orphaning(live, theirs=theirs), ClusterReport()

    async def none(*_: object) -> dict[Key, Manifest]:
        return {}

    monkeypatch.setattr(deleting, "live_objects", none)
    actions = [action for action in made.actions if action.do == "delete"]
    await deleting.delete_objects(cast("PatientApi", server), made, actions, live, report, lambda *_: None)
    assert server.asked == (["z", "a"] if theirs else ["z", "a", "a"])
    assert (report.deleted, len(report.failures), set(server.there)) == ((1, 1, {"a"}) if theirs else (2, 0, set()))
