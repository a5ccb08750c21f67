"""Restore through a network that loses answers, into servers that are busy, restarted or gone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from archiver.clock import SystemClock
from archiver.errors import Unavailable
from archiver.replay.kubernetes import restore
from tests.servers.agents_world import differences, snapshot
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import definitions
from tests.servers.http_proxy import HttpFaultProxy, Request
from tests.servers.kubernetes_restore import Captured, api, capture_world

Start = Callable[..., ControlPlane]


@pytest.fixture(scope="module")
def captured(cluster: ControlPlane) -> Captured:
    return capture_world(cluster)


@pytest.fixture
def proxied() -> Iterator[Callable[[ControlPlane], HttpFaultProxy]]:
    """``proxied(plane)``: a proxy before its API server; it ends TLS, so that faults see requests."""
    with ExitStack() as stack:

        def start(plane: ControlPlane) -> HttpFaultProxy:
            trust = ssl.create_default_context(cafile=str(plane.ca))
            return stack.enter_context(HttpFaultProxy.start("127.0.0.1", plane.port, server_tls=trust))

        yield start


def objects(method: str) -> Callable[[Request], bool]:
    return lambda request: request.method == method and "proompteng.ai/" in request.target


async def test_lost_and_late_answers_and_a_busy_server_change_nothing(
    captured: Captured, start_cluster: Start, proxied: Callable[[ControlPlane], HttpFaultProxy]
) -> None:
    """Requests that were done though their answers were lost, late ones, errors after the deed and 429: every object once, none failed."""
    target = await asyncio.to_thread(start_cluster, definitions=definitions())
    proxy = proxied(target)
    for method in ("POST", "PUT"):
        proxy.lose_answer(match=objects(method), times=6)
        proxy.answer(503, match=objects(method), times=4, forwarded=True)
        proxy.answer(429, match=objects(method), times=4, headers=(("retry-after", "1"),))
        proxy.late(0.3, match=objects(method), times=4)
    kubeconfig = target.kubeconfig_for(target.admin_token, server=f"http://127.0.0.1:{proxy.port}")
    _, report = await captured.restore(kubeconfig, captured.world)
    assert (report.failures, report.differences, report.orphans) == ([], [], [])
    assert report.created == len(captured.wanted)
    assert differences(captured.wanted, snapshot(target, captured.spaces[0])) == []
    tries = sum(request.method in {"POST", "PUT"} and "proompteng.ai/" in request.target for request in proxy.requests)
    assert tries >= report.created + report.statuses + 2 * 18


async def test_a_restart_of_the_server_on_the_way_is_waited_for(captured: Captured, start_cluster: Start) -> None:
    """Killed and started again while objects are created: the restore goes on to the end."""
    target = await asyncio.to_thread(start_cluster, definitions=definitions())
    restarts: list[asyncio.Task[None]] = []

    def progress(what: str, done: int, count: int) -> None:
        if "objects" in what and done == 5 and not restarts:
            restarts.append(asyncio.create_task(asyncio.to_thread(target.restart_apiserver, kill=True)))

    async with api(target) as server:
        prepared = await captured.plan(server, captured.world)
        report = await restore.restore_to_cluster(server, prepared, SystemClock(), progress=progress)
    await restarts[0]
    assert (report.failures, report.differences, report.orphans) == ([], [], [])
    assert differences(captured.wanted, snapshot(target, captured.spaces[0])) == []


async def test_a_restore_that_failed_goes_on_with_overwrite(
    captured: Captured, start_cluster: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server goes away for good: the restore says so; cancelled, it stops; a new plan with overwrite completes what was begun."""
    target = await asyncio.to_thread(start_cluster, definitions=definitions())
    monkeypatch.setattr(restore, "BUSY_SECONDS", 1.0)

    def kill(what: str, done: int, count: int) -> None:
        if "objects" in what and done == 5:
            target.kill_apiserver()

    async with api(target) as server:
        prepared = await captured.plan(server, captured.world)
        with pytest.raises(Unavailable):
            await restore.restore_to_cluster(server, prepared, SystemClock(), progress=kill)
        with pytest.raises(Unavailable):
            await captured.plan(server, captured.world)
    await asyncio.to_thread(target.start_apiserver)
    began = snapshot(target, captured.spaces[0])
    assert 0 < len(began) < len(captured.wanted)

    seen: list[str] = []

    def cancel(what: str, done: int, count: int) -> None:
        seen.append(what)
        if len(seen) == len(began) + 3:
            running.cancel()

    async with api(target) as server:
        prepared = await captured.plan(server, captured.world, overwrite=True)
        running = asyncio.create_task(restore.restore_to_cluster(server, prepared, SystemClock(), progress=cancel))
        with pytest.raises(asyncio.CancelledError):
            await running
    _, report = await captured.restore(target, captured.world, overwrite=True)
    assert (report.failures, report.differences, report.orphans) == ([], [], [])
    assert report.replaced > len(began)
    assert differences(captured.wanted, snapshot(target, captured.spaces[0])) == []


@pytest.mark.parametrize("what", ["a list", "what is served"])
async def test_a_target_that_answers_something_else(
    captured: Captured, start_cluster: Start, proxied: Callable[[ControlPlane], HttpFaultProxy], what: str
) -> None:
    """An error that comes with status 200 is neither an empty target nor a missing definition, and no error of this program."""
    target = await asyncio.to_thread(start_cluster, definitions=definitions())
    proxy = proxied(target)
    status = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","code":500}'
    depth = 4 if what == "a list" else 3
    proxy.answer(200, match=lambda request: objects("GET")(request) and request.target.count("/") == depth, body=status, times=None)
    kubeconfig = target.kubeconfig_for(target.admin_token, server=f"http://127.0.0.1:{proxy.port}")
    with pytest.raises(Unavailable, match="not a Kubernetes API server"):
        await captured.restore(kubeconfig, captured.world)
    assert not any(request.method in {"POST", "PUT", "DELETE"} for request in proxy.requests)
