"""One cluster, attempt by attempt: opens it, reads from the journal what is known of it, and captures until it is stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.capture.kubernetes.cluster_capture import ClusterCapture
from archiver.capture.kubernetes.discovery import DEFINITIONS, Discovery, Selector, discover, selects_nothing
from archiver.capture.kubernetes.journal_view import resume_ended, resume_living
from archiver.capture.kubernetes.outbox import Outbox
from archiver.capture.kubernetes.stream_context import Rewinds, StreamContext
from archiver.capture.kubernetes.stream_status import silent_group, whole
from archiver.capture.status import SourceStatus
from archiver.capture.unmatched_lines import UnmatchedLines
from archiver.errors import Refused
from archiver.kubernetes.api import Api
from archiver.kubernetes.cluster import Cluster, identify

if TYPE_CHECKING:
    from collections.abc import Callable

    from archiver.capture.kubernetes.config import KubernetesConfig
    from archiver.capture.kubernetes.journal_view import ResumedStream
    from archiver.capture.kubernetes.reflector import Reflector
    from archiver.clock import Clock
    from archiver.journal.writer import Writer

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
        self._silent: Callable[[], list[str]] = list
        self._last = 0
        self._phase: SourceStatus | None = None
        self._unmatched = UnmatchedLines(name)

    def status(self) -> SourceStatus:
        """A snapshot of all streams; before the first ``run`` has reached the API server: starting."""
        if self._phase is not None:
            return self._phase
        marks = self._writer.marks
        streams = [each.figures.show(marks[name].position if name in marks else "") for name, each in sorted(self._reflectors.items())]
        streams += [silent_group(f"{self.name}/{group or 'core'}", strict=self._config.strict) for group in self._silent()]
        denied = f"{self.name}/{DEFINITIONS.group}/{DEFINITIONS.plural}"
        warnings = [f"{name}: {each.warning}" for name, each in sorted(self._reflectors.items()) if each.warning]
        for stream in streams:
            if stream.name == denied and stream.state == "failed" and not (denied in marks and marks[denied].checkpoint):
                # Without its definitions a resource is captured all the same. Once they were, nobody may think that they still are.
                stream.state = "stopped"
                warnings.append(f"custom resource definitions are not captured: {stream.detail}")
        return msgspec.structs.replace(whole(self.name, streams, warnings), unmatched=self._unmatched.lines, strict=self._config.strict)

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
            cluster = await identify(api)
            found = await discover(api, selectors)
            await self._compare(api, found)
            marks = self._writer.marks
            resumed = await resume_living(self._writer.reader(), marks, self.name)

            async def recall(stream: str) -> ResumedStream | None:
                return await resume_ended(self._writer.reader(), marks, stream)

            outbox = Outbox(self._writer, self._config.queue_bytes)
            capture = ClusterCapture(self.name, self._context(api, outbox, cluster), selectors, cluster, resumed, self._unmatched, recall)
            self._reflectors, self._silent = capture.reflectors, lambda: capture.silent
            self._phase = None
            try:
                await capture.run(found, stop)
            finally:
                self._last = max(self._last, outbox.last)
            await self._writer.durable(self._last)
            self._phase = msgspec.structs.replace(self.status(), state="stopped")
        finally:
            await api.close()

    async def _compare(self, api: Api, found: Discovery) -> None:
        """Say which lines of the settings select nothing at the start. ``Refused`` where the settings are strict."""
        self._unmatched.found(await selects_nothing(api, self._config, found))
        if self._unmatched.lines and self._config.strict:
            raise Refused(
                f"it selects nothing: {'; '.join(self._unmatched.lines)}",
                hint="correct the settings, or leave `strict` when what they name is still to come",
            )

    def _context(self, api: Api, outbox: Outbox, cluster: Cluster) -> StreamContext:
        return StreamContext(
            api=api,
            outbox=outbox,
            clock=self._clock,
            config=self._config,
            cluster=cluster.text,
            lists=asyncio.Semaphore(self._config.list_concurrency),
            # One object from the watch cache costs next to nothing beside a list.
            probes=asyncio.Semaphore(8 * self._config.list_concurrency),
            rewinds=Rewinds(),
        )
