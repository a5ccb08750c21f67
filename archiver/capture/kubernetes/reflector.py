"""One stream: list and watch one resource in one scope into the journal, for ever. What to do next is ``listwatch``'s decision."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.capture.kubernetes.entry_writer import Entries
from archiver.capture.kubernetes.failures import Failure, failure_of
from archiver.capture.kubernetes.journal_view import EVENTS_MISSED
from archiver.capture.kubernetes.known_objects import Known, Verification
from archiver.capture.kubernetes.listwatch import ListWatch, Step
from archiver.capture.kubernetes.stream_scope import Target
from archiver.capture.kubernetes.stream_status import StreamFigures
from archiver.capture.kubernetes.watch_lines import Lines
from archiver.errors import Unavailable
from archiver.journal.records import Gap
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.records import Listing
from archiver.kubernetes.stream_state import RESOURCE_GONE, Key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from archiver.capture.kubernetes.config import KubernetesConfig
    from archiver.capture.kubernetes.journal_view import Resumed
    from archiver.capture.kubernetes.known_objects import Version
    from archiver.capture.kubernetes.outbox import Outbox
    from archiver.clock import Clock
    from archiver.kubernetes.api import Api

_FIRST_PAGE = 100
_PAGE_BYTES = 4_194_304
_LIST_SECONDS = 120.0
_WATCH_SECONDS = (300, 600)
_EARLY_SECONDS = 5.0
_SETTLED_SECONDS = 2.0
_FIRST_VERIFY_SECONDS = 30.0
_OBJECT_EVENTS = frozenset(("ADDED", "MODIFIED", "DELETED"))

_log = structlog.get_logger()


class Reflector:
    """``run`` captures until it is cancelled; ``close`` or ``end`` afterwards."""

    def __init__(
        self,
        target: Target,
        *,
        api: Api,
        outbox: Outbox,
        clock: Clock,
        config: KubernetesConfig,
        slots: asyncio.Semaphore,
        probes: asyncio.Semaphore,
        cluster: str,
        replaced: bool,
        resumed: Resumed | None,
        keep: Callable[[str], bool] | None = None,
        noticed: Callable[[kj.Meta], None] | None = None,
        generation: Callable[[], int] = lambda: 0,
    ) -> None:
        """What is given beside the target:

        - ``slots`` and ``probes`` bound lists, and requests for one object, over all streams of the source.
        - ``resumed``: the stream as the journal has it. ``replaced``: the cluster is another one than the journal knows.
        - ``keep``: names of objects that are captured; the others are not journaled. ``noticed`` is told of every object captured.
        - ``generation`` of the resource's definition, as far as it is known; 0 unknown.
        """
        state = resumed.state if resumed is not None else None
        self._entries = Entries(target, outbox, clock, cluster, api.server)
        self.figures = StreamFigures(target.stream, epoch=state.epoch if state else 0, position=state.position if state else "")
        self._api, self._outbox, self._clock, self._config, self._slots = api, outbox, clock, config, slots
        self._probes = probes
        self._keep = keep
        self._noticed = noticed
        self._generation = generation
        self._listed_generation = 0
        # Another version of the API writes other bytes for the same objects: they are listed anew.
        same = state is not None and state.resource is not None and state.resource.version == target.resource.version
        self._machine = ListWatch(
            position=state.position if state else "",
            epoch=state.epoch if state else 0,
            resumable=state is not None and state.complete and same,
            replaced=state is not None and state.listing is not None and (replaced or state.replaced),
        )
        if state is not None and state.complete and not same and not replaced:
            self._machine.cause = "schema_changed"
        objects = {key: (seen.uid, seen.resource_version) for key, seen in state.known().items()} if state else {}
        self._known = Known({key: version for key, version in objects.items() if keep is None or keep(key[1])})
        if state is not None and state.listing is not None:
            self._known.floor = state.listing.resource_version
        self._covered = state is not None and state.listing is not None
        """Whether there is history before the next list, so that what happened in between is a gap."""
        self._heard = state.heard if state else 0
        self._agreed = resumed.agreed if resumed is not None else ("", 0)
        self._verification = resumed.verification if resumed is not None else None
        if self._verification is not None and keep is not None:
            self._verification.only(keep)
        self._verify_at = float("inf")
        self._progress_at = 0.0
        self._unsaved = False

    @property
    def target(self) -> Target:
        """What is captured."""
        return self._entries.target

    async def run(self) -> None:
        """Capture for ever. Raises only what the journal raises; everything that the API server does is met with another attempt."""
        machine = self._machine
        self._schedule_verify(first=True)
        while True:
            if machine.pause:
                await self._clock.sleep(machine.pause)
                machine.pause = 0.0
            if self._outbox.full:
                await self._outbox.room()
            match machine.step:
                case Step.LIST:
                    async with self._slots:
                        await self._list()
                case Step.PROBE:
                    async with self._probes:
                        await self._probe()
                case Step.CONFIRM:
                    async with self._probes:
                        await self._confirm()
                case Step.WATCH:
                    await self._watch()

    def resume(self, target: Target) -> None:
        """``run`` was cancelled, or never called: it may begin. It lists what is served again or otherwise, and else goes on."""
        changed = self.target.resource != target.resource
        if changed:
            self._machine.cause = "schema_changed"
        if changed or self.figures.phase == "ended":
            self._machine.step = Step.LIST
        self._entries.target = target
        self.figures.phase = "waiting"

    def close(self) -> None:
        """After ``run`` was cancelled: hand over the position that is not journaled yet."""
        if self._unsaved:
            self._entries.progress(self._machine.position)
            self._unsaved = False

    def end(self) -> None:
        """After ``run`` was cancelled: the resource is no longer served. What was known is gone; nothing is known until it comes back."""
        self._entries.absent(self._known.objects, self._heard, self._clock.now())
        self._gap(RESOURCE_GONE, "the API server no longer serves it", to_position="", to_time=0)
        self._known = Known()
        self._covered = False
        self._verification = None
        self._machine.cause = "start"
        self.figures.phase, self.figures.objects, self.figures.problem = "ended", 0, ""

    async def _probe(self) -> None:
        params = {"limit": "1", "resourceVersion": self._machine.position, "resourceVersionMatch": "NotOlderThan"}
        _, failure = await self._page(params)
        self._note(failure)
        self._machine.probed(failure, self._clock.monotonic(), self._clock.random())

    async def _confirm(self) -> None:
        page, failure = await self._page({"limit": "1"})
        now, chance = self._clock.monotonic(), self._clock.random()
        if page is None:
            assert failure is not None
            self._note(failure)
            self._machine.probed(failure, now, chance)
        else:
            self._machine.confirmed(page.metadata.resource_version, now, chance)

    async def _list(self) -> None:
        """One consistent list in pages. Its K8S_WATCH is journaled once the server has said at which resourceVersion it lists."""
        self.figures.phase = "listing"
        listed: dict[Key, Version] = {}
        first, version, follow, limit = 0, "", "", min(_FIRST_PAGE, self._config.page_size)
        asked = self._clock.now()
        while True:
            page, failure = await self._page({"limit": str(limit)} | ({"continue": follow} if follow else {}))
            if page is None:
                assert failure is not None
                self._note(failure)
                # What was journaled of this list did exist.
                self._known.objects |= listed
                self._machine.list_failed(failure, self._clock.monotonic(), self._clock.random())
                self._schedule_verify(first=True)
                return
            if not first:
                version = page.metadata.resource_version
                if self._machine.cause == "expired" and self._listed_generation not in (0, self._generation()):
                    self._machine.cause = "schema_changed"
                self._machine.list_began(version)
                self._listed_generation = self._generation()
                first = await self._entries.listing(self._machine.epoch, self._machine.cause)
            size = self._items(page.items or [], listed)
            follow = page.metadata.continue_
            if not follow:
                break
            limit = max(1, min(self._config.page_size, limit * _PAGE_BYTES // max(size, 1)))
            if self._outbox.full:
                await self._outbox.room()
        self._complete(listed, version, first, asked)

    def _items(self, items: Sequence[msgspec.Raw], listed: dict[Key, Version]) -> int:
        bodies: list[bytes] = []
        for item in items:
            meta = kj.head.decode(item).metadata
            if self._keep is None or self._keep(meta.name):
                listed[meta.namespace, meta.name] = (meta.uid, meta.resource_version)
                bodies.append(bytes(item))
                if self._noticed is not None:
                    self._noticed(meta)
        self._entries.items(bodies)
        size = sum(map(len, bodies))
        self.figures.bytes += size
        return size

    def _complete(self, listed: dict[Key, Version], version: str, first: int, asked: int) -> None:
        machine, now = self._machine, self._clock.now()
        cause = machine.cause
        difference = self._known.compare(listed)
        if cause == "verify":
            self._verification = Verification(difference, machine.position, version, now) if kj.comparable(version) else None
        else:
            self._entries.absent(difference.gone, self._heard, now)
            gone, changed = len(difference.gone), len(difference.changed)
            since, time = "", 0
            if self._verification is not None:
                # No event will explain any more what that list found: it is part of the gap, as far back as a list agreed.
                since, time = self._agreed
                self._entries.absent(dict(self._verification.gone.values()), time, self._verification.time)
                gone, changed = gone + len(self._verification.gone), changed + len(self._verification.changed)
            if self._covered:
                reason = "cluster_changed" if cause == "cluster_changed" else "overflow" if machine.overflowed else "watch_expired"
                detail = f"{changed} objects changed and {gone} gone while nobody watched ({cause})"
                self._gap(reason, detail, to_position=version, to_time=asked, from_position=since, from_time=time)
            self._verification = None
        resource, namespace = self.target.resource, self.target.namespace
        listing = Listing(resource, namespace, machine.epoch, version, len(listed), first, cause)
        self._entries.listed(listing, "" if cause == "verify" else version)
        self._known.replace(listed, version)
        machine.listed(version)
        self._covered = True
        figures = self.figures
        figures.lists[cause] += 1
        figures.listed, figures.epoch, figures.objects, figures.position = now, machine.epoch, len(listed), machine.position
        if cause != "verify":
            # The list was true at some time after it was asked for.
            self._heard = figures.heard = asked
            self._agreed = (version, now)
            self._unsaved = False
        self._note(None)
        self._schedule_verify(first=False)
        self._settle()
        _log.info("listed", stream=self.target.stream, cause=cause, objects=len(listed), position=version, epoch=machine.epoch)

    async def _watch(self) -> None:
        machine, clock = self._machine, self._clock
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
        if machine.step is not Step.WATCH:
            return
        if failure is not None:
            self._note(failure)
        else:
            self.figures.restarts["timeout"] += 1
        lasted = clock.monotonic() - began
        if failure is None and lasted < asked - _EARLY_SECONDS:
            # The server ends watches early when the definition changed. Until then it sent objects as the old schema has them, without
            # fields that they hold already; no event will ever bring those, a list does.
            self._verify_at = min(self._verify_at, clock.monotonic() + _SETTLED_SECONDS)
        machine.watch_ended(failure, lasted, heard=self.figures.events > heard, now=clock.monotonic(), chance=clock.random())

    async def _receive(self, params: dict[str, str]) -> Failure | None:
        """Receive until the response ends, breaks off, says nothing for too long, or something else is due; why, None for in order."""
        inactivity = self._config.inactivity_seconds
        loop = asyncio.get_running_loop()
        lines = Lines()
        until = loop.time() + inactivity
        verify = self._verify_deadline(loop.time())
        try:
            async with (
                asyncio.timeout_at(min(until, verify)) as deadline,
                self._api.receive("GET", self.target.path, params, identity=True) as response,
            ):
                if response.status != 200:
                    return failure_of(response.status, await response.body(), response.retry_after)
                self.figures.phase = "watching"
                self._note(None)
                while chunk := await response.chunk():
                    complete = lines.feed(chunk)
                    if not complete:
                        continue
                    failure = self._lines(complete)
                    if failure is not None:
                        return failure
                    until, verify = loop.time() + inactivity, self._verify_deadline(loop.time())
                    deadline.reschedule(min(until, verify))
                    if self._outbox.full:
                        self._give_up()
                        return None
        except TimeoutError:
            if verify < until:
                self._machine.verify()
                return None
            return Failure("unavailable", f"neither event nor bookmark for {inactivity:g} s")
        except Unavailable as error:
            return Failure("unavailable", error.message)
        return None

    def _lines(self, lines: Sequence[bytes]) -> Failure | None:
        """Journal the events among ``lines``; a failure when one is an ERROR or no watch line."""
        bodies: list[bytes] = []
        failure: Failure | None = None
        version = bookmark = ""
        known, keep, decode = self._known, self._keep, kj.event.decode
        verification = self._verification
        for line in lines:
            try:
                event = decode(line)
            except msgspec.MsgspecError:
                failure = Failure("unavailable", "a line that is not a watch event")
                break
            if event.type in _OBJECT_EVENTS:
                version = event.object.metadata.resource_version
                if keep is None or keep(event.object.metadata.name):
                    known.event(event)
                    bodies.append(line)
                    if self._noticed is not None:
                        self._noticed(event.object.metadata)
                    if verification is not None:
                        verification.event(event)
            elif event.type == "BOOKMARK":
                version = bookmark = event.object.metadata.resource_version
            else:
                failure = (
                    failure_of(0, bytes(kj.line.decode(line).object)) if event.type == "ERROR" else Failure("unavailable", "unknown line")
                )
                break
        if version:
            self._moved(version, bodies, bookmark=bool(bookmark))
        return failure

    def _moved(self, version: str, bodies: list[bytes], *, bookmark: bool) -> None:
        now = self._clock.now()
        if self._machine.watch_cause is not None:
            # Only now is it certain that the server went on from there: an expired position is told in the stream, too.
            self._entries.watching(self._machine.epoch, self._machine.position, self._machine.watch_cause)
            self._machine.watch_cause = None
        self._listed_generation = self._listed_generation or self._generation()
        self._machine.heard(version)
        self._heard = self.figures.heard = now
        self.figures.position = version
        if self._verification is not None:
            # Before the position is: whoever begins from there must find what was missed up to there.
            self._settle()
        if bodies:
            self._entries.events(bodies, version)
            self.figures.events += len(bodies)
            self.figures.bytes += sum(map(len, bodies))
            self.figures.objects = len(self._known.objects)
            self._unsaved = False
        elif bookmark or self._keep is not None:
            self._unsaved = True
            if self._clock.monotonic() >= self._progress_at:
                self._entries.progress(version)
                self._unsaved = False
                self._progress_at = self._clock.monotonic() + self._config.heartbeat_seconds

    def _give_up(self) -> None:
        self._machine.overflow()
        self.figures.restarts["overflow"] += 1
        _log.warning(
            "watch_given_up", stream=self.target.stream, reason="the journal does not keep up", queued_bytes=self._outbox.held_bytes
        )

    def _settle(self) -> None:
        """The watch has passed a verifying list: what is still unexplained was missed."""
        verification = self._verification
        if verification is None or not verification.passed(self._machine.position):
            return
        self._verification = None
        self.figures.verified = verification.time
        missed = len(verification.gone) + len(verification.changed)
        if missed:
            self.figures.mismatches += missed
            self._entries.absent(dict(verification.gone.values()), self._agreed[1], verification.time)
            detail = f"{len(verification.changed)} objects changed and {len(verification.gone)} gone without an event (verify)"
            since, time = self._agreed
            self._gap(
                EVENTS_MISSED, detail, to_position=verification.version, to_time=verification.time, from_position=since, from_time=time
            )
            _log.error("verify_mismatch", stream=self.target.stream, changed=len(verification.changed), gone=len(verification.gone))
        self._agreed = (verification.version, verification.time)

    async def _page(self, params: dict[str, str]) -> tuple[kj.Page | None, Failure | None]:
        """One list request: the page, or why there is none."""
        try:
            answer = await self._api.get(self.target.path, params, seconds=_LIST_SECONDS)
        except Unavailable as error:
            return None, Failure("unavailable", error.message)
        if answer.status != 200:
            return None, failure_of(answer.status, answer.body, answer.retry_after)
        try:
            return kj.page.decode(answer.body), None
        except msgspec.MsgspecError:
            return None, Failure("unavailable", "an answer that is not a list")

    def _gap(self, reason: str, detail: str, *, to_position: str, to_time: int, from_position: str = "", from_time: int = 0) -> None:
        """From where the watch stood, unless told otherwise."""
        gap = Gap(
            what=self.target.what,
            reason=reason,
            detail=detail,
            from_position=from_position or self.figures.position,
            to_position=to_position,
            from_time=from_time or self._heard,
            to_time=to_time,
        )
        self._entries.gap(gap)
        self.figures.gaps += 1
        _log.warning("gap", stream=self.target.stream, reason=reason, detail=detail)

    def _schedule_verify(self, *, first: bool) -> None:
        # A resumed watch rests on a position alone; the first list soon after shows whether it was still the same history.
        seconds = min(_FIRST_VERIFY_SECONDS, self._config.verify_seconds) if first else self._config.verify_seconds
        self._verify_at = self._clock.monotonic() + seconds * (0.9 + 0.2 * self._clock.random())

    def _verify_deadline(self, now: float) -> float:
        """When the next verifying list is due, on the event loop's clock: not before the last one is settled."""
        return float("inf") if self._verification else now + max(0.0, self._verify_at - self._clock.monotonic())

    def _note(self, failure: Failure | None) -> None:
        figures = self.figures
        if failure is None:
            figures.problem = ""
            return
        figures.restarts[failure.kind] += 1
        figures.phase = "denied" if failure.kind == "denied" else "failing"
        figures.problem = failure.message
        _log.warning("watch_interrupted", stream=self.target.stream, kind=failure.kind, reason=failure.message)
