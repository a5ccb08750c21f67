"""One cluster: finds the resources that the settings select and runs a reflector for each, into one journal."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.capture.kubernetes.discovery import DEFINITIONS, Discovery, Selector, discover
from archiver.capture.kubernetes.journal_view import resume_streams
from archiver.capture.kubernetes.outbox import Outbox
from archiver.capture.kubernetes.reflector import Reflector
from archiver.capture.kubernetes.stream_context import Interest, Rewinds, StreamContext
from archiver.capture.kubernetes.stream_scope import StreamScope
from archiver.capture.kubernetes.stream_status import whole
from archiver.capture.status import SourceStatus
from archiver.errors import Bug, Invalid, Unavailable
from archiver.kubernetes.api import Api
from archiver.kubernetes.cluster import Cluster, identify
from archiver.kubernetes.stream_name import StreamName
from archiver.waiting import cancel, first_of

if TYPE_CHECKING:
    from archiver.capture.kubernetes.config import KubernetesConfig
    from archiver.capture.kubernetes.journal_view import ResumedStream
    from archiver.clock import Clock
    from archiver.journal.writer import Writer
    from archiver.kubernetes.json_fields import Meta
    from archiver.kubernetes.records import Resource

_HURRY_SECONDS = 1.0
_LOOKS = 3

_log = structlog.get_logger()


class KubernetesSource:
    """Captures one cluster. ``run`` may be called again after it returned or raised, not while it runs."""

    def __init__(self, name: str, config: KubernetesConfig, writer: Writer, clock: Clock) -> None:
        """``name`` begins the name of every stream: ``name/group/plural``. What was known is read from the writer's own archive."""
        self.name = name
        self._config = config
        self._writer = writer
        self._clock = clock
        self._reflectors: dict[str, Reflector] = {}
        self._last = 0
        self._phase: SourceStatus | None = None

    def status(self) -> SourceStatus:
        """A snapshot of all streams; before the first ``run`` has reached the API server: starting."""
        if self._phase is not None:
            return self._phase
        marks = self._writer.marks
        streams = [each.figures.show(marks[name].position if name in marks else "") for name, each in sorted(self._reflectors.items())]
        denied = f"{self.name}/{DEFINITIONS.group}/{DEFINITIONS.plural}"
        warnings = []
        for stream in streams:
            if stream.name == denied and stream.state == "failed" and not (denied in marks and marks[denied].checkpoint):
                # Without its definitions a resource is captured all the same. Once they were, nobody may think that they still are.
                stream.state = "stopped"
                warnings.append(f"custom resource definitions are not captured: {stream.detail}")
        return whole(self.name, streams, warnings)

    async def run(self, stop: asyncio.Event) -> None:
        """Capture until ``stop``, then return once everything received is durable.

        Raises ``Invalid`` (configuration, credentials), ``Unavailable`` (the API server does not answer at the start; later it is tried
        again and again, unless its certificates were exchanged) and what the journal raises. Cancellation stops at once; what was not
        durable is received again.
        """
        self._phase = SourceStatus(name=self.name, kind="kubernetes")
        selectors = [Selector.parse(text) for text in self._config.resources]
        # What an earlier attempt handed over must be there before the journal is asked what is known.
        await self._writer.durable(self._last)
        api = await Api.open(self._clock, kubeconfig=self._config.kubeconfig, context=self._config.context)
        try:
            attempt = _Attempt(self, api, selectors, await identify(api))
            found = await discover(api, selectors)
            attempt.resumed = await resume_streams(self._writer.reader(), self._writer.marks, self.name)
            self._reflectors = attempt.reflectors
            self._phase = None
            await attempt.run(found, stop)
            self._phase = msgspec.structs.replace(self.status(), state="stopped")
        finally:
            await api.close()


class _Attempt:
    """What lives as long as one call of ``run``."""

    def __init__(self, source: KubernetesSource, api: Api, selectors: list[Selector], cluster: Cluster) -> None:
        self.reflectors: dict[str, Reflector] = {}
        self.resumed: dict[str, ResumedStream] = {}
        self._source = source
        self._config = source._config  # noqa: SLF001 -- one thing in two classes
        self._clock = source._clock  # noqa: SLF001
        self._writer = source._writer  # noqa: SLF001
        self._api = api
        self._selectors = selectors
        self._cluster = cluster
        self._outbox = Outbox(self._writer, self._config.queue_bytes)
        self._context = StreamContext(
            api=self._api,
            outbox=self._outbox,
            clock=self._clock,
            config=self._config,
            cluster=self._cluster.text,
            lists=asyncio.Semaphore(self._config.list_concurrency),
            # One object from the watch cache costs next to nothing beside a list.
            probes=asyncio.Semaphore(8 * self._config.list_concurrency),
            rewinds=Rewinds(),
        )
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._hurry = asyncio.Event()
        self._generations: dict[str, int] = {}
        self._unserved: Counter[str] = Counter()
        """How often in a row discovery did not name the resource of a stream."""

    async def run(self, found: Discovery, stop: asyncio.Event) -> None:
        pump = asyncio.create_task(self._outbox.run(), name=f"{self._source.name} outbox")
        stopping = asyncio.create_task(stop.wait())
        try:
            while True:
                await self._follow(found)
                await self._wait(pump, stopping)
                if stop.is_set():
                    break
                try:
                    found = await discover(self._api, self._selectors)
                except (Unavailable, Invalid) as error:
                    # Credentials that expire are met as everything else: the streams say so, and go on when they are renewed.
                    _log.warning("discovery_failed", source=self._source.name, reason=error.message)
                    if await self._api.outdated():
                        # A session keeps the certificates that it was opened with. And it may be another cluster that answers from now on.
                        raise Unavailable(f"other certificates are configured for {self._api.server}: beginning anew") from None
            await self._halt(*self._tasks)
            for reflector in self.reflectors.values():
                reflector.close()
            await self._outbox.empty()
            self._source._last = self._outbox.last  # noqa: SLF001
            await self._writer.durable(self._outbox.last)
        finally:
            self._source._last = max(self._source._last, self._outbox.last)  # noqa: SLF001
            await cancel(pump, stopping, *self._tasks.values())

    async def _wait(self, pump: asyncio.Task[None], stopping: asyncio.Task[bool]) -> None:
        """Until it is time to ask discovery again, or to stop. Raises what ended a task that should not end."""
        hurry = asyncio.create_task(self._hurry.wait())
        try:
            watched = {pump, stopping, *self._tasks.values()}
            done = await first_of(hurry, *watched, seconds=self._config.discovery_seconds)
            if hurry in done and not done & watched:
                # A definition changed: it is served a moment later.
                self._hurry.clear()
                done = await first_of(*watched, seconds=_HURRY_SECONDS)
        finally:
            hurry.cancel()
        for task in done - {hurry, stopping}:
            task.result()
            raise Bug(f"{task.get_name()} ended without being asked to", hint="report it with the log")

    async def _follow(self, found: Discovery) -> None:
        """Run a reflector for everything that is served and selected, and end those whose resource is not served any more."""
        scopes = {scope.stream: scope for each in found.resources for scope in self._scopes(each)}
        definitions = StreamScope.of(self._source.name, DEFINITIONS)
        if self._config.custom_resource_definitions and definitions.stream not in scopes:
            scopes[definitions.stream] = definitions
        for scope in self._silent(found):
            scopes.setdefault(scope.stream, scope)
        # First, so that what takes the place of another is heard later than that.
        await self._end(scopes, found)
        for stream, scope in scopes.items():
            self._unserved.pop(stream, None)
            reflector = self.reflectors.get(stream)
            if reflector is None:
                reflector = self.reflectors[stream] = self._reflector(scope)
            elif stream not in self._tasks:
                reflector.resume(scope)
            elif reflector.scope != scope and await self._replaced(reflector.scope, found):
                await self._halt(stream)
                reflector.resume(scope)
            if stream not in self._tasks:
                self._tasks[stream] = asyncio.create_task(reflector.run(), name=stream)

    def _silent(self, found: Discovery) -> list[StreamScope]:
        """What the journal knows of groups that discovery is silent about: it may be served, and nobody must think that it is watched."""
        known = {stream: each.state for stream, each in self.resumed.items() if stream not in self.reflectors and not each.state.ended}
        return [
            scope
            for stream, state in known.items()
            if state.resource is not None and state.resource.group in found.unanswered
            for scope in self._scopes(state.resource)
            if scope.stream == stream
        ]

    async def _end(self, scopes: dict[str, StreamScope], found: Discovery) -> None:
        """End the reflectors of what is not served any more, or in another scope: its objects are gone with its old definition."""
        # Those that the journal knows and that vanished while nobody watched are ended in the same way.
        for stream, resumed in self.resumed.items():
            state, name = resumed.state, StreamName.parse(stream)
            if stream in scopes or stream in self.reflectors or state.ended or not state.selected:
                continue
            scope = StreamScope(stream, state.resource or name.resource, name.namespace)
            reflector = self.reflectors[stream] = self._reflector(scope)
            if scope not in self._scopes(scope.resource):
                reflector.leave()
        namespaced = {(each.group, each.plural): each.namespaced for each in found.resources}
        for stream, reflector in self.reflectors.items():
            if stream in scopes or reflector.figures.phase == "ended":
                continue
            resource = reflector.scope.resource
            # The path of a cluster-scoped resource answers as well when it is a namespaced one's: all namespaces.
            rescoped = namespaced.get((resource.group, resource.plural), resource.namespaced) != resource.namespaced
            self._unserved[stream] += resource.group not in found.unanswered
            if rescoped or (resource.group not in found.unanswered and await self._missing(reflector.scope)):
                await self._halt(stream)
                reflector.end()

    def _scopes(self, resource: Resource) -> list[StreamScope]:
        if not any(selector.matches(resource.group, resource.plural) for selector in self._selectors):
            return []
        namespaces = (self._config.namespaces or [""]) if resource.namespaced else [""]
        return [StreamScope.of(self._source.name, resource, namespace) for namespace in namespaces]

    def _reflector(self, scope: StreamScope) -> Reflector:
        resumed = self.resumed.get(scope.stream)
        whole = any(selector.matches(DEFINITIONS.group, DEFINITIONS.plural) for selector in self._selectors)
        definitions = scope.resource.group == DEFINITIONS.group and scope.resource.plural == DEFINITIONS.plural
        return Reflector(
            scope,
            self._context,
            resumed=resumed,
            replaced=resumed is not None and self._cluster.replaces(Cluster.of(resumed.state.cluster)),
            interest=Interest(
                keep=self._is_definition if definitions and not whole else None,
                noticed=self._noticed if definitions else None,
                generation=lambda: self._generations.get(f"{scope.resource.plural}.{scope.resource.group}", 0),
            ),
        )

    def _is_definition(self, name: str) -> bool:
        plural, _, group = name.partition(".")
        return any(selector.matches(group, plural) for selector in self._selectors)

    def _noticed(self, definition: Meta) -> None:
        self._generations[definition.name] = definition.generation
        self._hurry.set()

    async def _replaced(self, scope: StreamScope, found: Discovery) -> bool:
        """Whether another version takes its place, and is not only what was left because the preferred one did not answer."""
        return scope.resource.group not in found.unanswered or await self._missing(scope)

    async def _missing(self, scope: StreamScope) -> bool:
        """Whether the API server says that it does not serve it, beyond what one look at discovery says. Where the right to read it is
        missing it does not say so; then several looks must do.
        """
        if not scope.resource.version:
            return True
        try:
            answer = await self._api.get(scope.path, {"limit": "1"})
        except Unavailable:
            return False
        return answer.status == 404 or (answer.status == 403 and self._unserved[scope.stream] >= _LOOKS)

    async def _halt(self, *streams: str) -> None:
        tasks = [self._tasks.pop(stream) for stream in list(streams) if stream in self._tasks]
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
