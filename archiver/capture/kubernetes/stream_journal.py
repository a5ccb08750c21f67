"""One stream as the journal has it: objects, events and lists go in, and with them what went missing between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from archiver.capture.kubernetes.journal_view import EVENTS_MISSED
from archiver.capture.kubernetes.known_objects import KnownObjects, Verification
from archiver.journal.records import Gap
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.records import Listing
from archiver.kubernetes.stream_state import NOT_SELECTED, RESOURCE_GONE, UNWATCHED, Key

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec

    from archiver.capture.kubernetes.entry_writer import EntryWriter
    from archiver.capture.kubernetes.journal_view import ResumedStream
    from archiver.capture.kubernetes.known_objects import Version
    from archiver.capture.kubernetes.listwatch import ListWatch
    from archiver.capture.kubernetes.stream_context import Interest
    from archiver.capture.kubernetes.stream_scope import StreamScope
    from archiver.capture.kubernetes.stream_status import StreamFigures
    from archiver.capture.kubernetes.watch_batch import WatchBatch
    from archiver.clock import Clock

_log = structlog.get_logger()


class StreamJournal:
    """Journals what one stream received, compared with what was known to exist, so that nothing is missed without a gap."""

    def __init__(
        self,
        entries: EntryWriter,
        figures: StreamFigures,
        machine: ListWatch,
        clock: Clock,
        *,
        interest: Interest,
        heartbeat: float,
        resumed: ResumedStream | None,
    ) -> None:
        """``resumed``: the stream as the journal has it. A position without changes is journaled every ``heartbeat`` seconds."""
        state, keep = (resumed.state if resumed is not None else None), interest.keep
        self._entries, self.figures, self._machine, self._clock = entries, figures, machine, clock
        self._interest = interest
        self._heartbeat = heartbeat
        objects = {key: (seen.uid, seen.resource_version) for key, seen in state.known().items()} if state else {}
        self._known = KnownObjects({key: version for key, version in objects.items() if keep is None or keep(key[1])})
        if state is not None and state.listing is not None:
            self._known.floor = state.listing.resource_version
            self._known.loose = state.loose
        self._covered = state is not None and state.listing is not None
        """Whether there is history before the next list, so that what happened in between is a gap."""
        self._unwatched = state is not None and state.unwatched is not None
        """Whether the journal says that nothing is heard of it."""
        if state is not None and state.unwatched is not None:
            figures.unknown_since = state.unwatched.from_time
        self._heard = state.heard if state else 0
        self._agreed = resumed.agreed if resumed is not None else ("", 0)
        self._verification = resumed.verification if resumed is not None else None
        if self._verification is not None and keep is not None:
            self._verification.only(keep)
        self._progress_at = 0.0
        self._unsaved = False

    @property
    def scope(self) -> StreamScope:
        """What is captured."""
        return self._entries.scope

    @property
    def verifying(self) -> bool:
        """Whether a verifying list found what the watch has yet to explain."""
        return self._verification is not None

    async def list_began(self) -> int:
        """Journal that a list begins: number of its entry, once the journal took it."""
        return await self._entries.listing(self._machine.epoch, self._machine.cause)

    def list_failed(self, listed: dict[Key, Version]) -> None:
        """A list did not become complete; what was journaled of it did exist."""
        self._known.objects |= listed
        self._known.loose = self._known.loose or bool(listed)

    @property
    def place(self) -> str:
        """The resourceVersion at which what is known was everything; empty when there is none."""
        return self._known.place(self._machine.position)

    def agrees(self, listed: dict[Key, Version]) -> bool:
        """Whether ``listed`` is what is known."""
        if self._interest.keep is not None:
            listed = {key: version for key, version in listed.items() if self._interest.keep(key[1])}
        return listed == self._known.objects

    def items(self, items: Sequence[msgspec.Raw], listed: dict[Key, Version]) -> int:
        """Journal objects of a list and note them in ``listed``; how many bytes they were."""
        bodies: list[bytes] = []
        for item in items:
            meta = kj.head.decode(item).metadata
            if self._interest.keep is None or self._interest.keep(meta.name):
                listed[meta.namespace, meta.name] = (meta.uid, meta.resource_version)
                bodies.append(bytes(item))
                if self._interest.noticed is not None:
                    self._interest.noticed(meta)
        self._entries.items(bodies)
        size = sum(map(len, bodies))
        self.figures.bytes += size
        return size

    def complete(self, listed: dict[Key, Version], version: str, first: int, asked: int) -> None:
        """A list asked for at ``asked`` is complete: journal what is gone, and as a gap what happened while nobody watched."""
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
        resource, namespace = self.scope.resource, self.scope.namespace
        listing = Listing(resource, namespace, machine.epoch, version, len(listed), first, cause)
        self._entries.listed(listing, "" if cause == "verify" else version)
        self._known.replace(listed, version)
        machine.listed(version)
        self._covered = True
        if cause != "verify":
            self._heard_again()
        figures = self.figures
        figures.lists[cause] += 1
        figures.listed, figures.epoch, figures.objects, figures.position = now, machine.epoch, len(listed), machine.position
        if cause != "verify":
            # The list was true at some time after it was asked for.
            self._heard = figures.heard = asked
            self._agreed = (version, now)
            self._unsaved = False
        self._conclude()
        _log.info("listed", stream=self.scope.stream, cause=cause, objects=len(listed), position=version, epoch=machine.epoch)

    def events(self, batch: WatchBatch) -> None:
        """The watch brought ``batch``."""
        for event in batch.events:
            self._known.event(event)
            if self._interest.noticed is not None:
                self._interest.noticed(event.object.metadata)
            if self._verification is not None:
                self._verification.event(event)
        if batch.version:
            self._moved(batch)

    def _moved(self, batch: WatchBatch) -> None:
        version, bodies, now = batch.version, batch.lines, self._clock.now()
        if self._machine.watch_cause is not None:
            # Only now is it certain that the server went on from there: an expired position is told in the stream, too.
            self._entries.watching(self._machine.epoch, self._machine.position, self._machine.watch_cause)
            self._machine.watch_cause = None
        self._machine.heard(version)
        self._heard_again()
        self._heard = self.figures.heard = now
        self.figures.position = version
        if self._verification is not None:
            # Before the position is: whoever begins from there must find what was missed up to there.
            self._conclude()
        if bodies:
            self._entries.events(bodies, version)
            self.figures.events += len(bodies)
            self.figures.bytes += sum(map(len, bodies))
            self.figures.objects = len(self._known.objects)
            self._unsaved = False
        elif batch.bookmark or self._interest.keep is not None:
            self._unsaved = True
            if self._clock.monotonic() >= self._progress_at:
                self._entries.progress(version)
                self._unsaved = False
                self._progress_at = self._clock.monotonic() + self._heartbeat

    def unwatched(self, why: str) -> None:
        """Nothing is heard any more, or never was: journal it once, from the last word on."""
        if self._unwatched:
            return
        self._unwatched, self._unsaved = True, False
        self.figures.unknown_since = self._heard
        self._gap(UNWATCHED, why, to_position="", to_time=0)

    def _heard_again(self) -> None:
        self._unwatched, self.figures.unknown_since = False, None

    def close(self, silence: str) -> None:
        """Hand over the position that is not journaled yet. ``silence``: why nothing was heard at the end, empty when something was."""
        if silence or not self._covered:
            self.unwatched(silence or "capture ended before it was listed")
        if self._unsaved:
            self._entries.progress(self._machine.position)
            self._unsaved = False

    def end(self) -> None:
        """The resource is no longer served. What was known is gone; nothing is known until it comes back."""
        self._entries.absent(self._known.objects, self._heard, self._clock.now())
        self._gap(RESOURCE_GONE, "the API server no longer serves it", to_position="", to_time=0)
        self._known = KnownObjects()
        self._covered = False
        self._heard_again()
        self._verification = None
        self.figures.objects = 0

    def leave(self) -> None:
        """The settings do not select it any more: what was known stays as it was last known."""
        self._gap(NOT_SELECTED, "the settings do not select it any more", to_position="", to_time=0)

    def _conclude(self) -> None:
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
            _log.error("verify_mismatch", stream=self.scope.stream, changed=len(verification.changed), gone=len(verification.gone))
        self._agreed = (verification.version, verification.time)

    def _gap(self, reason: str, detail: str, *, to_position: str, to_time: int, from_position: str = "", from_time: int = 0) -> None:
        """From where the watch stood, unless told otherwise."""
        gap = Gap(
            what=self.scope.what,
            reason=reason,
            detail=detail,
            from_position=from_position or self.figures.position,
            to_position=to_position,
            from_time=from_time or self._heard,
            to_time=to_time,
        )
        self._entries.gap(gap)
        self.figures.gaps += 1
        _log.warning("gap", stream=self.scope.stream, reason=reason, detail=detail)
