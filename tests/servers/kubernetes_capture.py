"""The Kubernetes source and a writer in this process, over a store that outlives them: started, stopped and killed by tests."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import msgspec

from archiver.capture.kubernetes.config import KubernetesConfig
from archiver.capture.kubernetes.source import KubernetesSource
from archiver.capture.status import SourceStatus
from archiver.clock import SystemClock
from archiver.journal.entry import Kind, Placed
from archiver.journal.limits import WriterLimits
from archiver.journal.reader import Reader
from archiver.journal.records import Gap
from archiver.journal.writer import Writer
from archiver.kubernetes.records import Absent, Listing, Watch
from archiver.kubernetes.stream_state import Key, StreamState
from archiver.store.memory import MemoryStore
from archiver.store.protocol import Store
from tests.servers.controlplane import ControlPlane

_RECORDS: dict[Kind, type[msgspec.Struct]] = {
    Kind.K8S_WATCH: Watch,
    Kind.K8S_ABSENT: Absent,
    Kind.CHECKPOINT: Listing,
    Kind.GAP: Gap,
}
LIMITS = WriterLimits(puts_per_second=200.0, put_burst=200, heartbeat_seconds=1.0)


class KubernetesCapture:
    """``async with capture.running():`` captures meanwhile and stops in order; ``kill`` ends it as SIGKILL would, as far as the journal goes."""

    def __init__(self, config: KubernetesConfig, *, store: Store | None = None, limits: WriterLimits = LIMITS, name: str = "kube") -> None:
        self.config = config
        self.store = store or MemoryStore()
        self.limits = limits
        self.name = name
        self.source: KubernetesSource | None = None
        self.writer: Writer | None = None
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        clock = SystemClock()
        self._stop = asyncio.Event()
        self.writer = await Writer.open(
            self.store, clock, instance="test", version="0", sources={self.name: "kubernetes"}, limits=self.limits
        )
        self.source = KubernetesSource(self.name, self.config, self.writer, clock)
        self._tasks = [asyncio.create_task(self.writer.run()), asyncio.create_task(self.source.run(self._stop))]

    async def stop(self) -> None:
        assert self.writer is not None
        commit, capture = self._tasks
        self._stop.set()
        await asyncio.wait_for(capture, 20)
        await self.writer.close()
        await asyncio.wait_for(commit, 20)

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def running(self, *, streaming: bool = True) -> Any:
        await self.start()
        try:
            if streaming:
                await self.until_streaming()
            yield self
        except BaseException:
            await self.kill()
            raise
        await self.stop()

    def status(self) -> SourceStatus:
        assert self.source is not None
        for task in self._tasks:
            if task.done():
                task.result()
        return self.source.status()

    async def until(self, condition: Callable[[SourceStatus], bool], what: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition(self.status()):
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{self.status()}"
            await asyncio.sleep(0.02)

    async def until_streaming(self, seconds: float = 30.0) -> None:
        await self.until(lambda status: status.state == "streaming" and bool(status.parts), "every stream watches", seconds)

    async def until_durable(self, stream: str, position: str, seconds: float = 30.0) -> None:
        """Until the journal is at ``position`` of ``stream`` or beyond."""
        assert self.writer is not None
        writer = self.writer

        def there(_: SourceStatus) -> bool:
            mark = writer.marks.get(f"{self.name}/{stream}")
            return mark is not None and mark.position.isdigit() and int(mark.position) >= int(position)

        await self.until(there, f"{stream} is durable at {position}", seconds)

    async def entries(self, stream: str = "") -> list[Placed]:
        """Every run of ``stream``, or of all."""
        return [placed async for placed in Reader(self.store).read() if not stream or placed.run.source == f"{self.name}/{stream}"]

    async def records(self, stream: str, kind: Kind) -> list[Any]:
        """The journal's own records of one kind, decoded."""
        return [
            msgspec.json.decode(body, type=_RECORDS[kind])
            for placed in await self.entries(stream)
            if placed.run.kind is kind
            for body in placed.run.bodies()
        ]

    async def folded(self, stream: str) -> StreamState:
        """The stream, folded to the journal's end."""
        state = StreamState()
        for placed in await self.entries(stream):
            state.apply(placed)
        return state


def config_for(plane: ControlPlane, namespace: str = "", **options: Any) -> KubernetesConfig:
    """Capture of the first users' groups in one namespace (or all), as administrator unless ``options`` say otherwise."""
    given = {
        "resources": ["*.proompteng.ai"],
        "namespaces": [namespace] if namespace else [],
        "kubeconfig": str(plane.kubeconfig),
        "heartbeat_seconds": 1.0,
    }
    return KubernetesConfig(**{**given, **options})


def objects(state: StreamState) -> dict[Key, Any]:
    """Decoded objects of a folded stream."""
    return {key: msgspec.json.decode(seen.body) for key, seen in state.objects.items()}


def served(plane: ControlPlane, path: str) -> tuple[dict[Key, Any], str]:
    """What the API server itself lists, and at which resourceVersion."""
    answer = plane.request("GET", path)
    listed = {(item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in answer["items"]}
    return listed, answer["metadata"]["resourceVersion"]


def watch_lines(plane: ControlPlane, path: str, since: str, *, seconds: int = 2) -> list[bytes]:
    """The lines about objects that the API server tells within ``seconds`` to a watch from ``since``."""
    url = f"{plane.url}{path}?watch=1&resourceVersion={since}&timeoutSeconds={seconds}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {plane.admin_token}"})
    with urllib.request.urlopen(request, timeout=30, context=ssl.create_default_context(cafile=plane.ca)) as response:
        return [line.rstrip(b"\n") for line in response if not line.startswith(b'{"type":"BOOKMARK"')]
