"""Points at which the past is not wholly known, captured from real API servers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from archiver.clock import SystemClock
from archiver.errors import HistoryLost, Refused
from archiver.journal.entry import Kind
from archiver.journal.reader import Reader
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.restore import PreparedRestore, plan_cluster, restore_to_cluster
from archiver.replay.kubernetes.selection import RestoreScope
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definitions, path
from tests.servers.http_proxy import HttpFaultProxy
from tests.servers.kubernetes_capture import KubernetesCapture, config_for
from tests.servers.kubernetes_restore import api
from tests.servers.proxy import DOWN

TOOLS = "tools.proompteng.ai/tools"
SPACE = "default"


def create(plane: ControlPlane, *names: str) -> str:
    """The resourceVersion of the last one."""
    version = ""
    for name in names:
        version = plane.request("POST", path("Tool", SPACE), custom_resource("Tool", SPACE, name))["metadata"]["resourceVersion"]
    return version


def tools(plan: PreparedRestore) -> set[str]:
    return {name for resource, _, name in plan.objects.by_key if resource.startswith("tools.")}


async def test_a_point_while_nobody_watched_is_refused_and_its_neighbours_are_not(start_cluster: Callable[..., ControlPlane]) -> None:
    """Down while the API server forgets what happened: points within that time are told with both ends and refused, unless gaps are allowed;
    points before and after are whole. Down and resumed: what came late counts as of when it says that it happened, and a note says so.
    """
    clock = SystemClock()
    plane = await asyncio.to_thread(start_cluster, definitions=[each for each in definitions() if each["spec"]["names"]["kind"] == "Tool"])
    capture = KubernetesCapture(config_for(plane, resources=["tools.tools.proompteng.ai"]))

    async def plan(point: int) -> PreparedRestore:
        return await plan_cluster(Reader(capture.store), capture.name, Cut(time=point), RestoreScope(), None, clock)

    before_everything = clock.now()
    async with capture.running():
        await capture.until_durable(TOOLS, create(plane, "one", "two"))
        before = clock.now()
    away_before = clock.now()
    await asyncio.sleep(1.2)
    create(plane, "three")
    at_once = clock.now()
    await asyncio.sleep(1.2)
    resumed = clock.now()
    await asyncio.sleep(1.2)
    async with capture.running():
        await capture.until_durable(TOOLS, create(plane, "four"))
        between = clock.now()
        # The next thing heard is what proves that nothing was missed at the point.
        await capture.until_durable(TOOLS, create(plane, "later"))
    await asyncio.sleep(0.2)
    plane.request("DELETE", path("Tool", SPACE, "one"))
    create(plane, "five")
    inside = clock.now()
    await asyncio.sleep(0.2)
    # A new watch cache knows nothing older than itself: the position is gone.
    await asyncio.to_thread(plane.restart_apiserver)
    async with capture.running():
        await capture.until_durable(TOOLS, create(plane, "six"))
        after = clock.now()

    with pytest.raises(HistoryLost, match="no complete list"):
        await plan(before_everything)
    for point, names in (
        (before, {"one", "two"}),
        (between, {"one", "two", "three", "four"}),
        (after, {"two", "three", "four", "later", "five", "six"}),
    ):
        prepared = await plan(point)
        assert (prepared.plan.gaps, tools(prepared)) == ([], names)
    for point, names in ((away_before, {"one", "two"}), (resumed, {"one", "two", "three"})):
        away = await plan(point)
        assert (away.plan.gaps, tools(away)) == ([], names)
        assert any("nobody watched from" in note and TOOLS in note for note in away.plan.notes)
    # Objects say the second in which they were created, and not when in it.
    assert any("default/three" in gap for gap in (await plan(at_once)).plan.gaps)

    target = await asyncio.to_thread(start_cluster)
    async with api(target) as server:
        doubtful = await plan_cluster(Reader(capture.store), capture.name, Cut(time=inside), RestoreScope(), server, clock)
        assert [gap for gap in doubtful.plan.gaps if TOOLS in gap]
        with pytest.raises(Refused, match="is not known"):
            await restore_to_cluster(server, doubtful, clock)
        assert target.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"] == []
        report = await restore_to_cluster(server, doubtful, clock, allow_gaps=True)
    assert (report.failures, report.differences) == ([], [])
    restored = {item["metadata"]["name"] for item in target.request("GET", path("Tool", SPACE))["items"]}
    assert restored == {"one", "two", "three", "four", "later"}


async def test_a_verifying_list_does_not_hide_that_the_watch_had_stopped(start_cluster: Callable[..., ControlPlane]) -> None:
    """The connection hangs, something happens, and before that is noticed a verifying list is due; the position is gone by then. A point
    in between is in doubt, although the verifying list stands before the one that says so.
    """
    clock = SystemClock()
    plane = await asyncio.to_thread(start_cluster, definitions=[each for each in definitions() if each["spec"]["names"]["kind"] == "Tool"])
    trust = ssl.create_default_context(cafile=str(plane.ca))
    with HttpFaultProxy.start("127.0.0.1", plane.port, server_tls=trust) as proxy:
        kubeconfig = str(plane.kubeconfig_for(plane.admin_token, server=f"http://127.0.0.1:{proxy.port}"))
        only: dict[str, Any] = {"resources": ["tools.tools.proompteng.ai"], "custom_resource_definitions": False}
        capture = KubernetesCapture(config_for(plane, kubeconfig=kubeconfig, verify_seconds=2.0, **only))
        async with capture.running():
            await capture.until_durable(TOOLS, create(plane, "one"))
            listed = capture.status().restarts.get("list_verify", 0)
            await capture.until(lambda status: status.restarts.get("list_verify", 0) > listed, "a verifying list")
            asked = len(proxy.requests)
            proxy.hang(DOWN)
            create(plane, "two")
            await capture.until(lambda _: any("limit=10" in each.target for each in proxy.requests[asked:]), "the next one is asked for")
            inside = clock.now()
            await asyncio.to_thread(plane.restart_apiserver)
            proxy.reset()
            await capture.until(lambda status: status.restarts.get("list_expired", 0) > 0, "the position is gone", 60)
            await capture.until_durable(TOOLS, create(plane, "three"))
    causes = [watch.cause for watch in await capture.records(TOOLS, Kind.K8S_WATCH)]
    assert causes[-2:] == ["verify", "expired"]
    prepared = await plan_cluster(Reader(capture.store), capture.name, Cut(time=inside), RestoreScope(), None, clock)
    assert tools(prepared) == {"one"}
    assert [gap for gap in prepared.plan.gaps if TOOLS in gap]
