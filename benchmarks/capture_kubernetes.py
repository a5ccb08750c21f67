"""``capture.kubernetes.events``: a backlog of 20 kinds at once through to a durable journal, beside one bare HTTP reader of the same.

    python -m benchmarks.capture_kubernetes [rounds]

The backlog: creates and status changes, 2 kB a line, 1 000 of each kind or as many as can be made in 45 seconds (the API server's watch
cache, which replays them to 20 watches from before it, keeps 75 seconds). Ours is split, looked into, packed, hashed, compressed and
fsynced into a local directory; the peer (one aiohttp session, as ours) counts line feeds and throws it away. Value: events per second from
the first one received to the last one durable (peer: received), median of the rounds, which take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from archiver.capture.kubernetes.config import KubernetesConfig
from archiver.capture.kubernetes.source import KubernetesSource
from archiver.clock import SystemClock
from archiver.journal.entry import SourceMark
from archiver.journal.writer import Writer, WriterLimits
from archiver.store.directory import DirectoryStore
from benchmarks.capturing import quiet
from benchmarks.report import emit
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definitions, kinds, path

PER_KIND = 1000
LOAD_SECONDS = 45.0
AT_ONCE = 16
NAMESPACE = "default"
SOURCE = "kube"


def object_of(kind: str, number: int) -> dict[str, Any]:
    """About 1.5 kB, as runs are."""
    labels = {"app.kubernetes.io/part-of": "agents", "round": str(number)}
    body = custom_resource(kind, NAMESPACE, f"{kind.lower()}-{number:05d}", {"agentRef": {"name": "writer"}}, labels=labels)
    body["metadata"]["annotations"] = {"archiver.test/text": "the quick brown fox jumps over the lazy dog " * 20}
    return body


async def load(plane: ControlPlane) -> tuple[dict[str, str], dict[str, int]]:
    """Create and change objects; newest resourceVersion and number of events of each kind."""
    newest: dict[str, str] = {}
    made: dict[str, int] = {}
    until = time.perf_counter() + LOAD_SECONDS
    work = [(kind, number) for number in range(PER_KIND // 2) for _, kind, _ in kinds()]
    remaining = iter(work)
    async with _session(plane) as session:

        async def worker() -> None:
            for kind, number in remaining:
                if time.perf_counter() > until:
                    return
                body = object_of(kind, number)
                async with session.post(plane.url + path(kind, NAMESPACE), json=body) as answer:
                    answer.raise_for_status()
                    await answer.read()
                patch = {"status": {"phase": "Running", "startedAt": "2026-01-01T00:00:00Z"}}
                url = plane.url + path(kind, NAMESPACE, body["metadata"]["name"], status=True)
                async with session.patch(url, json=patch, headers={"Content-Type": "application/merge-patch+json"}) as answer:
                    answer.raise_for_status()
                    version = msgspec.json.decode(await answer.read())["metadata"]["resourceVersion"]
                newest[kind] = max(newest.get(kind, "0"), version, key=int)
                made[kind] = made.get(kind, 0) + 2

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return newest, made


async def bare(plane: ControlPlane, since: str, made: dict[str, int]) -> tuple[float, float]:
    """Seconds that the peer takes, from its first byte to its last line; and seconds of CPU."""
    first: list[tuple[float, float]] = []
    async with _session(plane) as session:

        async def watch(kind: str) -> None:
            params = {"watch": "1", "resourceVersion": since, "allowWatchBookmarks": "true", "timeoutSeconds": "300"}
            headers = {"Accept-Encoding": "identity"}
            lines = 0
            async with session.get(plane.url + path(kind, NAMESPACE), params=params, headers=headers) as answer:
                while lines < made[kind]:
                    chunk = await answer.content.readany()
                    if not chunk or (not lines and chunk.startswith(b'{"type":"ERROR"')):
                        raise RuntimeError(f"the API server no longer has the backlog of {kind}: creating it took too long here")
                    if not first:
                        first.append((time.perf_counter(), time.process_time()))
                    lines += chunk.count(b"\n")

        await asyncio.gather(*(watch(kind) for _, kind, _ in kinds()))
        began, cpu = first[0]
        return time.perf_counter() - began, time.process_time() - cpu


@contextlib.asynccontextmanager
async def capture(plane: ControlPlane, folder: Path) -> Any:
    """A source and its writer over ``folder``, with default settings."""
    store, clock, stop = DirectoryStore(folder), SystemClock(), asyncio.Event()
    writer = await Writer.open(store, clock, instance="bench", version="0", sources={SOURCE: "kubernetes"}, limits=WriterLimits())
    config = KubernetesConfig(resources=["*.proompteng.ai"], namespaces=[NAMESPACE], kubeconfig=str(plane.kubeconfig))
    source = KubernetesSource(SOURCE, config, writer, clock)
    commit, capturing = asyncio.create_task(writer.run()), asyncio.create_task(source.run(stop))
    try:
        yield source, writer
    finally:
        stop.set()
        await capturing
        await writer.close()
        await commit


async def prepare(plane: ControlPlane, folder: Path) -> None:
    """A journal in which every kind is listed, and nothing has happened yet."""
    async with capture(plane, folder) as (source, _):
        while source.status().state != "streaming" or len(source.status().parts) < len(kinds()):
            await asyncio.sleep(0.05)


async def ours(plane: ControlPlane, folder: Path, newest: dict[str, str]) -> tuple[float, float]:
    """Seconds that the archiver takes, from its first event to the durable last; and seconds of CPU, threads included."""
    wanted = {f"{SOURCE}/{group}/{plural}@{NAMESPACE}": int(newest[kind]) for group, kind, plural in kinds()}
    async with capture(plane, folder) as (source, writer):
        while not source.status().frames:
            await asyncio.sleep(0.001)
            if source.status().restarts:
                raise RuntimeError("the API server no longer has the backlog: creating it took too long here")
        began, cpu = time.perf_counter(), time.process_time()
        while any(int(writer.marks.get(stream, SourceMark()).position or 0) < version for stream, version in wanted.items()):
            await asyncio.sleep(0.002)
        return time.perf_counter() - began, time.process_time() - cpu


def measures(rounds: int = 5) -> Iterator[dict[str, Any]]:
    """The measure, as ``report`` wants it."""
    quiet()
    with ControlPlane.start(definitions=definitions()) as plane, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        asyncio.run(prepare(plane, folder / "empty"))
        since = plane.request("GET", path("Tool", NAMESPACE))["metadata"]["resourceVersion"]
        newest, made = asyncio.run(load(plane))
        events = sum(made.values())
        peer, value = [], []
        for number in range(rounds):
            peer.append(asyncio.run(bare(plane, since, made)))
            shutil.copytree(folder / "empty", folder / str(number))
            value.append(asyncio.run(ours(plane, folder / str(number), newest)))
            shutil.rmtree(folder / str(number))
    yield {
        "measure": "capture.kubernetes.events",
        "value": events / statistics.median(seconds for seconds, _ in value),
        "unit": "events/s",
        "peer": "one bare aiohttp reader of the same watches",
        "peer_value": events / statistics.median(seconds for seconds, _ in peer),
        "rounds": rounds,
        "events": events,
        "cpu_seconds": round(statistics.median(cpu for _, cpu in value), 3),
        "peer_cpu_seconds": round(statistics.median(cpu for _, cpu in peer), 3),
    }


def _session(plane: ControlPlane) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, ssl=ssl.create_default_context(cafile=plane.ca))
    return aiohttp.ClientSession(
        connector=connector,
        headers={"Authorization": f"Bearer {plane.admin_token}"},
        timeout=aiohttp.ClientTimeout(total=None),
        read_bufsize=2**21,
    )


if __name__ == "__main__":
    for each in measures(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
        emit(**each)
