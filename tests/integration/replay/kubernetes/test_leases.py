"""Controllers paused by their Lease, on a real API server with leader election as client-go does it."""

from __future__ import annotations

import asyncio
import time
import urllib.error
from collections.abc import Callable

import pytest

from archiver.clock import SystemClock
from archiver.errors import Invalid, Refused, Unavailable
from archiver.replay.kubernetes.leases import hold_leases
from tests.servers.controlplane import ControlPlane
from tests.servers.elector import Elector
from tests.servers.kubernetes_restore import api
from tests.servers.proxy import FaultProxy


def lease(plane: ControlPlane, namespace: str, name: str = "leader") -> dict[str, str]:
    spec: dict[str, str] = plane.request("GET", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}")["spec"]
    return spec


async def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_nobody_acts_while_the_lease_is_held_and_somebody_does_at_once_afterwards(cluster: ControlPlane, namespace: str) -> None:
    """Of two candidates one leads; inside the context neither acts, for longer than a Lease lasts; afterwards one leads without waiting for
    the Lease to expire.
    """
    with Elector(cluster, namespace, "leader", "a") as one, Elector(cluster, namespace, "leader", "b") as other:
        await until(lambda: one.leads or other.leads)
        async with api(cluster) as server:
            async with hold_leases(server, [f"{namespace}/leader"], SystemClock()):
                entered = time.monotonic()
                await asyncio.sleep(4.5)
                left = time.monotonic()
            given_back = time.monotonic()
        await until(lambda: one.leads or other.leads)
        assert time.monotonic() - given_back < 2.0
        assert [moment for moment in one.acted + other.acted if entered <= moment <= left] == []


async def test_a_lease_that_is_not_there_is_made_and_taken_away(cluster: ControlPlane, namespace: str) -> None:
    """A controller that is started meanwhile waits; the Lease is deleted at the end, also when what ran inside failed."""
    async with api(cluster) as server:
        began = time.monotonic()
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 -- the context is what raises
            async with hold_leases(server, [f"{namespace}/leader", f"{namespace}/other"], SystemClock()):
                assert time.monotonic() - began < 5
                assert lease(cluster, namespace)["holderIdentity"].startswith("archiver-restore-")
                with Elector(cluster, namespace, "leader", "a") as one:
                    await asyncio.sleep(1.5)
                    assert not one.leads
                _ = 1 / 0
        for name in ("leader", "other"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                lease(cluster, namespace, name)


async def test_what_runs_inside_is_cancelled_when_the_lease_is_lost(cluster: ControlPlane, namespace: str) -> None:
    """Somebody takes the Lease by force: the restore is cancelled and says so, and the Lease is left to its holder."""
    place = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    body = {"metadata": {"name": "leader"}, "spec": {"holderIdentity": "", "leaseDurationSeconds": 2}}
    cluster.request("POST", place, body)
    cancelled = False
    async with api(cluster) as server:
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"lease .*/leader was taken by thief"):  # noqa: PT012 -- the context is what raises
            async with hold_leases(server, [f"{namespace}/leader"], SystemClock()):
                # Nobody held it, so nobody had to give up.
                assert time.monotonic() - began < 1.5
                there = cluster.request("GET", f"{place}/leader")
                there["spec"]["holderIdentity"] = "thief"
                cluster.request("PUT", f"{place}/leader", there)
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    cancelled = True
                    raise
        assert cancelled
        assert lease(cluster, namespace)["holderIdentity"] == "thief"


async def test_a_lease_that_cannot_be_renewed_is_lost(
    cluster: ControlPlane, namespace: str, fault_proxy: Callable[[str, int], FaultProxy]
) -> None:
    """Without a way to the API server nothing may go on as if controllers were paused: the end comes before the Lease expires."""
    place = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    cluster.request("POST", place, {"metadata": {"name": "leader"}, "spec": {"holderIdentity": "", "leaseDurationSeconds": 3}})
    proxy = fault_proxy("127.0.0.1", cluster.port)
    kubeconfig = cluster.kubeconfig_for(cluster.admin_token, server=f"https://127.0.0.1:{proxy.port}")
    async with api(kubeconfig) as server:
        with pytest.raises(Unavailable, match="could not be renewed"):  # noqa: PT012 -- the context is what raises
            async with hold_leases(server, [f"{namespace}/leader"], SystemClock()):
                proxy.hang()
                began = time.monotonic()
                try:
                    await asyncio.sleep(30)
                finally:
                    lasted = time.monotonic() - began
                    proxy.reset()
                    proxy.cut()
    assert lasted < 3.0 + 0.5


async def test_refusals_and_wrong_words(cluster: ControlPlane, namespace: str) -> None:
    """Two restores do not hold one Lease; a name without namespace and a user without rights are told."""
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    cluster.request("POST", account, {"metadata": {"name": "nobody"}})
    powerless = cluster.kubeconfig_for(cluster.service_account_token(namespace, "nobody"))
    clock = SystemClock()
    async with api(cluster) as server, hold_leases(server, [f"{namespace}/leader"], clock):
        with pytest.raises(Refused, match="another restore holds"):
            async with hold_leases(server, [f"{namespace}/leader"], clock):
                pass
        with pytest.raises(Invalid, match="does not name a lease"):
            async with hold_leases(server, ["leader"], clock):
                pass
        async with api(powerless) as other:
            with pytest.raises(Invalid, match="403 Forbidden"):
                async with hold_leases(other, [f"{namespace}/leader"], clock):
                    pass
        assert lease(cluster, namespace)["holderIdentity"].startswith("archiver-restore-")
