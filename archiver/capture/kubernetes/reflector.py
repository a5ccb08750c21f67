"""One stream: list and watch one resource in one scope into the journal, for ever. What to do next is ``listwatch``'s decision."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from archiver.capture.kubernetes.collection import next_page, no_list, page_of
from archiver.capture.kubernetes.entry_writer import EntryWriter
from archiver.capture.kubernetes.failures import Failure, failure_of
from archiver.capture.kubernetes.listwatch import ListWatch, Step
from archiver.capture.kubernetes.off_loop import off_loop
from archiver.capture.kubernetes.silence import Silence
from archiver.capture.kubernetes.stream_context import Interest
from archiver.capture.kubernetes.stream_journal import StreamJournal
from archiver.capture.kubernetes.stream_status import StreamFigures
from archiver.capture.kubernetes.verify_schedule import VerifySchedule
from archiver.capture.kubernetes.watch_batch import WatchBatch
from archiver.capture.kubernetes.watch_lines import LineSplitter, TooLong
from archiver.errors import Unavailable
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.list_pages import ListPages
from archiver.kubernetes.page_size import SINGLE_BYTES, PageSize
from archiver.untrusted import Unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from archiver.capture.kubernetes.journal_view import ResumedStream
    from archiver.capture.kubernetes.known_objects import Version
    from archiver.capture.kubernetes.stream_context import StreamContext
    from archiver.capture.kubernetes.stream_scope import StreamScope
    from archiver.kubernetes.stream_state import Key, StreamState

_WATCH_SECONDS = (300, 600)
_EARLY_SECONDS = 5.0
_LIVING_SECONDS = 5.0
"""A watch that was open for so long was one, whether it said anything or not."""

_log = structlog.get_logger()


class Reflector:
    """``run`` captures until it is cancelled; ``close`` or ``end`` afterwards."""

    def __init__(
        self,
        scope: StreamScope,
        context: StreamContext,
        *,
        resumed: ResumedStream | None,
        replaced: bool,
        interest: Interest | None = None,
    ) -> None:
        """``resumed``: the stream as the journal has it. ``replaced``: the cluster is another one than the journal knows."""
        state = resumed.state if resumed is not None else None
        self._context, self._interest = context, interest or Interest()
        newest = state.observed if state is not None else 0
        self._entries = EntryWriter(scope, context.outbox, context.clock, context.cluster, context.api.server, newest)
        self.figures = StreamFigures(
            scope.stream,
            epoch=state.epoch if state else 0,
            position=state.position if state else "",
            strict=context.config.strict,
        )
        self._machine = _beginning(state, scope, self._interest.redacted, replaced=replaced)
        self.warning = _newly_redacted(state, self._interest.redacted)
        """What of the stream's past its user should know; empty: nothing."""
        if self.warning:
            _log.warning("redacted_from_now_on", stream=scope.stream, reason=self.warning)
        self._journal = StreamJournal(
            self._entries,
            self.figures,
            self._machine,
            context.clock,
            interest=self._interest,
            heartbeat=context.config.heartbeat_seconds,
            resumed=resumed,
        )
        self._silence = Silence()
        self._schedule = VerifySchedule(context.config.verify_seconds)
        self._listed_generation = 0
        self._rewinds = context.rewinds.count
        self._deadline: asyncio.Timeout | None = None
        """Of the watch that is open."""
        context.rewinds.tell(self._wake)

    @property
    def scope(self) -> StreamScope:
        """What is captured."""
        return self._entries.scope

    async def run(self) -> None:
        """Capture for ever. Raises only what the journal raises; everything that the API server does is met with another attempt."""
        machine, clock, context = self._machine, self._context.clock, self._context
        self._schedule.begin(clock.monotonic(), clock.random())
        while True:
            if machine.pause:
                await clock.sleep(machine.pause)
                machine.pause = 0.0
            if context.outbox.full:
                await context.outbox.room()
            self._heed_rewinds()
            match machine.step:
                case Step.LIST:
                    async with context.lists:
                        await self._list()
                case Step.PROBE:
                    async with context.probes:
                        await self._probe()
                case Step.CONFIRM:
                    async with context.probes:
                        await self._confirm()
                case Step.COMPARE:
                    async with context.lists:
                        await self._compare()
                case Step.WATCH:
                    await self._watch()

    def _heed_rewinds(self) -> None:
        """What one stream finds out about its cluster's past holds for all of them."""
        machine, rewinds = self._machine, self._context.rewinds
        if machine.rewound:
            machine.rewound = False
            if self._rewinds == rewinds.count:
                _log.error("cluster_rewound", stream=self.scope.stream, position=machine.position)
                rewinds.found()
            self._rewinds = rewinds.count
        elif self._rewinds < rewinds.count:
            self._rewinds = rewinds.count
            machine.replaced()

    def _wake(self) -> None:
        """End the watch that is open: another stream has found that the cluster went back in time."""
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time())

    def resume(self, scope: StreamScope) -> None:
        """``run`` was cancelled, or never called: it may begin. It lists what is served again or otherwise, and else goes on."""
        changed = self.scope.resource != scope.resource
        if changed:
            self._machine.cause = "schema_changed"
        if changed or self.figures.phase == "ended":
            self._machine.step = Step.LIST
        self._entries.scope = scope
        self.figures.phase = "waiting"

    def close(self) -> None:
        """After ``run`` was cancelled: hand over the position that is not journaled yet, or that nothing was heard at the end."""
        if self.figures.phase != "ended":
            self._journal.close(self._silence.reason)

    def end(self) -> None:
        """After ``run`` was cancelled: the resource is no longer served. What was known is gone; nothing is known until it comes back."""
        self._journal.end()
        self._machine.cause = "start"
        self._silence.broken()
        self.figures.phase, self.figures.problem = "ended", ""

    def leave(self) -> None:
        """Instead of ``run``: the settings do not select it any more."""
        self._journal.leave()
        self.figures.phase = "ended"

    async def _probe(self) -> None:
        context, clock = self._context, self._context.clock
        params = {"limit": "1", "resourceVersion": self._machine.position, "resourceVersionMatch": "NotOlderThan"}
        _, failure = await page_of(context.api, self.scope.path, params)
        self._note(failure)
        self._machine.probed(failure, clock.monotonic(), clock.random())

    async def _confirm(self) -> None:
        context, clock = self._context, self._context.clock
        page, failure = await page_of(context.api, self.scope.path, {"limit": "1"})
        now, chance = clock.monotonic(), clock.random()
        if page is None:
            assert failure is not None
            self._note(failure)
            self._machine.probed(failure, now, chance)
        else:
            known = self._journal.place or self._machine.position
            self._machine.confirmed(page.metadata.resource_version, known, now, chance)

    async def _compare(self) -> None:
        """Whether the cluster's past is the one that is known: its objects at exactly the place of what is known."""
        context, clock = self._context, self._context.clock
        place = self._journal.place
        if not place:
            self._machine.verify()
            return
        listed: dict[Key, Version] = {}
        follow, size, pages = "", PageSize(context.config.page_size), ListPages()
        while True:
            page, follow, failure = await next_page(context.api, self.scope.path, follow, size, pages, exact=place)
            try:
                for meta in map(kj.listed, (page.items or []) if page is not None else []):
                    listed[meta.namespace, meta.name] = (meta.uid, meta.resource_version)
            except Unreadable as error:
                failure = no_list(error)
            if failure is not None and failure.kind != "expired":
                self._note(failure)
            if failure is not None or not follow:
                break
        same = failure is None and self._journal.agrees(listed)
        self._machine.compared(failure, same=same, now=clock.monotonic(), chance=clock.random())

    async def _list(self) -> None:
        """One consistent list in pages. Its K8S_WATCH is journaled once the server has said at which resourceVersion it lists."""
        context, clock = self._context, self._context.clock
        self.figures.phase = "listing"
        listed: dict[Key, Version] = {}
        first, version, follow, size, pages = 0, "", "", PageSize(context.config.page_size), ListPages()
        asked = clock.now()
        while True:
            page, follow, failure = await next_page(context.api, self.scope.path, follow, size, pages)
            if page is None:
                assert failure is not None
                self._list_failed(failure, listed)
                return
            if not first:
                version = page.metadata.resource_version
                if self._machine.cause == "expired" and self._listed_generation not in (0, self._interest.generation()):
                    self._machine.cause = "schema_changed"
                self._machine.list_began(version)
                self._listed_generation = self._interest.generation()
                first = await self._journal.list_began()
            try:
                await self._journal.items(page.items or [], listed)
            except Unreadable as error:
                self._list_failed(no_list(error), listed)
                return
            if not follow:
                break
            if context.outbox.full:
                await context.outbox.room()
        self._journal.complete(listed, version, first, asked)
        self._silence.broken()
        self._note(None)
        self._schedule.listed(clock.monotonic(), clock.random())

    def _list_failed(self, failure: Failure, listed: dict[Key, Version]) -> None:
        now, chance = self._context.clock.monotonic(), self._context.clock.random()
        self._note(failure)
        self._journal.list_failed(listed)
        self._machine.list_failed(failure, now, chance)
        self._schedule.begin(now, chance)

    async def _watch(self) -> None:
        machine, clock = self._machine, self._context.clock
        low, high = _WATCH_SECONDS
        asked = round(low + clock.random() * (high - low))
        params = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": machine.position,
            "timeoutSeconds": str(asked),
        }
        began, heard = clock.monotonic(), self.figures.events
        failure = await self._receive(params)
        lasted = clock.monotonic() - began
        if lasted > _LIVING_SECONDS:
            self._silence.broken()
        if machine.step is not Step.WATCH or self._rewinds < self._context.rewinds.count:
            return
        if failure is not None:
            self._note(failure)
        else:
            self.figures.restarts["timeout"] += 1
        early = lasted < asked - _EARLY_SECONDS
        if failure is None and early:
            # The server ends watches early when the definition changed. Until then it sent objects as the old schema has them, without
            # fields that they hold already; no event will ever bring those, a list does.
            self._schedule.ended_early(clock.monotonic())
        heard_something = self.figures.events > heard
        machine.watch_ended(failure, lasted, heard=heard_something, early=early, now=clock.monotonic(), chance=clock.random())

    async def _receive(self, params: dict[str, str]) -> Failure | None:
        """Receive until the response ends, breaks off, says nothing for too long, or something else is due; why, None for in order."""
        inactivity = self._context.config.inactivity_seconds
        loop = asyncio.get_running_loop()
        lines = LineSplitter(SINGLE_BYTES)
        until = loop.time() + inactivity
        verify = self._verify_deadline(loop.time())
        try:
            async with (
                asyncio.timeout_at(min(until, verify)) as deadline,
                self._context.api.receive("GET", self.scope.path, params, identity=True) as response,
            ):
                self._deadline = deadline
                if self._rewinds < self._context.rewinds.count:
                    return None
                if response.status != 200:
                    return failure_of(response.status, await response.body(), response.retry_after)
                self.figures.phase = "watching"
                self._note(None)
                while chunk := await response.chunk():
                    complete = lines.feed(chunk)
                    if not complete:
                        continue
                    failure = await self._lines(complete)
                    if failure is not None:
                        return failure
                    until, verify = loop.time() + inactivity, self._verify_deadline(loop.time())
                    deadline.reschedule(min(until, verify))
                    if self._context.outbox.full:
                        self._give_up()
                        return None
        except TimeoutError:
            if verify < until:
                self._machine.verify()
                return None
            return Failure("unavailable", f"neither event nor bookmark for {inactivity:g} s")
        except (Unavailable, TooLong) as error:
            return Failure("unavailable", str(error))
        finally:
            self._deadline = None
        return None

    async def _lines(self, lines: Sequence[bytes]) -> Failure | None:
        """Journal the events among ``lines``; a failure when one is an ERROR or no watch line."""
        interest, since = self._interest, self._machine.position

        def read() -> WatchBatch:
            return WatchBatch.of(lines, interest.keep, since=since, redactor=interest.redactor)

        batch = read() if interest.redactor is None else await off_loop(sum(map(len, lines)), read)
        self._journal.events(batch)
        if batch.version:
            self._silence.broken()
            self._listed_generation = self._listed_generation or self._interest.generation()
        return batch.failure

    def _give_up(self) -> None:
        self._machine.overflow()
        self.figures.restarts["overflow"] += 1
        _log.warning(
            "watch_given_up", stream=self.scope.stream, reason="the journal does not keep up", queued_bytes=self._context.outbox.held_bytes
        )

    def _verify_deadline(self, now: float) -> float:
        """When the next verifying list is due, on the event loop's clock: not before the last one is concluded."""
        return float("inf") if self._journal.verifying else now + self._schedule.wait(self._context.clock.monotonic())

    def _note(self, failure: Failure | None) -> None:
        figures = self.figures
        if failure is None:
            figures.problem = ""
            return
        figures.restarts[failure.kind] += 1
        figures.phase = "denied" if failure.kind == "denied" else "failing"
        figures.problem = failure.message
        if failure.kind not in ("expired", "ahead") and self._silence.failed(
            failure.message, self._context.clock.monotonic(), denied=failure.kind == "denied"
        ):
            self._journal.unwatched(failure.message)
        _log.warning("watch_interrupted", stream=self.scope.stream, kind=failure.kind, reason=failure.message)


def _beginning(state: StreamState | None, scope: StreamScope, redacted: Sequence[str], *, replaced: bool) -> ListWatch:
    """Where a stream begins that the journal has as ``state``. ``redacted``: the paths that the settings keep out of it now."""
    if state is None:
        return ListWatch(position="", epoch=0, resumable=False)
    # Another version of the API writes other bytes for the same objects: they are listed anew.
    same = state.resource is not None and state.resource.version == scope.resource.version
    machine = ListWatch(
        position=state.position,
        epoch=state.epoch,
        resumable=state.complete and same,
        replaced=state.listing is not None and (replaced or state.replaced),
    )
    if state.complete and not same and not replaced:
        machine.cause = "schema_changed"
    if machine.step is Step.PROBE and state.listing is not None and state.listing.redacted != list(redacted):
        # What is known has the values still, or lacks some that are captured from now on; no event would ever tell.
        machine.verify()
    return machine


def _newly_redacted(state: StreamState | None, redacted: Sequence[str]) -> str:
    """Which paths the journal has of a stream that are redacted by now, for people; empty: none."""
    listing = state.listing if state is not None else None
    newly = [path for path in redacted if path not in listing.redacted] if listing is not None else []
    if not newly:
        return ""
    return f"{', '.join(newly)} redacted from now on: what was captured before has the values until retention deletes it"
