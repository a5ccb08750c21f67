"""Restores into a cluster that lives: controllers that would act again, and what the server says of each object before anything is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from archiver.clock import SystemClock
from archiver.errors import Refused
from archiver.journal.reader import Reader
from archiver.replay.kubernetes.plan import Mode
from archiver.replay.kubernetes.plan_file import PlanFile
from archiver.replay.kubernetes.restore import ClusterRestoration, plan_objects
from archiver.replay.kubernetes.selection import RestoreScope
from archiver.replay.restoration import Options
from archiver.replay.targets import Target
from tests.servers.agents_world import differences, snapshot
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definitions, path
from tests.servers.elector import Elector
from tests.servers.kubernetes_restore import Captured, api, capture_world

Start = Callable[..., ControlPlane]
RUNS = "agentruns.agents.proompteng.ai"


@pytest.fixture(scope="module")
def captured(cluster: ControlPlane) -> Captured:
    return capture_world(cluster)


def policy(name: str, resource: tuple[str, str], expression: str, message: str) -> list[dict[str, Any]]:
    """An admission policy of the target, and its binding."""
    group, plural = resource
    rules = [{"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE"], "resources": [plural]}]
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": expression, "message": message}],
    }
    binding = {"policyName": name, "validationActions": ["Deny"]}
    return [
        head | {"kind": "ValidatingAdmissionPolicy", "spec": spec},
        head | {"kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    ]


async def test_controllers_that_live_are_told_and_what_has_a_status_is_refused_without_a_word(
    captured: Captured, start_cluster: Start
) -> None:
    """A Lease that somebody renews refuses a restore of statuses; holding it or saying so permits it; one that was given back does not."""
    target = await asyncio.to_thread(start_cluster, definitions=definitions())
    space = captured.spaces[0]
    target.request("POST", "/api/v1/namespaces", {"metadata": {"name": "elsewhere"}})
    with Elector(target, "elsewhere", "leader", "a") as elector:
        while not elector.leads:
            await asyncio.sleep(0.05)
        with pytest.raises(Refused, match=r"leases elsewhere/leader\).*--hold-lease .* or --allow-controllers"):
            await captured.restore(target, captured.world)
        assert snapshot(target, space) == {}
        async with api(target) as server:
            held = await captured.plan(server, captured.world, leases=("elsewhere/leader",))
            assert held.plan.refusals == []
            plain = {(kind, name) for (kind, _, name), item in captured.wanted.items() if not item.get("status")}
            names = {name: each.kind for name, each in held.plan.resources.items()}
            chosen = {action.key for action in held.plan.actions if (names[action.resource], action.name) in plain}
            assert chosen
            plan = (await captured.plan(server, RestoreScope(objects=frozenset(chosen)))).plan
            assert plan.refusals == [], "nothing there has a status"
        prepared, report = await captured.restore(target, captured.world, allow_controllers=True)
        assert [note for note in prepared.plan.notes if "controllers live in the target" in note]
        assert (report.failures, report.differences) == ([], [])
        assert differences(captured.wanted, snapshot(target, space)) == []
    lease = target.request("GET", "/apis/coordination.k8s.io/v1/namespaces/elsewhere/leases/leader")
    lease["spec"]["holderIdentity"] = ""
    target.request("PUT", "/apis/coordination.k8s.io/v1/namespaces/elsewhere/leases/leader", lease)
    async with api(target) as server:
        assert (await captured.plan(server, captured.world, overwrite=True)).plan.refusals == []


async def test_a_namespace_comes_back_beside_the_living_one(captured: Captured) -> None:
    """In the captured cluster itself, under another name: owners inside of it are the copies, nothing that lives is touched, and an owner
    that stays behind owns no copy.
    """
    plane, space = captured.plane, captured.spaces[0]
    living, beside = snapshot(plane, space), f"{space}-beside"
    _, report = await captured.restore(plane, RestoreScope(moves={space: beside}), into_source=True, allow_controllers=True)
    assert (report.failures, report.differences, report.orphans) == ([], [], [])
    assert snapshot(plane, space) == living
    copies = snapshot(plane, beside)
    moved = {
        (kind, beside, name): {**item, "metadata": {**item["metadata"], "namespace": beside}}
        for (kind, _, name), item in captured.wanted.items()
    }
    assert differences(moved, copies) == []
    uids = {item["metadata"]["uid"] for item in copies.values()}
    owners = [each["uid"] for item in copies.values() for each in item["metadata"].get("ownerReferences", [])]
    assert owners
    assert set(owners) <= uids
    owned = next(key for key, item in captured.wanted.items() if item["metadata"].get("ownerReferences"))
    resource = next(name for name, each in (await captured.plan(None)).plan.resources.items() if each.kind == owned[0])
    one = RestoreScope(objects=frozenset({(resource, *owned[1:])}), moves={space: f"{space}-alone"})
    prepared, report = await captured.restore(plane, one, into_source=True, allow_controllers=True)
    assert (report.created, report.failures, report.differences) == (1, [], [])
    assert [note for note in prepared.plan.notes if f"owners that stay in {space} are left out" in note]
    ((key, alone),) = snapshot(plane, f"{space}-alone").items()
    assert (key[0], key[2], alone["metadata"].get("ownerReferences")) == (owned[0], owned[2], None)


async def test_the_server_is_asked_about_each_object_and_says_what_the_restore_would_meet(captured: Captured, start_cluster: Start) -> None:
    """Schemas, admission policies and quotas of the target: the dry run names exactly what the restore then fails to create, with the words
    of the server, and leaves nothing behind. Of what it would take, fields that its schemas do not know are named.
    """
    changed = definitions()
    for each in changed:
        if each["spec"]["names"]["kind"] == "AgentRun":
            del each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["parameters"]
        if each["spec"]["names"]["kind"] == "ToolRun":
            each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["required"] = ["retries"]
    target = await asyncio.to_thread(start_cluster, definitions=changed)
    space = captured.spaces[0]
    target.apply(*policy("no-agents", ("agents.proompteng.ai", "agents"), "object.metadata.name == ''", "agents are made by their team"))
    target.request("POST", "/api/v1/namespaces", {"metadata": {"name": space}})
    runs = [key for key in captured.wanted if key[0] == "AgentRun"]
    quota = {f"count/{RUNS}": str(len(runs) - 1)}
    quotas = f"/api/v1/namespaces/{space}/resourcequotas"
    made = target.request("POST", quotas, {"metadata": {"name": "few"}, "spec": {"hard": quota}})
    target.request("PUT", f"{quotas}/few/status", made | {"status": {"hard": quota, "used": {f"count/{RUNS}": "0"}}})
    await asyncio.sleep(5)  # until the policy is in force
    async with api(target) as server:
        asked = await captured.plan(server, captured.world, ask_target=True)
        assert (await captured.plan(server, captured.world)).plan.would_fail == []
    assert snapshot(target, space) == {}
    told = {action.name for action in asked.plan.actions if action.why == "the target's schema loses spec.parameters"}
    assert told == {name for (kind, _, name), item in captured.wanted.items() if kind == "AgentRun" and "parameters" in item["spec"]}
    _, report = await captured.restore(target, captured.world)
    named = {"AgentRun": "count/agentruns", "Agent": "agents are made by their team", "ToolRun": "spec.retries (FieldValueRequired)"}
    for kind in ("Agent", "ToolRun"):
        of = [key for key in captured.wanted if key[0] == kind]
        for found in (asked.plan.would_fail, report.failures):
            assert sum(named[kind] in line for line in found) == len(of) > 0
    over = f"namespace {space}: {len(runs)} of {RUNS} come, and quota few has room for {len(runs) - 1}"
    assert over in asked.plan.would_fail
    assert [line for line in report.failures if "exceeded quota: few" in line]
    assert len(asked.plan.would_fail) == len(report.failures)


async def test_a_namespace_and_a_kind_that_come_with_the_restore(captured: Captured, start_cluster: Start) -> None:
    """A namespace that may not be made is foreseen, costs its own objects and no others, and the server's words are told. Of kinds whose
    definition comes too nothing can be asked, and the plan says so.
    """
    signals = [each for each in definitions() if each["spec"]["names"]["kind"] == "Signal"]
    target = await asyncio.to_thread(start_cluster, definitions=signals)
    target.apply(*policy("labelled", ("", "namespaces"), "'team' in object.metadata.labels", "namespaces need the label team"))
    denied = f"namespace {captured.spaces[0]}: 422 Invalid: "
    deadline = time.monotonic() + 20
    async with api(target) as server:
        while True:
            asked = await captured.plan(server, captured.world, ask_target=True)
            if asked.plan.would_fail or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.5)
        (line,) = asked.plan.would_fail
        assert line.startswith(denied)
        assert "namespaces need the label team" in line
        assert [line for line in asked.plan.not_asked if "their definition comes with the restore" in line]
    _, report = await captured.restore(target, captured.world)
    assert [line for line in report.failures if line.startswith(denied)]
    assert len(report.failures) == len(captured.wanted) + 1
    assert snapshot(target, captured.spaces[0]) == {}


async def test_a_new_required_field_is_told_of_namespaces_that_come_too(captured: Captured, start_cluster: Start) -> None:
    """Before their namespace is there, objects are asked about in another one."""
    changed = definitions()
    for each in changed:
        if each["spec"]["names"]["kind"] == "ToolRun":
            each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["required"] = ["retries"]
    target = await asyncio.to_thread(start_cluster, definitions=changed)
    async with api(target) as server:
        asked = await captured.plan(server, captured.world, ask_target=True)
    of = [key for key in captured.wanted if key[0] == "ToolRun"]
    assert sum("spec.retries (FieldValueRequired)" in line for line in asked.plan.would_fail) == len(of) == len(asked.plan.would_fail)
    assert target.request("GET", path("ToolRun", "default"))["items"] == []


async def test_a_quota_is_foreseen_although_the_definition_comes_with_the_restore(captured: Captured, start_cluster: Start) -> None:
    """Quotas count kinds that are not served yet."""
    target = await asyncio.to_thread(start_cluster)
    space = captured.spaces[0]
    target.request("POST", "/api/v1/namespaces", {"metadata": {"name": space}})
    quota, quotas = {f"count/{RUNS}": "1"}, f"/api/v1/namespaces/{space}/resourcequotas"
    made = target.request("POST", quotas, {"metadata": {"name": "few"}, "spec": {"hard": quota}})
    target.request("PUT", f"{quotas}/few/status", made | {"status": {"hard": quota, "used": {f"count/{RUNS}": "0"}}})
    async with api(target) as server:
        asked = await captured.plan(server, captured.world, ask_target=True)
    runs = sum(key[0] == "AgentRun" for key in captured.wanted)
    assert asked.plan.would_fail == [f"namespace {space}: {runs} of {RUNS} come, and quota few has room for 1"]


async def test_a_plan_that_does_not_hold_any_more_writes_nothing(captured: Captured, start_cluster: Start) -> None:
    """What changes between the looking at a plan and the writing (leases are waited for there) refuses it by name, whatever else it
    would have done; what it leaves alone may change.
    """
    target = await asyncio.to_thread(start_cluster, definitions=definitions())
    space = captured.spaces[0]
    await captured.restore(target, captured.world)
    gone, changed, *_ = sorted(key for key, item in captured.wanted.items() if key[0] == "Agent" and not item["metadata"].get("finalizers"))
    target.request("DELETE", path(*gone))
    where, archive = Target("kube", "cluster", f"kubeconfig:{target.kubeconfig}"), Reader(captured.store)

    async def plan(options: Options) -> ClusterRestoration:
        return await plan_objects(archive, captured.name, where, captured.cut, options, SystemClock())

    async def meanwhile(mode: Mode, name: str, what: str, change: Callable[[], Any]) -> None:
        chosen = Options(scope=captured.world, mode=mode)
        planned = await plan(chosen)
        file = PlanFile.read(planned.file().write(), "plan")
        again = await plan(msgspec.structs.replace(chosen, planned=file))
        try:
            assert again.refusal is None
            change()
            before = snapshot(target, space)
            with pytest.raises(Refused, match=f"does not hold any more: agents.agents.proompteng.ai {space}/{name}: {what}\n"):
                await again.carry_out(lambda *_: None)
            assert snapshot(target, space) == before
        finally:
            await planned.close()
            await again.close()

    def label() -> None:
        body = {"metadata": {"labels": {"added": "1"}}}
        target.request("PATCH", path(*changed), body, content_type="application/merge-patch+json")

    def make() -> None:
        label()
        target.request("POST", path("Agent", space), custom_resource("Agent", space, gone[2]))

    await meanwhile("exact", changed[2], "was changed in the target since", label)
    await meanwhile("create-missing", gone[2], "is there now, and was not", make)
