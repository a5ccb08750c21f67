"""One stream as the journal has it: objects, events and lists go in, and with them what went missing between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from archiver.capture.kubernetes.journal_view import EVENTS_MISSED
from archiver.capture.kubernetes.known_objects import KnownObjects, Verification
from archiver.capture.kubernetes.off_loop import off_loop
from archiver.capture.kubernetes.position_saver import PositionSaver
from archiver.capture.kubernetes.stream_gaps import StreamGaps
from archiver.capture.kubernetes.verify_findings import VerifyFindings
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.records import Listing
from archiver.kubernetes.stream_state import NOT_SELECTED, RESOURCE_GONE, Key

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

_NAMED = 5
"""Objects that a gap names."""
UNREDACTED = "unredacted"

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
        objects = {key: (seen.uid, seen.resource_version) for key, seen in state.known().items()} if state else {}
        self._known = KnownObjects({key: version for key, version in objects.items() if keep is None or keep(key[1])})
        if state is not None and state.listing is not None:
            self._known.floor = state.listing.resource_version
            self._known.loose = state.loose
        self._covered = state is not None and state.listing is not None
        """Whether there is history before the next list, so that what happened in between is a gap."""
        self._gaps = StreamGaps(entries, figures, state)
        self._findings = VerifyFindings(resumed, interest)
        self._position = PositionSaver(entries, clock, heartbeat)
        self._unread: dict[str, str] = {}
        """Objects that could not be redacted, by uid, as they are called; empty once the journal says so."""

    @property
    def scope(self) -> StreamScope:
        """What is captured."""
        return self._entries.scope

    @property
    def verifying(self) -> bool:
        """Whether a verifying list found what the watch has yet to explain."""
        return self._findings.open

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

    async def items(self, items: Sequence[msgspec.Raw], listed: dict[Key, Version]) -> int:
        """Journal objects of a list and note them in ``listed``; how many bytes they were. ``Unreadable`` when one is nobody's, and then
        none is journaled.
        """
        kept: list[tuple[bytes, kj.Meta]] = []
        for item in items:
            meta = kj.listed(item)
            if self._interest.keep is None or self._interest.keep(meta.name):
                listed[meta.namespace, meta.name] = (meta.uid, meta.resource_version)
                kept.append((bytes(item), meta))
                if self._interest.noticed is not None:
                    self._interest.noticed(meta)
        bodies = await self._redacted(kept)
        self._entries.items(bodies)
        size = sum(map(len, bodies))
        self.figures.bytes += size
        return size

    async def _redacted(self, objects: Sequence[tuple[bytes, kj.Meta]]) -> list[bytes]:
        redactor = self._interest.redactor
        if redactor is None:
            return [body for body, _ in objects]

        def cut() -> list[tuple[bytes, bool]]:
            return [redactor.object(*each) for each in objects]

        found = await off_loop(sum(len(body) for body, _ in objects), cut)
        for (_, meta), (_, whole) in zip(objects, found, strict=True):
            if not whole:
                self._set_aside(meta)
        return [left for left, _ in found]

    def _set_aside(self, meta: kj.Meta) -> None:
        self._unread.setdefault(meta.uid, f"{meta.namespace}/{meta.name}")

    def _tell_unread(self, version: str) -> None:
        """Journal which objects were set aside: what they were up to here is not known."""
        named = sorted(name for name in self._unread.values() if name)
        if named:
            more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
            detail = f"what is redacted cannot be found in {', '.join(named[:_NAMED])}{more}: nothing else of them was kept either"
            self._gaps.record(UNREDACTED, detail, to_position=version, to_time=self._clock.now())
            self._unread = dict.fromkeys(self._unread, "")

    def complete(self, listed: dict[Key, Version], version: str, first: int, asked: int) -> None:
        """A list asked for at ``asked`` is complete: journal what is gone, and as a gap what happened while nobody watched."""
        machine, now = self._machine, self._clock.now()
        cause = machine.cause
        difference = self._known.compare(listed)
        if cause == "verify":
            self._findings.found(Verification(difference, machine.position, version, now) if kj.comparable(version) else None)
        else:
            self._entries.absent(difference.gone, self._gaps.heard, now)
            gone, changed = len(difference.gone), len(difference.changed)
            since, time = "", 0
            if (unexplained := self._findings.give_up()) is not None:
                # No event will explain any more what that list found: it is part of the gap, as far back as a list agreed.
                since, time = self._findings.agreed
                self._entries.absent(dict(unexplained.gone.values()), time, unexplained.time)
                gone, changed = gone + len(unexplained.gone), changed + len(unexplained.changed)
            if self._covered:
                reason = "cluster_changed" if cause == "cluster_changed" else "overflow" if machine.overflowed else "watch_expired"
                detail = f"{changed} objects changed and {gone} gone while nobody watched ({cause})"
                self._gaps.record(reason, detail, to_position=version, to_time=asked, from_position=since, from_time=time)
        resource, namespace = self.scope.resource, self.scope.namespace
        listing = Listing(resource, namespace, machine.epoch, version, len(listed), first, cause, self._interest.redacted)
        self._entries.listed(listing, "" if cause == "verify" else version)
        self._known.replace(listed, version)
        self._tell_unread(version)
        machine.listed(version)
        self._covered = True
        if cause != "verify":
            self._gaps.heard_again()
        figures = self.figures
        figures.lists[cause] += 1
        figures.listed, figures.epoch, figures.objects, figures.position = now, machine.epoch, len(listed), machine.position
        if cause != "verify":
            # The list was true at some time after it was asked for.
            self._gaps.heard = figures.heard = asked
            self._findings.agreed = (version, now)
            self._position.saved()
        self._conclude()
        _log.info("listed", stream=self.scope.stream, cause=cause, objects=len(listed), position=version, epoch=machine.epoch)

    def events(self, batch: WatchBatch) -> None:
        """The watch brought ``batch``."""
        for event in batch.events:
            self._known.event(event)
            if self._interest.noticed is not None:
                self._interest.noticed(event.object.metadata)
            self._findings.event(event)
        if batch.version:
            self._moved(batch)

    def _moved(self, batch: WatchBatch) -> None:
        version, bodies, now = batch.version, batch.lines, self._clock.now()
        if self._machine.watch_cause is not None:
            # Only now is it certain that the server went on from there: an expired position is told in the stream, too.
            self._entries.watching(self._machine.epoch, self._machine.position, self._machine.watch_cause)
            self._machine.watch_cause = None
        self._machine.heard(version)
        self._gaps.heard_again()
        self._gaps.heard = self.figures.heard = now
        self.figures.position = version
        # Before the position is: whoever begins from there must find what was missed up to there.
        self._conclude()
        if bodies:
            self._entries.events(bodies, version)
            self.figures.events += len(bodies)
            self.figures.bytes += sum(map(len, bodies))
            self.figures.objects = len(self._known.objects)
            self._position.saved()
            for meta in batch.unread:
                self._set_aside(meta)
            self._tell_unread(version)
        elif batch.bookmark or self._interest.keep is not None:
            self._position.moved(version)

    def unwatched(self, why: str) -> None:
        """Nothing is heard any more, or never was: journal it once, from the last word on."""
        if self._gaps.unwatched(why):
            self._position.saved()

    def close(self, silence: str) -> None:
        """Hand over the position that is not journaled yet. ``silence``: why nothing was heard at the end, empty when something was."""
        if silence or not self._covered:
            self.unwatched(silence or "capture ended before it was listed")
        self._position.save(self._machine.position)

    def end(self) -> None:
        """The resource is no longer served. What was known is gone; nothing is known until it comes back."""
        self._entries.absent(self._known.objects, self._gaps.heard, self._clock.now())
        self._gaps.record(RESOURCE_GONE, "the API server no longer serves it", to_position="", to_time=0)
        self._known = KnownObjects()
        self._covered = False
        self._gaps.heard_again()
        self._findings.give_up()
        self.figures.objects = 0

    def leave(self) -> None:
        """The settings do not select it any more: what was known stays as it was last known."""
        self._gaps.record(NOT_SELECTED, "the settings do not select it any more", to_position="", to_time=0)

    def _conclude(self) -> None:
        """The watch has passed a verifying list: what is still unexplained was missed."""
        verification = self._findings.passed(self._machine.position)
        if verification is None:
            return
        self.figures.verified = verification.time
        missed = len(verification.gone) + len(verification.changed)
        if missed:
            self.figures.mismatches += missed
            self._entries.absent(dict(verification.gone.values()), self._findings.agreed[1], verification.time)
            detail = f"{len(verification.changed)} objects changed and {len(verification.gone)} gone without an event (verify)"
            since, time = self._findings.agreed
            self._gaps.record(
                EVENTS_MISSED, detail, to_position=verification.version, to_time=verification.time, from_position=since, from_time=time
            )
            _log.error("verify_mismatch", stream=self.scope.stream, changed=len(verification.changed), gone=len(verification.gone))
        self._findings.agreed = (verification.version, verification.time)
