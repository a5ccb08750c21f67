"""What the journal knows of each stream when capture begins: its objects, and the verifying list that is not concluded yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from archiver.capture.kubernetes.known_objects import KnownObjects, Verification
from archiver.journal.checkpoints import named_checkpoint, newest_checkpoint
from archiver.journal.entry import Kind, Placed
from archiver.journal.record_reader import read_record
from archiver.journal.records import Gap
from archiver.journal.spans import Span, first_segment_of, last_segment_of, read_spans
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.records import Listing, Watch
from archiver.kubernetes.stream_silence import has_ended
from archiver.kubernetes.stream_state import StreamState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from archiver.capture.kubernetes.known_objects import Version
    from archiver.journal.entry import SourceMark
    from archiver.journal.reader import Reader
    from archiver.kubernetes.stream_state import Key

EVENTS_MISSED = "events_missed"
"""Reason of the gap that concludes a verifying list whose differences no event explains."""


class ResumedStream:
    """One stream, folded without bodies."""

    def __init__(self) -> None:
        self.state = StreamState(bodies=False)
        self.verification: Verification | None = None
        """A verifying list that the watch has not passed."""
        self.agreed: tuple[str, int] = ("", 0)
        """resourceVersion and time of the newest list that nothing contradicted."""
        self._before: dict[Key, Version] = {}

    def apply(self, placed: Placed) -> None:
        """Fold one run, as ``StreamState.apply``."""
        run = placed.run
        if run.kind is Kind.K8S_WATCH and any(read_record(body, Watch, placed).cause == "verify" for body in run.bodies()):
            self._before = self._versions()
        self.state.apply(placed)
        match run.kind:
            case Kind.CHECKPOINT:
                for body in run.bodies():
                    self._listed(read_record(body, Listing, placed), run.observed)
            case Kind.K8S_EVENT if self.verification is not None:
                for body in run.bodies():
                    self.verification.event(kj.event.decode(body))
            case Kind.GAP if self.verification is not None:
                if any(read_record(body, Gap, placed).reason == EVENTS_MISSED for body in run.bodies()):
                    self._conclude(self.verification)
            case _:
                pass
        # What was missed is journaled before the position that is beyond the list.
        if self.verification is not None and self.verification.passed(self.state.position):
            self._conclude(self.verification)

    def _listed(self, listing: Listing, observed: int) -> None:
        version = listing.resource_version
        if listing.cause == "verify" and self.agreed[0] and kj.comparable(version):
            difference = KnownObjects(self._before).compare(self._versions())
            self.verification = Verification(difference, self.state.position, version, observed)
        else:
            self.agreed, self.verification = (version, observed), None
        self._before = {}

    def _conclude(self, verification: Verification) -> None:
        self.agreed, self.verification = (verification.version, verification.time), None

    def _versions(self) -> dict[Key, Version]:
        return {key: (seen.uid, seen.resource_version) for key, seen in self.state.known().items()}


async def resume_living(reader: Reader, marks: Mapping[str, SourceMark], name: str) -> dict[str, ResumedStream]:
    """As ``resume_streams`` without the streams that ended, however many did: of these nothing is read before they are served again."""
    return await resume_streams(reader, {stream: mark for stream, mark in marks.items() if not has_ended(mark)}, name)


async def resume_ended(reader: Reader, marks: Mapping[str, SourceMark], stream: str) -> ResumedStream | None:
    """A stream that ``resume_living`` left out; ``None`` when the journal knows none of that name that ended."""
    mark = marks.get(stream)
    if mark is None or not has_ended(mark):
        return None
    return (await resume_streams(reader, {stream: mark}, stream.partition("/")[0]))[stream]


async def resume_streams(reader: Reader, marks: Mapping[str, SourceMark], name: str) -> dict[str, ResumedStream]:
    """Every stream of source ``name`` as the journal has it, by stream name.

    Reads each stream from its newest complete list to its newest entry, and no segment in between that lies in no stream's span: a stream
    that ended long ago costs a few reads, however long the journal has grown since. Errors as of ``Reader``.
    """
    streams = {stream: mark for stream, mark in marks.items() if stream.startswith(f"{name}/")}
    resumed = {stream: ResumedStream() for stream in streams}
    begins = {stream: await beginning_of(reader, stream, mark) for stream, mark in streams.items()}
    spans = [Span(begins[stream].segment, await last_segment_of(reader, stream, mark)) for stream, mark in streams.items()]
    async for placed in read_spans(reader, spans):
        one = resumed.get(placed.run.source)
        if one is not None and placed.first >= begins[placed.run.source].seq and placed.run.kind is not Kind.MARK:
            one.apply(placed)
    for stream, one in resumed.items():
        # A verifying list has no position of its own: that may stand before everything that was read.
        one.state.position = one.state.position or streams[stream].position
    return resumed


class Beginning(NamedTuple):
    """Where the reading of one stream begins."""

    seq: int
    segment: int


async def beginning_of(reader: Reader, stream: str, mark: SourceMark) -> Beginning:
    """Where a start reads a stream from.

    First entry of the newest complete list, and where that is a verifying one that the watch has not passed, of the one before it.

    Without any, of the newest list that began: what earlier ones saw, and none of them saw whole, is not held against the next one.
    """
    if mark.checkpoint_segment < 0:
        return (
            Beginning(mark.control, mark.control_segment)
            if mark.control_segment >= 0
            else Beginning(1, await first_segment_of(reader, stream))
        )
    newest = _listing(await named_checkpoint(reader, stream, mark))
    if newest.cause == "verify" and kj.order(mark.position, newest.resource_version) < 0:
        before = await newest_checkpoint(reader, stream, newest.first)
        if before is not None:
            first = _listing(before).first
            return Beginning(first, await reader.find_seq(first))
    # Nearly always the list's own beginning is the last one before its end, and then its place is known.
    header = await reader.header(mark.checkpoint_segment)
    there = header.sources.get(stream) if header is not None else None
    if there is not None and there.control == newest.first:
        return Beginning(newest.first, there.control_segment)
    return Beginning(newest.first, await reader.find_seq(newest.first))


def _listing(placed: Placed) -> Listing:
    return read_record(next(placed.run.bodies()), Listing, placed)
