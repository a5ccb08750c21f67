"""What answers in the API server's place says things that no API server says: capture believes none of it."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest

from archiver.clock import SystemClock
from archiver.history.object_at import object_at
from archiver.history.objects import ObjectRef, object_log
from archiver.history.span.bounds import Bounds
from archiver.history.span.selection import Selection
from archiver.history.span.span_log import SpanLog
from archiver.journal.entry import Kind
from archiver.journal.reader import Reader
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.restore import plan_cluster
from archiver.replay.kubernetes.selection import RestoreScope
from archiver.replay.points import parse_point, resolve
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, path
from tests.servers.http_proxy import HttpFaultProxy, Request
from tests.servers.kubernetes_capture import KubernetesCapture, config_for, objects, served

TOOLS = "tools.proompteng.ai/tools"


@pytest.fixture
def proxy(cluster: ControlPlane) -> Iterator[HttpFaultProxy]:
    """In front of the API server; it ends TLS."""
    trust = ssl.create_default_context(cafile=str(cluster.ca))
    with HttpFaultProxy.start("127.0.0.1", cluster.port, server_tls=trust) as running:
        yield running


@pytest.fixture
def capture(cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy) -> KubernetesCapture:
    """Tools of the test's namespace through the proxy, where discovery is asked often."""
    kubeconfig = cluster.kubeconfig_for(cluster.admin_token, server=f"http://127.0.0.1:{proxy.port}")
    options: dict[str, Any] = {
        "resources": ["tools.tools.proompteng.ai"],
        "kubeconfig": str(kubeconfig),
        "custom_resource_definitions": False,
        "inactivity_seconds": 2.0,
        "discovery_seconds": 0.2,
        "page_size": 10,
    }
    return KubernetesCapture(config_for(cluster, namespace, **options))


def watches(request: Request) -> bool:
    return "watch=1" in request.target


def lists(request: Request) -> bool:
    return "limit=" in request.target and "resourceVersionMatch" not in request.target


def follows(request: Request) -> bool:
    return "continue=" in request.target


async def create(plane: ControlPlane, namespace: str, *names: str) -> str:
    """The resourceVersion of the last one."""

    def act() -> str:
        made: Any = None
        for name in names:
            made = plane.request("POST", path("Tool", namespace), custom_resource("Tool", namespace, name, {"image": "x"}))
        version: str = made["metadata"]["resourceVersion"]
        return version

    return await asyncio.to_thread(act)


async def agrees(capture: KubernetesCapture, plane: ControlPlane, namespace: str) -> None:
    listed, _ = await asyncio.to_thread(served, plane, path("Tool", namespace))
    state = await capture.folded(f"{TOOLS}@{namespace}")
    assert state.complete
    assert objects(state) == listed


STATUS = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"InternalError","code":500}'
GONE = b'{"kind":"Status","code":410,"reason":"Gone"}'
NO_LISTS = {
    "an error": STATUS,
    "a list of another API": b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"99999999"},"items":[]}',
    "a list of no time": b'{"kind":"ToolList","apiVersion":"tools.proompteng.ai/v1alpha1","metadata":{},"items":[]}',
}


@pytest.mark.parametrize("body", NO_LISTS.values(), ids=NO_LISTS)
async def test_what_is_no_list_says_nothing(
    cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy, capture: KubernetesCapture, body: bytes
) -> None:
    """No object is gone because something that is no list of them came with status 200."""
    stream = f"{TOOLS}@{namespace}"
    await create(cluster, namespace, "a", "b")
    async with capture.running():
        proxy.answer(200, match=lists, body=body)
        proxy.answer(410, match=watches, body=GONE)
        proxy.cut()
        await capture.until_durable(stream, await create(cluster, namespace, "c"))
    await agrees(capture, cluster, namespace)
    assert not await capture.records(stream, Kind.K8S_ABSENT)


@pytest.mark.parametrize("where", ["/apis", "/apis/tools.proompteng.ai/v1alpha1"])
async def test_what_is_no_discovery_says_nothing(
    cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy, capture: KubernetesCapture, where: str
) -> None:
    """No resource is gone because an error came in the place of what is served, with status 200, and its path is not found just then."""
    stream = f"{TOOLS}@{namespace}"
    await create(cluster, namespace, "a")
    async with capture.running():
        before = len(proxy.requests)
        proxy.answer(404, match=lists, times=3)
        proxy.answer(200, match=lambda request: request.target == where, body=STATUS, times=3)
        await capture.until(lambda _: sum(each.target == where for each in proxy.requests[before:]) > 4, "discovery is true again")
        await capture.until_durable(stream, await create(cluster, namespace, "b"))
    await agrees(capture, cluster, namespace)
    assert not await capture.records(stream, Kind.K8S_ABSENT)
    assert not await capture.records(stream, Kind.GAP)


ITEMS: dict[str, Any] = {
    "no object": "a",
    "null": None,
    "nobody": {"metadata": {"resourceVersion": "1"}},
    "no version": {"metadata": {"name": "a"}},
    "a number": {"metadata": {"name": 1, "resourceVersion": "1"}},
}


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
async def test_an_object_that_is_nobodys_stops_no_other_kind(
    cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy, capture: KubernetesCapture, item: Any
) -> None:
    """Nothing is known of a kind whose list holds it, which is said, and listed again; the others go on."""
    await create(cluster, namespace, "a", "b")
    listed = await asyncio.to_thread(cluster.request, "GET", path("Tool", namespace))
    body = json.dumps(listed | {"items": [*listed["items"], item]}).encode()
    capture.config.resources.append("toolruns.tools.proompteng.ai")
    proxy.answer(200, match=lambda request: lists(request) and "/tools?" in request.target, body=body, times=None)
    async with capture.running(streaming=False):
        await capture.until(lambda status: "not a list" in status.detail and status.parts[0].state == "streaming", "it is seen")
        run = await asyncio.to_thread(cluster.request, "POST", path("ToolRun", namespace), custom_resource("ToolRun", namespace, "r"))
        await capture.until_durable(f"tools.proompteng.ai/toolruns@{namespace}", run["metadata"]["resourceVersion"])
        proxy.reset()
        await capture.until_streaming()
    await agrees(capture, cluster, namespace)


async def test_a_strange_object_costs_no_list_and_no_restore(
    cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy, capture: KubernetesCapture
) -> None:
    """A text that is none is kept as it came; what is null is not there. A restore to a time while nobody watched names it, and the rest."""
    stream = f"{TOOLS}@{namespace}"
    await create(cluster, namespace, "a", "b")
    listed = await asyncio.to_thread(cluster.request, "GET", path("Tool", namespace))
    first, second = listed["items"]
    strange = [first | {"spec": {"image": "\ud800"}}, second | {"metadata": second["metadata"] | {"generation": None}}]
    proxy.answer(200, match=lists, body=json.dumps(listed | {"items": strange}).encode())
    async with capture.running():
        pass
    moment = SystemClock().now()
    seen = await asyncio.to_thread(cluster.request, "PUT", path("Tool", namespace, "b"), {**second, "spec": {"image": "y"}})
    line = json.dumps({"type": "MODIFIED", "object": seen | {"spec": {"image": "\ud800"}}}).encode()
    proxy.answer(200, match=lambda request: "resourceVersionMatch=Exact" in request.target, body=json.dumps(listed).encode())
    proxy.answer(200, match=watches, body=line + b"\n")
    async with capture.running():
        await capture.until_durable(stream, await create(cluster, namespace, "c"))
    prepared = await plan_cluster(Reader(capture.store), capture.name, Cut(time=moment), RestoreScope(), None, SystemClock())
    assert [action.name for action in prepared.plan.actions] == ["b"]
    when, what = prepared.plan.gaps
    assert "cannot be told" in when
    assert f"{namespace}/b" in when
    assert f"{namespace}/a cannot be restored" in what


@pytest.mark.parametrize("version", ["", "1"], ids=["that begins anew", "of another time"])
async def test_pages_that_make_no_list(
    cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy, capture: KubernetesCapture, version: str
) -> None:
    """A list that leads in a circle ends all the same, and pages of different times are not one list: it is made again."""
    await create(cluster, namespace, *(f"t{number:02}" for number in range(12)))
    listed = await asyncio.to_thread(cluster.request, "GET", path("Tool", namespace))
    listed["items"] = listed["items"][:10]
    listed["metadata"] |= {"continue": "round"} | ({"resourceVersion": version} if version else {})
    proxy.answer(200, match=follows if version else lists, body=json.dumps(listed).encode(), times=None)
    async with capture.running(streaming=False):
        await capture.until(lambda status: "not a list" in status.detail, "it is seen")
        assert sum(map(lists, proxy.requests)) < 20
        proxy.reset()
        await capture.until_streaming()
    await agrees(capture, cluster, namespace)


@pytest.mark.parametrize("inside", [False, True], ids=["by status", "in the stream"])
async def test_a_version_that_is_always_expired_brings_no_storm_of_lists(
    cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy, capture: KubernetesCapture, inside: bool
) -> None:
    """Each list is journaled: they come ever more slowly, and the stream is not called well meanwhile. Then the watch goes on."""
    await create(cluster, namespace, "a")
    body = b'{"type":"ERROR","object":%b}\n' % GONE if inside else GONE
    proxy.answer(200 if inside else 410, match=watches, body=body, times=None)
    async with capture.running(streaming=False):
        await capture.until(lambda status: status.restarts.get("list_expired", 0) >= 2, "it is listed again")
        began = time.monotonic()
        await capture.until(lambda status: status.restarts["list_expired"] >= 3, "and again")
        assert time.monotonic() - began > 0.5
        await capture.until(lambda status: "410" in status.detail, "it is told")
        assert sum(map(watches, proxy.requests)) < 8
        proxy.reset()
        await capture.until_durable(f"{TOOLS}@{namespace}", await create(cluster, namespace, "b"))
    await agrees(capture, cluster, namespace)


@pytest.mark.parametrize("lie", ["back", "nowhere", "nobody"])
async def test_a_watch_that_goes_back_or_nowhere(
    cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy, capture: KubernetesCapture, lie: str
) -> None:
    """An old state told again is not the state afterwards; lines without resourceVersion or name cost no event that came with them."""
    stream = f"{TOOLS}@{namespace}"
    await create(cluster, namespace, "a")
    old = await asyncio.to_thread(cluster.request, "GET", path("Tool", namespace, "a"))
    async with capture.running():
        await asyncio.to_thread(cluster.request, "PUT", path("Tool", namespace, "a"), {**old, "spec": {"image": "newer"}})
        await capture.until_durable(stream, await create(cluster, namespace, "b"))
        new = await asyncio.to_thread(cluster.request, "GET", path("Tool", namespace, "b"))
        lines = [
            {"type": "MODIFIED", "object": new},
            {
                "back": {"type": "MODIFIED", "object": old},
                "nowhere": {"type": "BOOKMARK", "object": {"metadata": {}}},
                "nobody": {"type": "ADDED", "object": {"metadata": {"resourceVersion": new["metadata"]["resourceVersion"]}}},
            }[lie],
        ]
        proxy.answer(200, match=watches, body=b"".join(json.dumps(each).encode() + b"\n" for each in lines))
        proxy.cut()
        await capture.until_durable(stream, await create(cluster, namespace, "c"))
    await agrees(capture, cluster, namespace)
    told = [
        json.loads(body)["object"]["metadata"].get("resourceVersion", "")
        for placed in await capture.entries(stream)
        if placed.run.kind is Kind.K8S_EVENT
        for body in placed.run.bodies()
    ]
    assert told == sorted(told, key=int)
    assert told.count(new["metadata"]["resourceVersion"]) == 2


@pytest.mark.parametrize(
    "spec", [b'{"image":"\xff"}', b'{"image":1e400}', b'{"image":"\\ud800"}'], ids=["no UTF-8", "no number", "half a character"]
)
async def test_a_state_that_cannot_be_read_costs_no_other(
    cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy, capture: KubernetesCapture, spec: bytes
) -> None:
    """An object whose bytes no decoder takes is named as such in each answer about it, and stops no answer about others."""
    stream = f"{TOOLS}@{namespace}"
    await create(cluster, namespace, "a")
    old = await asyncio.to_thread(cluster.request, "GET", path("Tool", namespace, "a"))
    async with capture.running():
        await capture.until_durable(stream, await create(cluster, namespace, "b"))
    seen = await asyncio.to_thread(cluster.request, "PUT", path("Tool", namespace, "a"), {**old, "spec": {"image": "y"}})
    body = json.dumps(seen | {"spec": "SPEC"}).encode().replace(b'"SPEC"', spec)
    proxy.answer(200, match=watches, body=b'{"type":"MODIFIED","object":%b}\n' % body)
    async with capture.running():
        await capture.until_durable(stream, await create(cluster, namespace, "c"))
        reader, ref = Reader(capture.store), ObjectRef("tools.tools.proompteng.ai", namespace, "a")
        known = await object_at(reader, capture.name, ref, Cut())
        assert known.state is None
        assert "cannot be read" in known.gaps[-1]
        put = await asyncio.to_thread(cluster.request, "PUT", path("Tool", namespace, "a"), {**seen, "spec": {"image": "newer"}})
        await capture.until_durable(stream, put["metadata"]["resourceVersion"])
    reader = Reader(capture.store)
    changes = await object_log(reader, capture.name, ref)
    assert [(each.event, each.changed, "cannot be read" in each.detail) for each in changes[1:]] == [
        ("MODIFIED", [], True),
        ("MODIFIED", [], False),
    ]
    log = SpanLog(reader, Selection(), Bounds(None, await resolve(reader, parse_point("latest"))))
    told = [change async for change in log.changes() if change.name]
    assert [(each.operation, each.name) for each in told] == [("added", "b"), ("modified", "a"), ("added", "c"), ("modified", "a")]
    assert [each.name for each in told if "cannot be read" in each.detail] == ["a"]
    assert all(field.old_known is False for field in told[-1].fields)
    assert [text for text in log.gaps if "cannot be read" in text] == log.gaps
    assert len(log.gaps) == 1
    # Whoever is asked for may have made the change, and the one behind it, which nothing can be compared with.
    asked = {
        Selection(managers=frozenset({"x"})): 2,
        Selection(keys=frozenset({"*/c"})): 0,
        Selection(operations=frozenset({"added"})): 0,
    }
    for chosen, many in asked.items():
        log = SpanLog(reader, chosen, Bounds(None, await resolve(reader, parse_point("latest"))))
        shown = [change.name async for change in log.changes() if change.name]
        assert (len(log.gaps), shown.count("a")) == (many, many), chosen
