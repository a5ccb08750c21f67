"""Capture through a network that breaks, and with a journal that does not keep up."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from archiver.journal.entry import Kind
from archiver.journal.limits import WriterLimits
from archiver.store.memory import MemoryStore
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definition, path
from tests.servers.http_proxy import HttpFaultProxy, Request
from tests.servers.kubernetes_capture import KubernetesCapture, config_for, objects, served
from tests.servers.proxy import DOWN

TOOLS = "tools.proompteng.ai/tools"


@pytest.fixture
def proxy(cluster: ControlPlane) -> Iterator[HttpFaultProxy]:
    """In front of the API server; it ends TLS, so that faults see plain bytes."""
    trust = ssl.create_default_context(cafile=str(cluster.ca))
    with HttpFaultProxy.start("127.0.0.1", cluster.port, server_tls=trust) as running:
        yield running


@pytest.fixture
def capture(cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy) -> KubernetesCapture:
    """Tools of the test's namespace through the proxy, giving up on silence after two seconds."""
    kubeconfig = cluster.kubeconfig_for(cluster.admin_token, server=f"http://127.0.0.1:{proxy.port}")
    options: dict[str, Any] = {
        "resources": ["tools.tools.proompteng.ai"],
        "kubeconfig": str(kubeconfig),
        "custom_resource_definitions": False,
        "inactivity_seconds": 2.0,
    }
    return KubernetesCapture(config_for(cluster, namespace, **options))


def watches(request: Request) -> bool:
    return "watch=1" in request.target


def lists(request: Request) -> bool:
    return "limit=" in request.target and "NotOlderThan" not in request.target


async def create(plane: ControlPlane, namespace: str, *names: str, size: int = 1) -> str:
    """The resourceVersion of the last one."""

    def act() -> str:
        made: Any = None
        for name in names:
            made = plane.request("POST", path("Tool", namespace), custom_resource("Tool", namespace, name, {"image": "x" * size}))
        version: str = made["metadata"]["resourceVersion"]
        return version

    return await asyncio.to_thread(act)


async def agrees(capture: KubernetesCapture, plane: ControlPlane, namespace: str) -> None:
    listed, _ = await asyncio.to_thread(served, plane, path("Tool", namespace))
    state = await capture.folded(f"{TOOLS}@{namespace}")
    assert state.complete
    assert objects(state) == listed


async def test_half_a_line_is_no_event(cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy, capture: KubernetesCapture) -> None:
    """A response that ends inside a line, by reset or politely: the half is dropped, the event comes again, nothing is listed again."""
    stream = f"{TOOLS}@{namespace}"
    async with capture.running():
        for number, how in enumerate(("rst", "fin")):
            proxy.cut_in_line(f'"name":"half{number}"'.encode(), DOWN, how="rst" if how == "rst" else "fin")
            version = await create(cluster, namespace, f"half{number}")
            await capture.until_durable(stream, version)
    await agrees(capture, cluster, namespace)
    assert len(await capture.records(stream, Kind.CHECKPOINT)) == 1
    assert not await capture.records(stream, Kind.GAP)
    events = [body for placed in await capture.entries(stream) if placed.run.kind is Kind.K8S_EVENT for body in placed.run.bodies()]
    assert len(events) == 2


async def test_silence_ends_a_watch(cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy, capture: KubernetesCapture) -> None:
    """A connection that stays open and says nothing is given up after the inactivity limit, and the watch goes on without a gap."""
    async with capture.running():
        proxy.hang()
        version = await create(cluster, namespace, "unheard")
        await capture.until(lambda status: status.restarts.get("unavailable", 0) > 0, "silence is noticed", 10)
        proxy.resume()
        await capture.until_durable(f"{TOOLS}@{namespace}", version, 20)
    await agrees(capture, cluster, namespace)
    assert not await capture.records(f"{TOOLS}@{namespace}", Kind.GAP)


async def test_throttled_expired_and_broken_answers_are_met_with_another_attempt(
    cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy, capture: KubernetesCapture
) -> None:
    """429 with Retry-After, 500, a lost answer and 410 by status: the stream comes back by itself, 410 alone makes it list again."""
    stream = f"{TOOLS}@{namespace}"
    async with capture.running():
        proxy.answer(429, match=watches, headers=(("Retry-After", "1"),))
        proxy.answer(500, match=watches)
        proxy.lose_answer(match=watches)
        proxy.cut()
        version = await create(cluster, namespace, "a")
        await capture.until_durable(stream, version, 40)
        assert capture.status().restarts["throttled"] == 1
        assert not await capture.records(stream, Kind.GAP)
        proxy.answer(410, match=watches, body=b'{"kind":"Status","code":410,"reason":"Gone"}')
        proxy.cut()
        version = await create(cluster, namespace, "b")
        await capture.until_durable(stream, version, 40)
    await agrees(capture, cluster, namespace)
    assert [each.cause for each in await capture.records(stream, Kind.CHECKPOINT)] == ["start", "expired"]
    assert [gap.reason for gap in await capture.records(stream, Kind.GAP)] == ["watch_expired"]


async def test_a_list_whose_pages_expire_begins_again(
    cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy, capture: KubernetesCapture
) -> None:
    """410 on the second page: the whole list is made again, and only the complete one counts."""
    await create(cluster, namespace, *(f"t{number}" for number in range(120)))
    proxy.answer(
        410,
        match=lambda request: "continue=" in request.target,
        body=b'{"kind":"Status","code":410,"reason":"Expired","metadata":{"continue":"x"}}',
    )
    async with capture.running():
        pass
    await agrees(capture, cluster, namespace)
    assert len(await capture.records(f"{TOOLS}@{namespace}", Kind.K8S_WATCH)) == 2
    (listing,) = await capture.records(f"{TOOLS}@{namespace}", Kind.CHECKPOINT)
    assert listing.count == 120
    assert [request.target for request in proxy.requests if "limit=1&" in request.target] == []


async def test_large_objects_pass(cluster: ControlPlane, namespace: str, capture: KubernetesCapture) -> None:
    """Objects of 1.4 MB in lists of several MB and in watch lines arrive whole."""
    await create(cluster, namespace, "a", "b", "c", "d", size=1_400_000)
    async with capture.running():
        version = await create(cluster, namespace, "e", "f", size=1_400_000)
        await capture.until_durable(f"{TOOLS}@{namespace}", version)
    await agrees(capture, cluster, namespace)


class StuckStore(MemoryStore):
    """Does not answer while ``stuck``."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.free.set()

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        await self.free.wait()
        return await super().put_if_absent(key, data)


async def test_a_stuck_store_does_not_hold_up_the_socket(cluster: ControlPlane, namespace: str, capture: KubernetesCapture) -> None:
    """When the queue is full the watch is given up, not blocked; when the store answers again it goes on without loss."""
    store = StuckStore()
    limits = WriterLimits(puts_per_second=100.0, buffer_bytes=1_048_576, segment_bytes=262_144)
    config = config_for(
        cluster, namespace, resources=["tools.tools.proompteng.ai"], custom_resource_definitions=False, queue_bytes=1_048_576
    )
    capture = KubernetesCapture(config, store=store, limits=limits)
    async with capture.running():
        store.free.clear()
        version = await create(cluster, namespace, *(f"t{number}" for number in range(40)), size=100_000)
        await capture.until(lambda status: status.restarts.get("overflow", 0) > 0, "the watch is given up")
        store.free.set()
        await capture.until_durable(f"{TOOLS}@{namespace}", version, 40)
    await agrees(capture, cluster, namespace)
    assert not await capture.records(f"{TOOLS}@{namespace}", Kind.GAP)


async def test_verify_finds_what_the_watch_missed(cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy) -> None:
    """A list beside the watch finds a ghost and a missed change, records both with a gap, and leaves alone what events explain."""
    stream = f"{TOOLS}@{namespace}"
    config = config_for(cluster, namespace, resources=["tools.tools.proompteng.ai"], custom_resource_definitions=False, verify_seconds=2.0)
    await create(cluster, namespace, "a", "b")
    capture = KubernetesCapture(config)
    async with capture.running():
        # The server does not lose events on demand: what is known is spoilt instead.
        assert capture.source is not None
        known = capture.source._reflectors[f"kube/{stream}"]._journal._known.objects
        known[namespace, "ghost"] = ("no-such-uid", "1")
        known[namespace, "a"] = (known[namespace, "a"][0], "1")
        version = await create(cluster, namespace, "c")
        await capture.until(lambda status: status.restarts.get("list_verify", 0) > 0, "the list")
        await create(cluster, namespace, "d")
        await capture.until(lambda status: status.parts[0].gaps == 1, "the difference is found")
        await capture.until(lambda status: status.restarts["list_verify"] >= 3, "further lists agree")
        assert capture.status().parts[0].gaps == 1
        await capture.until_durable(stream, version)
    await agrees(capture, cluster, namespace)
    (gap,) = await capture.records(stream, Kind.GAP)
    assert gap.reason == "events_missed"
    assert [absent.name for absent in await capture.records(stream, Kind.K8S_ABSENT)] == ["ghost"]
    assert len({placed.run.position for placed in await capture.entries(stream) if placed.run.kind is Kind.CHECKPOINT}) == 2


async def test_a_discovery_that_does_not_answer_at_the_start_costs_no_position(
    cluster: ControlPlane, namespace: str, proxy: HttpFaultProxy, capture: KubernetesCapture
) -> None:
    """A group that is silent for a moment is waited for: the watch goes on where the journal ends, and nothing is a gap."""
    stream = f"{TOOLS}@{namespace}"
    capture.config = msgspec.structs.replace(capture.config, discovery_seconds=0.2)
    async with capture.running():
        await capture.until_durable(stream, await create(cluster, namespace, "a"))
    version = await create(cluster, namespace, "b")
    proxy.answer(503, match=lambda request: request.target == "/apis/tools.proompteng.ai/v1alpha1", times=3)
    async with capture.running(streaming=False):
        await capture.until_durable(stream, version)
    await agrees(capture, cluster, namespace)
    assert [watch.cause for watch in await capture.records(stream, Kind.K8S_WATCH)] == ["start", "resume"]
    assert not await capture.records(stream, Kind.GAP)


async def test_a_version_that_does_not_answer_is_not_left_for_another(start_cluster: Callable[..., ControlPlane], namespace: str) -> None:
    """While the preferred version's discovery is silent, the stream stays on it; when the version is really gone, it changes over."""
    tools = definition("tools.proompteng.ai", "Tool", {"image": {"type": "string"}})
    (version,) = tools["spec"]["versions"]
    tools["spec"]["versions"] = [version, {**version, "name": "v1", "storage": False}]
    plane = await asyncio.to_thread(lambda: start_cluster(definitions=[tools]))
    trust = ssl.create_default_context(cafile=str(plane.ca))
    with HttpFaultProxy.start("127.0.0.1", plane.port, server_tls=trust) as proxy:
        kubeconfig = plane.kubeconfig_for(plane.admin_token, server=f"http://127.0.0.1:{proxy.port}")
        config = config_for(plane, "default", resources=["tools.tools.proompteng.ai"], kubeconfig=str(kubeconfig), discovery_seconds=0.2)
        capture = KubernetesCapture(config)

        def asked(path: str) -> int:
            return sum(request.target == path for request in proxy.requests)

        async with capture.running():
            preferred = "/apis/tools.proompteng.ai/v1"
            before = asked(preferred)
            proxy.answer(503, match=lambda request: request.target == preferred, times=None)
            await capture.until(lambda _: asked(preferred) > before + 3, "it was asked meanwhile")
            assert capture.status().restarts.get("list_schema_changed", 0) == 0
            tools["spec"]["versions"][1]["served"] = False
            await asyncio.to_thread(plane.apply, tools)
            await capture.until(lambda status: status.restarts.get("list_schema_changed", 0) == 1, "the other version")
    watches = await capture.records(f"{TOOLS}@default", Kind.K8S_WATCH)
    assert [watch.resource.version for watch in watches if not watch.resource_version] == ["v1", "v1alpha1"]
