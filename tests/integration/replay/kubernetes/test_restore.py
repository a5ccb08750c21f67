"""A capture restored into other API servers: whole, by point, by scope, over what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from archiver.errors import Invalid, Refused
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.selection import RestoreScope
from tests.servers.agents_world import differences, snapshot, wait_for_collector
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definitions, path
from tests.servers.kubernetes_restore import Captured, api, capture_world

Start = Callable[..., ControlPlane]


@pytest.fixture(scope="module")
def captured(cluster: ControlPlane) -> Captured:
    return capture_world(cluster)


async def test_everything_comes_back_into_an_empty_cluster(captured: Captured, start_cluster: Start) -> None:
    """By time, into a bare API server: definitions, namespaces, objects, statuses and owners exactly as they were, and the garbage collector
    takes none of it.
    """
    target = await asyncio.to_thread(start_cluster)
    space, special = captured.spaces
    prepared, report = await captured.restore(target)
    assert prepared.plan.gaps == []
    assert (report.failures, report.differences) == ([], [])
    assert differences(captured.wanted, snapshot(target, space)) == []
    there = {name: uid for name, uid in report.uids.items() if name in {item["metadata"]["uid"] for item in captured.wanted.values()}}
    listed = {key: item["metadata"]["uid"] for key, item in snapshot(target, space).items()}
    assert there == {item["metadata"]["uid"]: listed[key] for key, item in captured.wanted.items()}
    for place, item in captured.special.items():
        if "dying" not in place:
            restored = target.request("GET", place)
            assert [restored.get(part) for part in ("spec", "status")] == [item.get(part) for part in ("spec", "status")]
    # A child whose owner was being deleted loses the reference, and says so.
    orphans = [each for each in report.orphans if f" {special}/" in each]
    assert orphans == [f"toolruns.tools.proompteng.ai {special}/child: AgentRun/dying"]
    assert report.orphans == prepared.plan.orphans
    skipped = [(action.why, action.name) for action in prepared.plan.actions if action.do == "skip" and action.namespace == special]
    assert skipped == [("was being deleted", "dying")]
    assert target.request("GET", path("AgentRun", special))["items"] == []
    target._controllers = True
    target._start_manager()
    await asyncio.to_thread(wait_for_collector, target, space)
    assert differences(captured.wanted, snapshot(target, space)) == []


async def test_an_entry_is_the_same_point_and_a_warm_collector_takes_nothing(captured: Captured, start_cluster: Start) -> None:
    """By entry number, while the garbage collector already watches these kinds: the same objects, and no definition is touched."""
    target = await asyncio.to_thread(start_cluster, controllers=True, definitions=definitions())
    space = captured.spaces[0]
    target.request("POST", "/api/v1/namespaces", {"metadata": {"name": space}})
    await asyncio.to_thread(wait_for_collector, target, space)
    prepared, report = await captured.restore(target, captured.world, cut=Cut(seq=captured.entry))
    assert (report.failures, report.differences, report.orphans) == ([], [], [])
    assert differences(captured.wanted, snapshot(target, space)) == []
    assert {action.why for action in prepared.plan.actions if action.do == "skip"} == {"the target has it already"}
    await asyncio.to_thread(wait_for_collector, target, space)
    assert differences(captured.wanted, snapshot(target, space)) == []


async def test_only_what_was_named(captured: Captured, start_cluster: Start) -> None:
    """Kinds and namespaces narrow a restore, definitions included; owners that stay behind are reported; unknown kinds are refused."""
    target = await asyncio.to_thread(start_cluster)
    space = captured.spaces[0]
    scope = RestoreScope(frozenset({"agents", "toolruns.tools.proompteng.ai"}), frozenset({space}))
    _prepared, report = await captured.restore(target, scope)
    wanted = {key: item for key, item in captured.wanted.items() if key[0] in {"Agent", "ToolRun"}}
    owned = [key for key, item in wanted.items() if "ownerReferences" in item["metadata"]]
    assert report.created == len(wanted) + 2
    assert len(report.orphans) == len(owned) > 0
    there = snapshot(target, space, ("Agent", "ToolRun"))
    assert there.keys() == wanted.keys()
    served = target.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"]
    assert {item["spec"]["names"]["kind"] for item in served} == {"Agent", "ToolRun"}
    async with api(target) as server:
        with pytest.raises(Invalid, match="no kind 'nothings'"):
            await captured.plan(server, RestoreScope(frozenset({"nothings"})))


async def test_objects_that_exist_stay_are_refused_or_replaced(captured: Captured, start_cluster: Start) -> None:
    """What the target holds stays, and what is missing comes; strict, it is named and refused; with overwrite it becomes what was captured:
    nothing that was added stays.
    """
    target = await asyncio.to_thread(start_cluster, definitions=definitions())
    space = captured.spaces[0]
    await captured.restore(target, captured.world)
    others = [key for key in captured.wanted if key[0] in {"AgentRun", "Agent"}]
    for kind, namespace, name in others:
        changed = {"metadata": {"labels": {"added": "1"}, "annotations": {"added": "1"}, "finalizers": ["a.b/c"]}}
        target.request("PATCH", path(kind, namespace, name), changed, content_type="application/merge-patch+json")
        status = {"status": {"phase": "Other", "specHash": "added"}}
        target.request("PATCH", path(kind, namespace, name, status=True), status, content_type="application/merge-patch+json")
    target.request("POST", path("Tool", space), custom_resource("Tool", space, "not-captured"))
    with pytest.raises(Refused, match=f"exists in the target; --overwrite replaces it, .*, and {len(captured.wanted) - 1} more"):
        await captured.restore(target, captured.world, strict=True)
    gone = next(key for key in captured.wanted if key[0] == "Artifact")
    target.request("DELETE", path(*gone))
    _, report = await captured.restore(target, captured.world)
    assert (report.created, report.replaced, report.failures, report.differences) == (1, 0, [], [])
    assert len(report.kept) == len(others)
    assert len(differences(captured.wanted, snapshot(target, space))) >= 3 * len(others)
    _, report = await captured.restore(target, captured.world, overwrite=True)
    assert (report.created, report.replaced) == (0, len(captured.wanted))
    assert (report.failures, report.differences, report.orphans) == ([], [], [])
    assert differences(captured.wanted, snapshot(target, space)) == []
    assert target.request("GET", path("Tool", space, "not-captured"))


async def test_the_captured_cluster_is_refused_as_a_target(captured: Captured) -> None:
    """By the UID of kube-system where it can be read, by the certificate authority where it cannot; and taken when that is meant."""
    plane, space = captured.plane, captured.spaces[0]
    role = {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}], "metadata": {"name": "all"}}
    plane.request("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space}/roles", role)
    plane.request("POST", f"/api/v1/namespaces/{space}/serviceaccounts", {"metadata": {"name": "user"}})
    binding = {
        "metadata": {"name": "all"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "all"},
        "subjects": [{"kind": "ServiceAccount", "name": "user", "namespace": space}],
    }
    plane.request("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space}/rolebindings", binding)
    namespaced = plane.kubeconfig_for(plane.service_account_token(space, "user"))
    scope = RestoreScope(frozenset({"agentruns", "agents"}), frozenset({space}))
    for user, why in ((plane.kubeconfig, "captured cluster itself"), (namespaced, "certificate authority, and may be it")):
        with pytest.raises(Refused, match=why):
            await captured.restore(user, scope, overwrite=True)
    # The disaster deleted the runs; what else there is has changed since.
    prepared, report = await captured.restore(namespaced, scope, overwrite=True, into_source=True)
    assert prepared.plan.counts()["create"] == sum(key[0] == "AgentRun" for key in captured.wanted)
    assert report.failures == []
    kinds = ("AgentRun", "Agent")
    there = snapshot(plane, space, kinds)
    wanted = {key: item for key, item in captured.wanted.items() if key[0] in kinds}
    assert differences(wanted, {key: item for key, item in there.items() if key in wanted}) == []


async def test_nothing_is_done_in_a_namespace_that_is_being_deleted(captured: Captured, start_cluster: Start) -> None:
    """A namespace that is on its way out would take the restored objects with it."""
    target = await asyncio.to_thread(start_cluster, definitions=definitions())
    space = captured.spaces[0]
    target.request("POST", "/api/v1/namespaces", {"metadata": {"name": space}})
    # Without the namespace controller it stays in that state.
    target.request("DELETE", f"/api/v1/namespaces/{space}")
    with pytest.raises(Refused, match=f"namespace {space} is being deleted"):
        await captured.restore(target, captured.world)
