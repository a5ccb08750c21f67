"""One attempt at a cluster: follows what is served and selected, and runs a reflector for each."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from archiver.capture.kubernetes.definitions import Definitions
from archiver.capture.kubernetes.discovery import DEFINITIONS, Discovery, discover, selects_nothing
from archiver.capture.kubernetes.redaction import Redactor
from archiver.capture.kubernetes.reflector import Reflector
from archiver.capture.kubernetes.resource_absence import ResourceAbsence
from archiver.capture.kubernetes.stream_scope import StreamScope
from archiver.errors import Bug, Invalid, Unavailable
from archiver.kubernetes.cluster import Cluster
from archiver.kubernetes.stream_name import StreamName
from archiver.waiting import cancel, first_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from archiver.capture.kubernetes.discovery import Selector
    from archiver.capture.kubernetes.journal_view import ResumedStream
    from archiver.capture.kubernetes.stream_context import StreamContext
    from archiver.capture.unmatched_lines import UnmatchedLines
    from archiver.kubernetes.records import Resource

_HURRY_SECONDS = 1.0

_log = structlog.get_logger()


class ClusterCapture:
    """Runs a reflector for everything that is selected and served, from one connection to the API server to its end."""

    def __init__(
        self,
        name: str,
        context: StreamContext,
        selectors: list[Selector],
        cluster: Cluster,
        resumed: dict[str, ResumedStream],
        unmatched: UnmatchedLines,
        recall: Callable[[str], Awaitable[ResumedStream | None]],
    ) -> None:
        """``resumed``: every stream that the journal has and that did not end. ``recall`` reads one that did, when it is served again.
        ``unmatched`` hears what selects nothing, as often as discovery is asked.
        """
        self.reflectors: dict[str, Reflector] = {}
        self.silent: list[str] = []
        """Groups that the settings select, of which nothing is known: their discovery does not answer, and nothing of them is captured."""
        self._name = name
        self._context = context
        self._selectors = selectors
        self._cluster = cluster
        self._resumed = resumed
        self._unmatched = unmatched
        self._recall = recall
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._definitions = Definitions(selectors)
        self._absence = ResourceAbsence(context.api)

    async def run(self, found: Discovery, stop: asyncio.Event) -> None:
        """Capture until ``stop``, then return once the journal took everything. ``found``: what is served at the beginning."""
        api, outbox = self._context.api, self._context.outbox
        pump = asyncio.create_task(outbox.run(), name=f"{self._name} outbox")
        stopping = asyncio.create_task(stop.wait())
        try:
            while True:
                await self._follow(found)
                await self._wait(pump, stopping)
                if stop.is_set():
                    break
                try:
                    found = await discover(api, self._selectors)
                    self._unmatched.found(await selects_nothing(api, self._context.config, found))
                except (Unavailable, Invalid) as error:
                    # Credentials that expire are met as everything else: the streams say so, and go on when they are renewed.
                    _log.warning("discovery_failed", source=self._name, reason=error.message)
                    if await api.outdated():
                        # A session keeps the certificates that it was opened with. And it may be another cluster that answers from now on.
                        raise Unavailable(f"other certificates are configured for {api.server}: beginning anew") from None
            await self._halt(*self._tasks)
            for reflector in self.reflectors.values():
                reflector.close()
            await outbox.empty()
        finally:
            await cancel(pump, stopping, *self._tasks.values())

    async def _wait(self, pump: asyncio.Task[None], stopping: asyncio.Task[bool]) -> None:
        """Until it is time to ask discovery again, or to stop. Raises what ended a task that should not end."""
        hurry = asyncio.create_task(self._definitions.changed.wait())
        try:
            watched = {pump, stopping, *self._tasks.values()}
            done = await first_of(hurry, *watched, seconds=self._context.config.discovery_seconds)
            if hurry in done and not done & watched:
                # A definition changed: it is served a moment later.
                self._definitions.changed.clear()
                done = await first_of(*watched, seconds=_HURRY_SECONDS)
        finally:
            hurry.cancel()
        for task in done - {hurry, stopping}:
            task.result()
            raise Bug(f"{task.get_name()} ended without being asked to", hint="report it with the log")

    async def _follow(self, found: Discovery) -> None:
        """Run a reflector for everything that is served and selected, and end those whose resource is not served any more."""
        scopes = {scope.stream: scope for each in found.resources for scope in self._scopes(each)}
        definitions = StreamScope.of(self._name, DEFINITIONS)
        if self._context.config.custom_resource_definitions and definitions.stream not in scopes:
            scopes[definitions.stream] = definitions
        for scope in self._silent(found):
            scopes.setdefault(scope.stream, scope)
        # First, so that what takes the place of another is heard later than that.
        await self._end(scopes, found)
        for stream, scope in scopes.items():
            self._absence.served(stream)
            reflector = self.reflectors.get(stream)
            if reflector is None:
                if stream not in self._resumed and (ended := await self._recall(stream)) is not None:
                    self._resumed[stream] = ended
                reflector = self.reflectors[stream] = self._reflector(scope)
            elif stream not in self._tasks:
                reflector.resume(scope)
            elif reflector.scope != scope and await self._absence.replaced(reflector.scope, found):
                await self._halt(stream)
                reflector.resume(scope)
            if stream not in self._tasks:
                self._tasks[stream] = asyncio.create_task(reflector.run(), name=stream)
        known = {each.scope.resource.group for each in self.reflectors.values() if each.figures.phase != "ended"}
        before, self.silent = self.silent, sorted(found.unanswered - known)
        for group in set(self.silent) - set(before):
            _log.warning("group_silent", source=self._name, group=group, hint="is the API behind it there? kubectl get apiservices")

    def _silent(self, found: Discovery) -> list[StreamScope]:
        """What the journal knows of groups that discovery is silent about: it may be served, and nobody must think that it is watched."""
        known = {stream: each.state for stream, each in self._resumed.items() if stream not in self.reflectors and not each.state.ended}
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
        for stream, resumed in self._resumed.items():
            state, name = resumed.state, StreamName.parse(stream)
            if stream in scopes or stream in self.reflectors or state.ended or not state.selected:
                continue
            scope = StreamScope(stream, state.resource or name.resource, name.namespace)
            reflector = self.reflectors[stream] = self._reflector(scope)
            if scope not in self._scopes(scope.resource):
                reflector.leave()
        for stream, reflector in self.reflectors.items():
            if stream in scopes or reflector.figures.phase == "ended":
                continue
            if await self._absence.ended(reflector.scope, found):
                await self._halt(stream)
                reflector.end()

    def _scopes(self, resource: Resource) -> list[StreamScope]:
        if not any(selector.matches(resource.group, resource.plural) for selector in self._selectors):
            return []
        namespaces = (self._context.config.namespaces or [""]) if resource.namespaced else [""]
        return [StreamScope.of(self._name, resource, namespace) for namespace in namespaces]

    def _reflector(self, scope: StreamScope) -> Reflector:
        resumed = self._resumed.get(scope.stream)
        return Reflector(
            scope,
            self._context,
            resumed=resumed,
            replaced=resumed is not None and self._cluster.replaces(Cluster.of(resumed.state.cluster)),
            interest=replace(self._definitions.interest(scope.resource), redactor=Redactor.of(self._context.config.redact, scope.resource)),
        )

    async def _halt(self, *streams: str) -> None:
        tasks = [self._tasks.pop(stream) for stream in list(streams) if stream in self._tasks]
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
