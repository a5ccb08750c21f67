"""Mode merge gives what server-side apply would: items of others stay in lists that have keys, and fields belong to whom they belonged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from archiver.clock import SystemClock
from archiver.journal.reader import Reader
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.plan_file import PlannedObject, version
from archiver.replay.kubernetes.restore import plan_cluster, restore_to_cluster
from archiver.replay.kubernetes.selection import RestoreScope
from archiver.replay.kubernetes.to_cluster import ClusterReport
from archiver.replay.kubernetes.undo_choice import choose
from archiver.waiting import GrowingPause
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import TEXT, definition
from tests.servers.kubernetes_capture import KubernetesCapture, config_for
from tests.servers.kubernetes_restore import api

TEAM = ("apply", "--server-side", "--field-manager=team", "-f", "-")
GUEST = ("apply", "--server-side", "--field-manager=guest", "--force-conflicts", "-f", "-")
DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/d"
SERVICE = "/api/v1/namespaces/default/services/s"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


def container(name: str, *env: str, image: str = "one") -> dict[str, Any]:
    return {"name": name, "image": image, "env": [{"name": each, "value": "v"} for each in env]}


def deployment(*containers: dict[str, Any], **labels: str) -> dict[str, Any]:
    pods = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": list(containers)}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "d"}}, "template": pods}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "default", "labels": labels},
        "spec": spec,
    }


def service(*ports: dict[str, Any], **selector: str) -> dict[str, Any]:
    metadata = {"name": "s", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": list(ports), "selector": selector}}


def owned(item: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Who owns which fields, but not since when."""
    names = ("manager", "operation", "subresource", "apiVersion", "fieldsV1")
    return sorted((tuple(each.get(name, "") for name in names) for each in item["metadata"]["managedFields"]), key=str)


def as_applied(plane: ControlPlane, place: str, then: dict[str, Any]) -> dict[str, Any]:
    """What server-side apply would make of the object of ``then``."""
    server = ("managedFields", "uid", "resourceVersion", "creationTimestamp", "generation")
    body = {**then, "metadata": {name: value for name, value in then["metadata"].items() if name not in server}}
    query = "fieldManager=trial&force=true&dryRun=All"
    made: dict[str, Any] = plane.request("PATCH", f"{place}?{query}", body, content_type=APPLY)
    return made


async def merge(plane: ControlPlane, capture: KubernetesCapture) -> ClusterReport:
    async with api(plane) as server:
        how: dict[str, Any] = {"mode": "merge", "into_source": True, "allow_controllers": True, "ask_target": True}
        prepared = await plan_cluster(Reader(capture.store), capture.name, Cut(), RestoreScope(), server, SystemClock(), **how)
        assert prepared.plan.refusals == prepared.plan.would_fail == []
        return await restore_to_cluster(server, prepared, SystemClock())


async def captured(plane: ControlPlane, *kinds: str) -> KubernetesCapture:
    capture = KubernetesCapture(config_for(plane, "default", resources=list(kinds)))
    async with capture.running():
        await asyncio.sleep(1)
    return capture


async def test_items_of_others_stay_and_fields_go_back_to_their_owners(start_cluster: Callable[..., ControlPlane]) -> None:
    """Containers, their environment and finalizers of others stay where they were put; what the team had set is as it was, is the team's
    and nobody else's, and nothing is the restore's. The result is that of server-side apply. An undo knows it.
    """
    plane = await asyncio.to_thread(start_cluster)
    plane.kubectl(*TEAM, input=yaml.safe_dump(deployment(container("a", "ONE", "TWO"), container("b"), mine="1")))
    plane.request("PATCH", f"{DEPLOYMENT}?fieldManager=team2", {"metadata": {"finalizers": ["g.io/ours"]}}, content_type=MERGE)
    then = plane.request("GET", DEPLOYMENT)
    capture = await captured(plane, "deployments.apps")
    theirs = deployment(container("a", "MORE", image="other"), container("sidecar"), theirs="2")
    plane.kubectl(*GUEST, input=yaml.safe_dump(theirs))
    plane.kubectl(*TEAM, input=yaml.safe_dump(deployment(container("b"), mine="2")), check=False)
    plane.request("PATCH", f"{DEPLOYMENT}?fieldManager=guest2", {"metadata": {"finalizers": ["g.io/theirs"]}}, content_type=MERGE)
    was = plane.request("GET", DEPLOYMENT)
    trial = as_applied(plane, DEPLOYMENT, then)
    report = await merge(plane, capture)
    assert (report.merged, report.failures, report.differences, report.managers, report.whole) == (1, [], [], [], [])
    there = plane.request("GET", DEPLOYMENT)
    containers = there["spec"]["template"]["spec"]["containers"]
    assert {each["name"]: each["image"] for each in containers} == {"a": "one", "b": "one", "sidecar": "one"}
    assert {each["name"] for each in containers[0]["env"]} == {"ONE", "TWO", "MORE"}
    assert set(there["metadata"]["finalizers"]) == {"g.io/ours", "g.io/theirs"}
    assert there["metadata"]["labels"] == {"mine": "1", "theirs": "2"}
    assert there["spec"] == trial["spec"]
    assert sorted(there["metadata"]["finalizers"]) == sorted(trial["metadata"]["finalizers"])
    team = [entry for entry in owned(then) if entry[0] == "team"]
    assert [entry for entry in owned(there) if entry[0] == "team"] == team
    assert {entry[0] for entry in owned(there)} == {"guest", "guest2", "team", "team2"}
    (entry,) = (entry[-1] for entry in owned(there) if entry[0] == "guest")
    assert "f:image" not in entry["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"a"}']
    key = ("deployments.apps", "default", "d")
    (choice,) = choose([PlannedObject("merge", "", *key, *version(was))], {key: was}, {key: then}, {key: there}, {})
    assert (choice.do, choice.changed) == ("put back", False)
    plane.kubectl(*TEAM, input=yaml.safe_dump(deployment(container("a", "ONE", image="two"), mine="1")))
    containers = plane.request("GET", DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
    assert {each["name"]: each["image"] for each in containers} == {"a": "two", "sidecar": "one"}
    assert {each["name"] for each in containers[0]["env"]} == {"ONE", "MORE"}


async def test_two_lists_that_do_not_go_together(start_cluster: Callable[..., ControlPlane]) -> None:
    """A port got another number and kept its name. By its key it is another one, and two of one name are not taken: the list comes back as
    it was captured, the report says so, and an undo knows it. A selector is one thing, and is not mixed.
    """
    plane = await asyncio.to_thread(start_cluster)
    plane.kubectl(*TEAM, input=yaml.safe_dump(service({"name": "web", "port": 80}, app="d")))
    then = plane.request("GET", SERVICE)
    capture = await captured(plane, "services")
    changed = [{"op": "replace", "path": "/spec/ports/0/port", "value": 81}, {"op": "add", "path": "/spec/selector", "value": {"b": "c"}}]
    plane.request("PATCH", f"{SERVICE}?fieldManager=guest", changed, content_type="application/json-patch+json")
    was = plane.request("GET", SERVICE)
    report = await merge(plane, capture)
    assert (report.failures, report.differences, len(report.whole)) == ([], [], 1)
    there = plane.request("GET", SERVICE)
    assert there["spec"]["selector"] == {"app": "d"}
    assert [each["port"] for each in there["spec"]["ports"]] == [80]
    assert {entry[0] for entry in owned(there)} <= {"team", "guest"}
    key = ("services", "default", "s")
    (choice,) = choose([PlannedObject("merge", "", *key, *version(was))], {key: was}, {key: then}, {key: there}, {})
    assert (choice.do, choice.changed) == ("put back", False)


async def test_an_atomic_map_is_not_mixed(start_cluster: Callable[..., ControlPlane]) -> None:
    """A selector of two halves would choose what nobody meant."""
    plane = await asyncio.to_thread(start_cluster)
    plane.kubectl(*TEAM, input=yaml.safe_dump(service({"name": "web", "port": 80}, app="d")))
    then = plane.request("GET", SERVICE)
    capture = await captured(plane, "services")
    other = service({"name": "more", "port": 81}, b="c")
    plane.kubectl(*GUEST, input=yaml.safe_dump(other))
    trial = as_applied(plane, SERVICE, then)
    report = await merge(plane, capture)
    assert (report.failures, report.differences, report.whole) == ([], [], [])
    there = plane.request("GET", SERVICE)
    assert there["spec"]["selector"] == {"app": "d"}
    assert {each["port"] for each in there["spec"]["ports"]} == {80, 81}
    assert there["spec"] == trial["spec"]


@pytest.mark.parametrize("dropped", [False, True])
async def test_keyed_lists_of_custom_resources_and_their_status(start_cluster: Callable[..., ControlPlane], dropped: bool) -> None:
    """As their schema says: keyed, set, atomic; and conditions of others stay in a status. A field that the schema has lost is a
    difference, and costs nothing else; server-side apply would refuse the object.
    """
    keyed = {"type": "array", "items": {"type": "object", "required": ["k"], "properties": {"k": TEXT, "v": TEXT}}}
    keyed |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
    a_set = {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}
    plain = {"type": "array", "items": TEXT}
    spec: dict[str, Any] = {"keyed": keyed, "tags": a_set, "plain": plain, "later": TEXT}
    made = definition("m.proompteng.ai", "Mix", spec)
    plane = await asyncio.to_thread(lambda: start_cluster(definitions=[made]))
    collection = f"/apis/m.proompteng.ai/v1alpha1/namespaces/default/{made['spec']['names']['plural']}"
    place = f"{collection}/x"
    item = {"apiVersion": "m.proompteng.ai/v1alpha1", "kind": "Mix", "metadata": {"name": "x", "namespace": "default"}}
    ours = {"keyed": [{"k": "a", "v": "1"}], "tags": ["a"], "plain": ["a"], "later": "on"}
    plane.request("POST", f"{collection}?fieldManager=team", {**item, "spec": ours})
    ready = {"type": "Ready", "status": "True"}
    plane.request("PATCH", f"{place}/status?fieldManager=cook", {"status": {"conditions": [ready]}}, content_type=MERGE)
    then = plane.request("GET", place)
    capture = await captured(plane, made["metadata"]["name"])
    theirs = {"keyed": [{"k": "a", "v": "2"}, {"k": "b", "v": "2"}], "tags": ["b"], "plain": ["b"], "later": None}
    plane.request("PATCH", f"{place}?fieldManager=guest", {"spec": theirs}, content_type=MERGE)
    conditions = [{**ready, "status": "False"}, {**ready, "type": "Theirs"}]
    plane.request("PATCH", f"{place}/status?fieldManager=guest", {"status": {"conditions": conditions}}, content_type=MERGE)
    if dropped:
        crd = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{made['metadata']['name']}"
        gone = [{"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/later"}]
        plane.request("PATCH", crd, gone, content_type="application/json-patch+json")
        trial = {**item, "metadata": {"name": "y", "namespace": "default"}, "spec": {"later": "on"}}
        pause = GrowingPause(0.05, 0.5, least=1, most=1)
        while "later" in plane.request("POST", f"{collection}?dryRun=All&fieldValidation=Ignore", trial)["spec"]:
            await asyncio.sleep(pause.next(0.5))
    report = await merge(plane, capture)
    assert (report.merged, report.failures, report.managers, report.whole) == (1, [], [], [])
    assert [each.rpartition(": ")[2] for each in report.differences] == (["spec.later"] if dropped else [])
    there = plane.request("GET", place)
    assert there["spec"]["keyed"] == [{"k": "a", "v": "1"}, {"k": "b", "v": "2"}]
    assert (sorted(there["spec"]["tags"]), there["spec"]["plain"]) == (["a", "b"], ["a"])
    found = {each["type"]: each["status"] for each in there["status"]["conditions"]}
    assert found == {"Ready": "True", "Theirs": "True"}
    entries = {entry[0]: entry[-1] for entry in owned(there)}
    assert set(entries) == {"cook", "guest", "team"}
    assert entries["cook"] == next(entry[-1] for entry in owned(then) if entry[0] == "cook")
    assert "f:plain" not in str(entries["guest"])
