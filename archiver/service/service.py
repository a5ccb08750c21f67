"""The composition root: opens the store, fences the archive, supervises sources, stops everything in order.

Order of a clean stop: sources stop reading and hand over what they received; the writer makes it durable; sources acknowledge it;
the writer closes its session. Whatever does not fit into the grace period is not lost: it was not acknowledged, so its source sends it
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec
import structlog

from archiver import __version__
from archiver.capture.status import SourceStatus
from archiver.clock import Clock
from archiver.errors import ArchiverError, Bug, Corrupt, Fenced, HistoryLost, Invalid, Refused, Unavailable
from archiver.journal.drill_reports import FAILED, DrillReport, newest
from archiver.journal.writer import Writer, WriterLimits
from archiver.service.clock_steps import record_steps
from archiver.service.maintainer import Maintainer
from archiver.service.status import ArchiveStatus, Drill, FailedDrills, add_maintenance, lay_over, lines
from archiver.settings import Settings
from archiver.store.open import open_store
from archiver.store.probe import probe
from archiver.store.protocol import Store
from archiver.waiting import GrowingPause, first_of, unless

DRILL_SECONDS = 60.0
"""How often the archive is asked for newer drills."""

END_SECONDS = 2.0
"""How long what was cancelled may take to clean up before it is cancelled again."""

log = structlog.get_logger()

Result = TypeVar("Result")


class Source(Protocol):
    """One thing that is captured. Built per source by ``build_sources``, run again after each failure."""

    name: str

    def status(self) -> SourceStatus:
        """How it stands now; never blocks, never fails."""
        ...

    async def run(self, stop: asyncio.Event) -> None:
        """One attempt. Returns after ``stop`` once everything received is durable and acknowledged; raises ``ArchiverError`` otherwise."""
        ...


class SupervisedSource:
    """A source and how its attempts went."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.attempts = 0
        self.failures = 0
        self.error: ArchiverError | None = None
        """Why it is not running now; None while it runs."""

    @property
    def hopeless(self) -> bool:
        """Waiting for an operator: trying again by itself cannot help."""
        return isinstance(self.error, (Invalid, Refused, HistoryLost))


class Service:
    """One running archiver."""

    def __init__(self, settings: Settings, clock: Clock, build: Callable[[Settings, Writer, Clock], list[Source]]) -> None:
        self.settings = settings
        self.clock = clock
        self._build = build
        self.store: Store | None = None
        self.writer: Writer | None = None
        self.sources: list[SupervisedSource] = []
        self.maintainer = Maintainer(settings, clock)
        self._drills: dict[str, DrillReport] = {}
        self._failed_drills: dict[str, DrillReport] = {}
        self._failed = asyncio.Event()
        self._began = clock.now()

    async def run(self, stop: asyncio.Event) -> None:
        """Capture until ``stop``, then stop cleanly within the grace period; also while it still waits for another archiver's end.

        Raises what ended it: ``Fenced``, ``Corrupt``, ``Bug`` from the journal, or the first source's error when every source needs an
        operator. Cancellation stops at once; everything acknowledged by then is durable.
        """
        archive = self.settings.archive
        self.store = await open_store(archive.url, archive.s3)
        try:
            opened = await unless(stop, self._open(self.store))
            if opened is None:
                log.info("stopped_before_the_session")
                return
            self.writer = opened
            beside = [
                asyncio.create_task(self._watch_drills(self.store)),
                asyncio.create_task(record_steps(self.writer, self.clock)),
                asyncio.create_task(self.maintainer.run()),
            ]
            try:
                await self._capture(self.writer, stop)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
        finally:
            await self.store.close()

    async def _open(self, store: Store) -> Writer:
        archive = self.settings.archive
        report = await probe(store, self.clock, allow_unfenced=archive.allow_unfenced_store)
        log.info("store_probed", url=store.url, checks=len(report.passed))
        for name, finding in report.failed:
            log.warning("store_check_failed", check=name, finding=finding)
        writer = await Writer.open(
            store,
            self.clock,
            instance=archive.instance or platform.node() or "archiver",
            version=__version__,
            sources=kinds(self.settings),
            limits=limits(self.settings),
        )
        log.info("session_opened", archive=writer.archive, epoch=writer.epoch, entry=writer.durable_seq)
        return writer

    async def _watch_drills(self, store: Store) -> None:
        """Keep in mind what the newest recorded drills say."""
        after = after_failed = ""
        # Names of years are there once at most.
        first = self.clock.now()
        while True:
            try:
                after, reports = await newest(store, self.settings.sources, after, now=first)
                self._drills |= reports
                after_failed, reports = await newest(store, self.settings.sources, after_failed, prefix=FAILED, now=first)
                self._failed_drills |= reports
                first = 0
            except ArchiverError as error:
                log.warning("drills_unknown", reason=error.message)
            await self.clock.sleep(DRILL_SECONDS)

    @property
    def drill(self) -> Drill | None:
        """What is proven of every source: the oldest of their newest drills."""
        if not self._drills or self._drills.keys() != self.settings.sources.keys():
            return None
        oldest = min(self._drills.values(), key=lambda report: report.finished)
        return Drill(oldest.finished, oldest.point, oldest.restore_seconds)

    @property
    def failed_drills(self) -> FailedDrills:
        """What is wrong by the newest drill of a source, and not made good by a later one."""
        passed = {name: report.finished for name, report in self._drills.items()}
        failed = {name: report for name, report in self._failed_drills.items() if report.finished > passed.get(name, 0)}
        wrong = {(each.source, each.name) for report in failed.values() for each in report.assertions if not each.holds}
        return FailedDrills(len(failed), sum(source in failed for source, _ in wrong))

    def status(self) -> ArchiveStatus:
        """How everything stands now. Before the journal is open it says so by zeros, and its age counts from the start of the process."""
        now, writer = self.clock.now(), self.writer
        if writer is None or self.store is None:
            return ArchiveStatus(
                archive="",
                url=self.settings.archive.url,
                segment=-1,
                epoch=0,
                last_entry=0,
                last_commit=0,
                age_seconds=max(0.0, (now - self._began) / 1e6),
                drill=self.drill,
                failed_drills=self.failed_drills,
            )
        status = ArchiveStatus(
            archive=writer.archive,
            url=self.store.url,
            segment=writer.durable_segment,
            epoch=writer.epoch,
            last_entry=writer.durable_seq,
            last_commit=writer.last_commit,
            age_seconds=writer.age_seconds,
            buffered_bytes=writer.buffered_bytes,
            sources=lines(writer.marks, kinds(self.settings), now, writer.rpo_seconds),
            drill=self.drill,
            failed_drills=self.failed_drills,
        )
        running = [(item.source.status(), item.failures, item.error.message if item.error else "") for item in self.sources]
        lay_over(status.sources, running)
        for line in status.sources:
            if (maintenance := self.maintainer.known.get(line.name.partition("/")[0])) is not None:
                add_maintenance(line, maintenance)
        return status

    async def _capture(self, writer: Writer, stop: asyncio.Event) -> None:
        self.sources = [SupervisedSource(source) for source in self._build(self.settings, writer, self.clock)]
        commit = asyncio.create_task(writer.run(), name="commit")
        captures = [asyncio.create_task(self._supervise(item, stop), name=item.source.name) for item in self.sources]
        stopping: asyncio.Task[object] = asyncio.create_task(stop.wait(), name="stop")
        try:
            while not stop.is_set():
                failed: asyncio.Task[object] = asyncio.create_task(self._failed.wait())
                everything: list[asyncio.Task[Any]] = [commit, stopping, failed, *captures]
                await first_of(*everything)
                failed.cancel()
                self._failed.clear()
                for work in (commit, *captures):
                    if work.done() and not stop.is_set():
                        work.result()
                        raise Bug(f"{work.get_name()} ended without being asked to", hint="report it with the log")
                if self.sources and all(item.hopeless for item in self.sources):
                    reason = next(item.error for item in self.sources if item.error is not None)
                    # What was handed in says why, and a closed session lets the next archiver begin at once.
                    with contextlib.suppress(ArchiverError, TimeoutError):
                        async with asyncio.timeout(self.settings.grace_seconds):
                            await writer.close()
                    raise reason
            await self._stop(writer, commit, captures)
        finally:
            await end(commit, stopping, *captures)

    async def _stop(self, writer: Writer, commit: asyncio.Task[None], captures: list[asyncio.Task[None]]) -> None:
        log.info("stopping", grace_seconds=self.settings.grace_seconds, buffered_bytes=writer.buffered_bytes)
        try:
            async with asyncio.timeout(self.settings.grace_seconds):
                # The commit loop may fail meanwhile: then nothing more becomes durable and waiting is pointless.
                waiting = set(captures)
                while waiting and not commit.done():
                    waiting -= await first_of(*waiting, commit)
                if commit.done():
                    commit.result()
                for capture in captures:
                    capture.result()
                await writer.close()
                await commit
        except TimeoutError:
            raise Unavailable(
                f"did not finish within the grace period of {self.settings.grace_seconds:g} s",
                hint="nothing is lost: what was not durable was not acknowledged, and its source sends it again after the next start",
            ) from None
        log.info("stopped", entry=writer.durable_seq)

    async def _supervise(self, item: SupervisedSource, stop: asyncio.Event) -> None:
        """Run one source again and again; what an error means is this table.

        Unavailable: again after a pause that doubles. Invalid, Refused, HistoryLost: an operator must act, so again after the longest
        pause; the service ends when all sources wait so. Fenced, Corrupt, Bug: the whole service stops.
        """
        longest = self.settings.retry_limit_seconds
        pause = GrowingPause(self.settings.retry_seconds, longest, least=0.75, most=1.25)
        while not stop.is_set():
            item.attempts += 1
            began = self.clock.monotonic()
            try:
                await item.source.run(stop)
            except (Fenced, Corrupt, Bug):
                raise
            except (Exception, asyncio.CancelledError) as caught:
                task = asyncio.current_task()
                if isinstance(caught, asyncio.CancelledError) and task is not None and task.cancelling():
                    raise
                error = caught if isinstance(caught, ArchiverError) else _unexpected(item.source.name, caught)
                item.error = error
                item.failures += 1
                self._failed.set()
                log.error("source_failed", source=item.source.name, error=error.message, hint=error.hint, attempt=item.attempts)
                if self.clock.monotonic() - began > longest:
                    pause.reset()
                wait = pause.next(self.clock.random(), at_longest=item.hopeless)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), wait)
                item.error = None
            else:
                if not stop.is_set():
                    raise Bug(f"source {item.source.name} ended without being asked to", hint="report it with the log")


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel ``tasks`` and return when they have ended.

    A driver that is cancelled within a query asks its server to cancel it too and waits many seconds for the answer; a second
    cancellation ends that.
    """
    for _ in range(2):
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=END_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


def _unexpected(source: str, error: BaseException) -> Bug:
    """What nobody foresaw in one source must not stop the others: it is told with its trace, and tried again."""
    log.error("source_bug", source=source, exc_info=error)
    return Bug(f"source {source} failed unexpectedly: {type(error).__name__}", hint="report it with the log")


def kinds(settings: Settings) -> dict[str, str]:
    """Source name to ``postgres`` or ``kubernetes``."""
    return {name: "postgres" if source.postgres is not None else "kubernetes" for name, source in settings.sources.items()}


def limits(settings: Settings) -> WriterLimits:
    """The writer's part of the settings."""
    return msgspec.convert(settings.archive, WriterLimits, from_attributes=True)
