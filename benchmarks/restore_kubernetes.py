"""``restore.kubernetes``: captured objects into an API server, each with its status, beside kubectl and a folder of the same objects.

    python -m benchmarks.restore_kubernetes [rounds]

Ours reads the journal in a local directory, plans, creates, puts statuses, remaps owners, and reads everything back. The peer is
``kubectl apply --server-side -R -f`` of the folder that ``restore_to_folder`` writes: no status, no owners, nothing compared. Each run has
an empty API server on an etcd of its own, definitions installed. Value: objects per second over the whole of it, median of the rounds.

- ``restore.kubernetes``: as said, all on one machine. Ours writes each object twice (a status is a request of its own), kubectl once.
- ``restore.kubernetes.same_result``: the peer applies the folder once more with ``--subresource=status``.
- ``restore.kubernetes.remote``: as the first, with 5 ms between both of them and the API server.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from archiver.capture.kubernetes.config import KubernetesConfig
from archiver.capture.kubernetes.source import KubernetesSource
from archiver.clock import SystemClock
from archiver.journal.reader import Reader
from archiver.journal.writer import Writer, WriterLimits
from archiver.kubernetes.api import Api
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.restore import plan_cluster, restore_to_cluster, restore_to_folder
from archiver.replay.kubernetes.selection import RestoreScope
from archiver.store.directory import DirectoryStore
from benchmarks.capturing import quiet
from benchmarks.report import emit
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definitions, path
from tests.servers.proxy import FaultProxy

AGENTS = 40
CHAIN = ("Agent", "AgentRun", "ToolRun", "Artifact")
PER_AGENT = 8
NAMESPACE = "default"
SOURCE = "kube"
ONE_WAY_SECONDS = 0.0025


def load(plane: ControlPlane) -> int:
    """Agents, each with runs, tool runs and artifacts below it, all with a status; how many."""
    count = 0

    def make(kind: str, name: str, owner: dict[str, Any] | None) -> dict[str, Any]:
        nonlocal count
        body = custom_resource(kind, NAMESPACE, name, {"agentRef": {"name": "a"}} if kind == "AgentRun" else {}, owner=owner)
        body["metadata"]["annotations"] = {"archiver.test/text": "the quick brown fox jumps over the lazy dog " * 20}
        made: dict[str, Any] = plane.request("POST", path(kind, NAMESPACE), body)
        made["status"] = {"phase": "Succeeded", "startedAt": "2026-01-01T00:00:00Z", "conditions": [{"type": "Ready", "status": "True"}]}
        plane.request("PUT", path(kind, NAMESPACE, name, status=True), made)
        count += 1
        return made

    for number in range(AGENTS):
        agent = make("Agent", f"agent-{number}", None)
        for below in range(PER_AGENT):
            run = make("AgentRun", f"run-{number}-{below}", agent)
            tool = make("ToolRun", f"tool-{number}-{below}", run)
            make("Artifact", f"artifact-{number}-{below}", tool)
    return count


async def capture(plane: ControlPlane, folder: Path) -> None:
    """Everything there is into an archive."""
    clock = SystemClock()
    store = DirectoryStore(folder)
    writer = await Writer.open(
        store, clock, instance="bench", version="0", sources={SOURCE: "kubernetes"}, limits=WriterLimits(puts_per_second=50.0)
    )
    config = KubernetesConfig(resources=["*.proompteng.ai"], kubeconfig=str(plane.kubeconfig), heartbeat_seconds=1.0)
    source = KubernetesSource(SOURCE, config, writer, clock)
    stop = asyncio.Event()
    tasks = [asyncio.create_task(writer.run()), asyncio.create_task(source.run(stop))]
    while (status := source.status()).state != "streaming" or not status.parts:
        await asyncio.sleep(0.1)
    stop.set()
    await tasks[1]
    await writer.close()
    await tasks[0]


async def ours(plane: ControlPlane, folder: Path) -> tuple[float, int, int]:
    """Seconds, objects, statuses."""
    clock = SystemClock()
    started = time.perf_counter()
    api = await Api.open(clock, kubeconfig=str(plane.kubeconfig))
    try:
        prepared = await plan_cluster(Reader(DirectoryStore(folder)), SOURCE, Cut(), RestoreScope(), api, clock)
        report = await restore_to_cluster(api, prepared, clock)
    finally:
        await api.close()
    seconds = time.perf_counter() - started
    assert not report.failures
    assert not report.differences
    return seconds, report.created, report.statuses


def theirs(plane: ControlPlane, folder: Path, *, statuses: bool) -> float:
    """Seconds."""
    started = time.perf_counter()
    plane.kubectl("apply", "--server-side", "-R", "-f", folder / "objects")
    if statuses:
        plane.kubectl("apply", "--server-side", "--subresource=status", "--force-conflicts", "-R", "-f", folder / "objects")
    return time.perf_counter() - started


@contextlib.contextmanager
def target(*, remote: bool = False) -> Iterator[ControlPlane]:
    """An empty API server, reached in no time or through a network."""
    with ControlPlane.start(definitions=definitions()) as plane:
        if not remote:
            yield plane
            return
        with FaultProxy.start("127.0.0.1", plane.port) as proxy:
            proxy.delay(ONE_WAY_SECONDS)
            plane.kubeconfig = plane.kubeconfig_for(plane.admin_token, server=f"https://127.0.0.1:{proxy.port}")
            yield plane


def measures(rounds: int = 3) -> Iterator[dict[str, Any]]:
    """The measures, one after another."""
    quiet()
    base = Path(tempfile.mkdtemp(prefix="archbench"))
    try:
        with ControlPlane.start(definitions=definitions()) as source:
            count = load(source)
            asyncio.run(capture(source, base / "archive"))
        asyncio.run(_folder(base))
        runs: dict[str, Callable[[], float]] = {
            "ours": lambda: _ours(base, count, remote=False),
            "kubectl": lambda: _theirs(base, statuses=False, remote=False),
            "kubectl, statuses": lambda: _theirs(base, statuses=True, remote=False),
            "ours, remote": lambda: _ours(base, count, remote=True),
            "kubectl, remote": lambda: _theirs(base, statuses=False, remote=True),
        }
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                seconds[name].append(run())
    finally:
        shutil.rmtree(base, ignore_errors=True)
    speed = {name: count / statistics.median(found) for name, found in seconds.items()}
    rows = [
        ("restore.kubernetes", "ours", "kubectl", "kubectl apply --server-side, without status"),
        ("restore.kubernetes.same_result", "ours", "kubectl, statuses", "kubectl apply --server-side, then --subresource=status"),
        ("restore.kubernetes.remote", "ours, remote", "kubectl, remote", "kubectl apply --server-side, without status, 5 ms away"),
    ]
    for measure, one, other, peer in rows:
        yield {
            "measure": measure,
            "value": speed[one],
            "unit": "objects/s",
            "peer": peer,
            "peer_value": speed[other],
            "objects": count,
            "rounds": rounds,
        }


def _ours(base: Path, count: int, *, remote: bool) -> float:
    with target(remote=remote) as plane:
        seconds, created, statuses = asyncio.run(ours(plane, base / "archive"))
        assert (created, statuses) == (count, count)
        return seconds


def _theirs(base: Path, *, statuses: bool, remote: bool) -> float:
    with target(remote=remote) as plane:
        return theirs(plane, base / "folder", statuses=statuses)


async def _folder(base: Path) -> None:
    prepared = await plan_cluster(Reader(DirectoryStore(base / "archive")), SOURCE, Cut(), RestoreScope(), None, SystemClock())
    restore_to_folder(prepared, base / "folder")


if __name__ == "__main__":
    for each in measures(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        emit(**each)
