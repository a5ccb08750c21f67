"""Mode ``exact`` with deletions: what was not there at the point goes, within what was asked for, and nothing else does."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Any

import msgspec
import pytest

from archiver.clock import SystemClock, from_text
from archiver.errors import Refused
from archiver.journal.entry import Kind, Run
from archiver.journal.reader import Reader
from archiver.kubernetes.records import Listing, Resource, Watch
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.label_selector import LabelSelector
from archiver.replay.kubernetes.plan import ClusterPlan
from archiver.replay.kubernetes.restore import PreparedRestore, plan_cluster, restore_to_cluster
from archiver.replay.kubernetes.selection import RestoreScope
from archiver.replay.kubernetes.to_cluster import ClusterReport
from tests.servers.agents_world import FINALIZER
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, path
from tests.servers.http_proxy import HttpFaultProxy
from tests.servers.kubernetes_capture import KubernetesCapture, config_for
from tests.servers.kubernetes_restore import api

TOOLS = "tools.tools.proompteng.ai"
KINDS = [TOOLS, "toolruns.tools.proompteng.ai"]
ARGO = {"argocd.argoproj.io/instance": "team"}
PATCH = "application/merge-patch+json"


class Rig:
    """A namespace that is captured, and a point in it."""

    def __init__(self, plane: ControlPlane, space: str) -> None:
        self.plane, self.space = plane, space
        self.capture = KubernetesCapture(config_for(plane, space, resources=KINDS))
        self.point = 0

    def make(self, kind: str, name: str, **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = self.plane.request("POST", path(kind, self.space), custom_resource(kind, self.space, name, {}, **more))
        return made

    def names(self, kind: str = "Tool") -> set[str]:
        return {item["metadata"]["name"] for item in self.plane.request("GET", path(kind, self.space))["items"]}

    async def take_point(self) -> None:
        """The point is now, and what is made from here on is made in a later second."""
        last = self.plane.request("POST", path("Tool", self.space), custom_resource("Tool", self.space, "last", {}))
        await self.capture.until_durable(f"tools.proompteng.ai/tools@{self.space}", last["metadata"]["resourceVersion"])
        assert self.capture.writer is not None
        self.point = self.capture.writer.durable_seq
        made = from_text(last["metadata"]["creationTimestamp"])
        while SystemClock().now() < made + 2_000_000:
            await asyncio.sleep(0.05)

    async def plan(self, delete: int | None = 99, **more: Any) -> PreparedRestore:
        scope = RestoreScope(namespaces=frozenset({self.space}), **more.pop("narrowed", {}))
        async with api(self.plane) as server:
            reader = Reader(self.capture.store)
            given = {"mode": "exact", "into_source": True, "allow_controllers": True, "ask_target": True, **more}
            cut = Cut(seq=self.point)
            return await plan_cluster(reader, self.capture.name, cut, scope, server, SystemClock(), delete=delete, **given)

    async def run(self, prepared: PreparedRestore) -> ClusterReport:
        async with api(self.plane) as server:
            return await restore_to_cluster(server, prepared, SystemClock())

    async def run_refusing_creates(self, prepared: PreparedRestore) -> ClusterReport:
        """As a quota or a webhook does that takes none of them."""
        trust = ssl.create_default_context(cafile=str(self.plane.ca))
        with HttpFaultProxy.start("127.0.0.1", self.plane.port, server_tls=trust) as proxy:
            proxy.answer(403, match=lambda request: request.method == "POST" and f"/{self.space}/" in request.target, times=None)
            through = self.plane.kubeconfig_for(self.plane.admin_token, server=f"http://127.0.0.1:{proxy.port}")
            async with api(through) as server:
                return await restore_to_cluster(server, prepared, SystemClock())


def found(plan: ClusterPlan) -> dict[str, str]:
    return {action.name: action.finding for action in plan.actions if action.resource in KINDS}


async def test_what_was_made_since_goes_and_nothing_else(cluster: ControlPlane, namespace: str) -> None:
    """Only what is selected, was not there, and is nobody else's; a dry run without a number says so and is refused. What a deleted object
    owns of a kind that is not captured stays; what has a finalizer is told to be on its way; what somebody writes to meanwhile stays.
    """
    rig = Rig(cluster, namespace)
    async with rig.capture.running():
        rig.make("Tool", "kept", labels={"team": "x"})
        rig.make("Tool", "gone", labels={"team": "x"})
        await rig.take_point()
        for name, more in {"new": {"labels": {"team": "x"}}, "argo": {"labels": ARGO | {"team": "x"}}, "other": {}}.items():
            made = rig.make("Tool", name, **more)
            if name == "new":
                rig.make("ToolRun", "owned", owner=made)
                references = [{"apiVersion": made["apiVersion"], "kind": "Tool", "name": "new", "uid": made["metadata"]["uid"]}]
                config = {"metadata": {"name": "elsewhere", "ownerReferences": references}}
                cluster.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", config)
        rig.make("Tool", "held")
        cluster.request("PATCH", path("Tool", namespace, "held"), {"metadata": {"finalizers": [FINALIZER]}}, content_type=PATCH)
        # By its labels of the point it was not meant, and it was there.
        cluster.request("PATCH", path("Tool", namespace, "last"), {"metadata": {"labels": {"team": "x"}}}, content_type=PATCH)
        cluster.request("DELETE", path("Tool", namespace, "gone"))

        narrowed = {"labels": LabelSelector.parse("team=x")}
        prepared = await rig.plan(0, narrowed=narrowed)
        assert found(prepared.plan) == {"kept": "unchanged", "gone": "create", "new": "delete", "argo": "skipped"}
        assert prepared.plan.refusals == ["1 objects would be deleted, and --delete 0 allows 0; --dry-run lists them"]
        assert next(action.why for action in prepared.plan.actions if action.name == "argo").startswith("Argo-managed; --delete-managed")
        with pytest.raises(Refused, match="1 objects would be deleted"):
            await rig.run(prepared)
        assert rig.names() == {"kept", "last", "new", "argo", "other", "held"}
        assert found((await rig.plan(9, narrowed=narrowed, delete_managed=True)).plan)["argo"] == "delete"
        assert "new" not in found((await rig.plan(None)).plan)
        by_name = frozenset({(TOOLS, namespace, "other")})
        assert found((await rig.plan(1, narrowed={"objects": by_name})).plan) == {"other": "delete"}

        refused = await rig.run_refusing_creates(await rig.plan())
        assert (refused.deleted, refused.created, rig.names()) == (0, 0, {"kept", "last", "new", "argo", "other", "held"})
        stayed = [line for line in refused.problems if line.endswith(": not deleted, since not everything was written")]
        assert [line.partition(":")[0].rpartition("/")[2] for line in stayed] == ["held", "new", "other", "owned"]

        prepared = await rig.plan()
        assert {name for name, finding in found(prepared.plan).items() if finding == "delete"} == {"new", "owned", "other", "held"}
        cluster.request("PATCH", path("Tool", namespace, "other"), {"spec": {"image": "mine"}}, content_type=PATCH)
        report = await rig.run(prepared)
        assert (report.deleted, report.created) == (3, 1)
        assert [line.partition(":")[0] for line in report.failures] == [f"{TOOLS} {namespace}/other"]
        assert "409" in report.failures[0]
        assert any(f"{TOOLS} {namespace}/held: " in line and FINALIZER in line for line in report.going)
        cluster.request("PATCH", path("Tool", namespace, "held"), {"metadata": {"finalizers": None}}, content_type=PATCH)
        deadline = time.monotonic() + 60
        while rig.names() != {"kept", "last", "gone", "argo", "other"} or rig.names("ToolRun"):
            assert time.monotonic() < deadline, rig.names()
            await asyncio.sleep(0.1)
        there = cluster.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/elsewhere")
        assert there["metadata"].get("ownerReferences") is None


async def test_the_cluster_of_another_time_or_source_is_a_captured_one_too(cluster: ControlPlane, namespace: str) -> None:
    """At the point the source was another cluster, and this one is captured by another source: not without a word, no undo that would mix
    them up, and what lived here by the point is not taken for new.
    """
    rig = Rig(cluster, namespace)
    async with rig.capture.running():
        rig.make("Tool", "theirs")
        await rig.take_point()
        writer = rig.capture.writer
        assert writer is not None
        resource = Resource("tools.proompteng.ai", "v1alpha1", "tools", "Tool", True)
        stream, now = f"old/tools.proompteng.ai/tools@{namespace}", SystemClock().now()
        watch = Watch("ca=a uid=u", "https://elsewhere", resource, namespace, 0, "", "start")
        first = await writer.append(Run.of(stream, Kind.K8S_WATCH, [msgspec.json.encode(watch)], observed=now))
        listing = Listing(resource, namespace, 0, "9", 0, first, "start")
        rig.point = await writer.append(Run.of(stream, Kind.CHECKPOINT, [msgspec.json.encode(listing)], observed=now))
        await writer.durable(rig.point)
        rig.capture.name = "old"
        prepared = await rig.plan(into_source=False)
        assert any("the captured cluster itself, now or once" in line for line in prepared.plan.refusals), prepared.plan.refusals
        assert (prepared.captured, "is not the cluster that old is captured from now" in prepared.no_undo) == (True, True)
        assert set(found(prepared.plan).values()) == {"skipped"}
        assert all("it was made by the point" in action.why for action in prepared.plan.actions)
