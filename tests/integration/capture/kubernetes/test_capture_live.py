"""Capture against a real API server that behaves."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from archiver.journal.entry import Kind
from archiver.kubernetes.json_fields import event as kj_event
from archiver.kubernetes.json_fields import order
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, path
from tests.servers.kubernetes_capture import KubernetesCapture, config_for, objects, served, watch_lines

RUNS = "agents.proompteng.ai/agentruns"


def churn(cluster: ControlPlane, namespace: str, *, rounds: int, seed: int) -> None:
    """Creates, patches, status changes and deletes of two kinds, in a fixed pseudo-random order."""
    chance = random.Random(seed)
    alive: list[tuple[str, str]] = []
    for number in range(rounds):
        kind = chance.choice(["AgentRun", "Tool"])
        action = chance.random()
        if action < 0.4 or not alive:
            name = f"n{seed}-{number}"
            body = custom_resource(kind, namespace, name, {"agentRef": {"name": "a"}, "parameters": {"text": 'x\u00e9\\n"' * 9}})
            cluster.request("POST", path(kind, namespace), body)
            alive.append((kind, name))
        elif action < 0.6:
            kind, name = chance.choice(alive)
            patch: dict[str, Any] = {"metadata": {"labels": {"round": str(number)}}}
            cluster.request("PATCH", path(kind, namespace, name), patch, content_type="application/merge-patch+json")
        elif action < 0.8:
            kind, name = chance.choice(alive)
            patch = {"status": {"phase": f"p{number}"}}
            cluster.request("PATCH", path(kind, namespace, name, status=True), patch, content_type="application/merge-patch+json")
        else:
            kind, name = alive.pop(chance.randrange(len(alive)))
            cluster.request("DELETE", path(kind, namespace, name))


async def test_churn_folds_to_what_the_api_server_lists(cluster: ControlPlane, namespace: str) -> None:
    """Objects created, patched, given a status and deleted while watched fold to exactly what the API server lists."""
    await asyncio.to_thread(churn, cluster, namespace, rounds=20, seed=1)
    capture = KubernetesCapture(config_for(cluster, namespace))
    async with capture.running():
        await asyncio.to_thread(churn, cluster, namespace, rounds=150, seed=2)
        expected = {}
        for kind, stream in (("AgentRun", RUNS), ("Tool", "tools.proompteng.ai/tools")):
            listed, _ = await asyncio.to_thread(served, cluster, path(kind, namespace))
            newest = max(int(item["metadata"]["resourceVersion"]) for item in listed.values())
            await capture.until_durable(f"{stream}@{namespace}", str(newest))
            expected[f"{stream}@{namespace}"] = listed
        await asyncio.sleep(0.3)
    for stream, listed in expected.items():
        state = await capture.folded(stream)
        assert state.complete
        assert objects(state) == listed
        kinds = {placed.run.kind for placed in await capture.entries(stream)}
        assert Kind.GAP not in kinds
    assert len([name for name in capture.status().parts if name.name.endswith(f"@{namespace}")]) == 20


async def test_kills_lose_nothing_and_repeat_nothing(cluster: ControlPlane, namespace: str) -> None:
    """Killed again and again while objects change, the archiver goes on from what is durable: no gap, and equal at the end."""
    capture = KubernetesCapture(config_for(cluster, namespace, resources=["*.agents.proompteng.ai", "tools.tools.proompteng.ai"]))
    chance = random.Random(7)
    _, began = await asyncio.to_thread(served, cluster, path("Tool", namespace))
    work = asyncio.create_task(asyncio.to_thread(churn, cluster, namespace, rounds=400, seed=3))
    kills = 0
    while not work.done() or kills < 8:
        await capture.start()
        if kills == 0:
            # A first list that never became complete has no position to go on from.
            await capture.until_streaming()
            await asyncio.sleep(0.2)
        await asyncio.sleep(chance.random() * 0.5)
        await capture.kill()
        kills += 1
    await work
    async with capture.running():
        await asyncio.sleep(0.5)
    for kind, stream in (("AgentRun", RUNS), ("Tool", "tools.proompteng.ai/tools")):
        listed, _ = await asyncio.to_thread(served, cluster, path(kind, namespace))
        state = await capture.folded(f"{stream}@{namespace}")
        assert state.complete
        assert objects(state) == listed
        assert not await capture.records(f"{stream}@{namespace}", Kind.GAP)
        entries = await capture.entries(f"{stream}@{namespace}")
        events = [body for placed in entries if placed.run.kind is Kind.K8S_EVENT for body in placed.run.bodies()]
        # Every state in between, byte for byte: what a watch from before all of it is told.
        told = await asyncio.to_thread(watch_lines, cluster, path(kind, namespace), began)
        (listing,) = await capture.records(f"{stream}@{namespace}", Kind.CHECKPOINT)
        after = [line for line in told if order(kj_event.decode(line).object.metadata.resource_version, listing.resource_version) > 0]
        assert events == after
