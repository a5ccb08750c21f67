"""Fields that the settings keep out of the archive, captured from a real API server and restored into one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from archiver.clock import SystemClock
from archiver.history.object_at import object_at
from archiver.history.objects import ObjectRef
from archiver.journal.entry import Kind
from archiver.journal.reader import Reader
from archiver.maintenance.cluster_folding import fold_cluster
from archiver.maintenance.object_history import add_object_history
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.plan import Mode
from archiver.replay.kubernetes.restore import PreparedRestore, plan_cluster, restore_to_cluster, restore_to_folder
from archiver.replay.kubernetes.selection import RestoreScope
from archiver.replay.kubernetes.to_cluster import ClusterReport
from tests.servers.archive_bytes import places_of
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, path
from tests.servers.kubernetes_capture import KubernetesCapture, config_for, objects
from tests.servers.kubernetes_restore import api

SECRET, PLAIN = "hunter2-secret", "plainly-told"
GROUP = "orchestrations.orchestration.proompteng.ai"
REDACT = [f"{GROUP}/spec.steps[*].token", f"{GROUP}/spec.policies.secrets.*", "agents.agents.proompteng.ai/spec.providerRef.name"]
PATHS = ["metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]", "spec.policies.secrets.*", "spec.steps[*].token"]
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def flow(namespace: str, name: str, salt: str = "") -> dict[str, Any]:
    steps = [{"name": PLAIN + salt, "token": SECRET}, {"name": "other"}]
    made = custom_resource("Orchestration", namespace, name, {"steps": steps, "policies": {"secrets": {"one": SECRET}, "kept": PLAIN}})
    made["metadata"]["annotations"] = {APPLIED: json.dumps(made)}
    return made


def make(plane: ControlPlane, made: dict[str, Any]) -> str:
    return str(plane.request("POST", path(made["kind"], made["metadata"]["namespace"]), made)["metadata"]["resourceVersion"])


def change(plane: ControlPlane, namespace: str, name: str) -> str:
    place = path("Orchestration", namespace, name)
    there = plane.request("GET", place)
    there["spec"]["steps"].append({"name": "third", "token": SECRET})
    return str(plane.request("PUT", place, there)["metadata"]["resourceVersion"])


async def kept(capture: KubernetesCapture) -> None:
    """A folded checkpoint and history files of all that was captured."""
    reader = Reader(capture.store)
    assert (await fold_cluster(reader, SystemClock(), capture.name, until=await reader.last())).reason == ""
    assert (await add_object_history(reader, SystemClock(), capture.name)).done


async def restore(
    capture: KubernetesCapture, plane: ControlPlane, *, mode: Mode = "create-missing"
) -> tuple[PreparedRestore, ClusterReport]:
    async with api(plane) as server:
        prepared = await plan_cluster(
            Reader(capture.store), capture.name, Cut(), RestoreScope(), server, SystemClock(), into_source=True, mode=mode
        )
        return prepared, await restore_to_cluster(server, prepared, SystemClock())


async def test_no_byte_of_the_archive_has_what_is_redacted(cluster: ControlPlane, namespace: str) -> None:
    """Listed first, watched, changed, deleted, listed again to verify, folded and put into history files. What is not named is there."""
    stream = f"orchestration.proompteng.ai/orchestrations@{namespace}"
    make(cluster, flow(namespace, "listed"))
    capture = KubernetesCapture(config_for(cluster, namespace, redact=REDACT, verify_seconds=1.0))
    async with capture.running():
        make(cluster, flow(namespace, "watched"))
        make(cluster, flow(namespace, "deleted"))
        change(cluster, namespace, "watched")
        cluster.request("DELETE", path("Orchestration", namespace, "deleted"))
        last = change(cluster, namespace, "listed")
        await capture.until_durable(stream, last)
        listed = [each.resource_version for each in await capture.records(stream, Kind.CHECKPOINT)]
        while not any(int(each) >= int(last) for each in listed):
            await asyncio.sleep(0.1)
            listed = [each.resource_version for each in await capture.records(stream, Kind.CHECKPOINT)]
    await kept(capture)
    assert await places_of(capture.store, PLAIN.encode()) == {"journal", "parts", "history"}
    assert await places_of(capture.store, SECRET.encode()) == set()
    found = objects(await capture.folded(stream))
    assert {key[1] for key in found} == {"listed", "watched"}
    for each in found.values():
        assert each["metadata"]["archiverRedacted"] == PATHS
        assert [step["name"] for step in each["spec"]["steps"]] == [PLAIN, "other", "third"]
        assert each["spec"]["policies"] == {"secrets": {}, "kept": PLAIN}
    assert await capture.records(stream, Kind.GAP) == []
    known = await object_at(Reader(capture.store), capture.name, ObjectRef(GROUP, namespace, "listed"), Cut())
    assert known.state is not None
    assert known.state["metadata"]["archiverRedacted"] == PATHS


async def test_a_restore_leaves_out_what_was_redacted_and_says_so(cluster: ControlPlane, namespace: str, tmp_path: Any) -> None:
    """Objects come without it and without the mark; one that the schema does not take so fails by name; a living one never loses it."""
    make(cluster, flow(namespace, "gone"))
    make(cluster, flow(namespace, "living"))
    make(cluster, custom_resource("Agent", namespace, "needy", {"providerRef": {"name": SECRET}}))
    applied = custom_resource("Orchestration", namespace, "applied", {"steps": [{"name": "first"}]})
    applied["metadata"]["annotations"] = {APPLIED: json.dumps(applied)}
    make(cluster, applied)
    capture = KubernetesCapture(config_for(cluster, namespace, redact=REDACT))
    async with capture.running():
        pass
    for kind, name in (("Orchestration", "gone"), ("Agent", "needy")):
        cluster.request("DELETE", path(kind, namespace, name))
    change(cluster, namespace, "applied")
    prepared, report = await restore(capture, cluster, mode="exact")
    assert (report.created, report.replaced, report.differences) == (1, 1, [])
    back = cluster.request("GET", path("Orchestration", namespace, "applied"))
    assert (back["spec"]["steps"], list(back["metadata"]["annotations"])) == ([{"name": "first"}], [APPLIED])
    assert [each.partition(":")[0] for each in report.failures] == [f"agents.agents.proompteng.ai {namespace}/needy"]
    assert [each.partition(":")[0] for each in report.withheld] == [f"{GROUP} {namespace}/living"]
    assert report.managers == []
    assert report.problems == [*report.failures, *report.withheld]
    assert f"note: {GROUP}: {', '.join(PATHS)} is redacted, and lacks in 3 objects" in prepared.plan.doubts()
    created = next(action for action in prepared.plan.actions if action.name == "gone")
    assert created.why == f"without what is redacted ({', '.join(PATHS)})"
    made = cluster.request("GET", path("Orchestration", namespace, "gone"))
    assert made["spec"]["steps"] == [{"name": PLAIN}, {"name": "other"}]
    assert "archiverRedacted" not in json.dumps(made)
    assert cluster.request("GET", path("Orchestration", namespace, "living"))["spec"]["steps"][0]["token"] == SECRET
    folder = await plan_cluster(Reader(capture.store), capture.name, Cut(), RestoreScope(), None, SystemClock())
    restore_to_folder(folder, tmp_path / "out")
    files = "".join(file.read_text() for file in (tmp_path / "out").rglob("*.yaml"))
    assert PLAIN in files
    assert "archiverRedacted" not in files
    assert "is redacted" in (tmp_path / "out" / "manifest.json").read_text()


async def test_redaction_that_begins_later_holds_from_its_start_on(cluster: ControlPlane, namespace: str) -> None:
    """The state is listed anew without the values, once, without a gap; the user is told that the past has them."""
    stream = f"orchestration.proompteng.ai/orchestrations@{namespace}"
    make(cluster, flow(namespace, "one"))
    capture = KubernetesCapture(config_for(cluster, namespace))
    async with capture.running():
        pass
    assert SECRET in json.dumps(list(objects(await capture.folded(stream)).values()))
    capture.config = config_for(cluster, namespace, redact=REDACT)
    for first in (True, False):
        async with capture.running():
            warned = [each for each in capture.status().warnings if "redacted from now on" in each and stream in each]
        assert SECRET not in json.dumps(list(objects(await capture.folded(stream)).values()))
        listed = await capture.records(stream, Kind.CHECKPOINT)
        assert [(each.cause, each.redacted) for each in listed] == [("start", []), ("verify", PATHS[1:])]
        assert await capture.records(stream, Kind.GAP) == []
        assert bool(warned) == first
    await kept(capture)
    assert "parts" not in await places_of(capture.store, SECRET.encode())
    state = (await object_at(Reader(capture.store), capture.name, ObjectRef(GROUP, namespace, "one"), Cut())).state
    assert SECRET not in json.dumps(state)
    # Told to capture it again, all is known whole.
    capture.config = config_for(cluster, namespace)
    async with capture.running():
        pass
    assert SECRET in json.dumps(list(objects(await capture.folded(stream)).values()))
