"""One stream, folded for some of its objects: entry by entry, without what is of others. Pure."""

from __future__ import annotations

import msgspec

from archiver.errors import Corrupt
from archiver.journal.entry import Kind, Placed
from archiver.journal.record_reader import read_record
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.records import Absent, Watch
from archiver.kubernetes.stream_state import Key, StreamState
from archiver.replay.kubernetes.folded_stream import FoldedStream


class Unclear(Exception):
    """Entries of other objects would be needed to tell."""


class StreamOfObjects:
    """Takes entries of the stream in order, from a list that becomes complete or from the stream's beginning on."""

    def __init__(self, name: str, keys: frozenset[Key]) -> None:
        self._fold = FoldedStream(name, StreamState(partial=True), only=keys)
        self._keys = keys
        self.listing: Placed | None = None
        """Where a list began that is not complete."""
        self.verified = 0
        """The entry since the newest list that says what all objects are; whether it is so is not looked at. 0: there is none."""
        self._passed_over = False
        """Something is gone, by an entry that counts unless it is of the list that is open."""
        self._before = 0
        """Of the newest list that became complete: what had been received before it began."""
        self._began = 0
        self._known = 0
        """The newest time of what was taken since that one began."""

    def take(self, placed: Placed, before: int) -> None:
        """One entry. ``before``: nothing of the cluster had been received later than this, before it or with it. Raises ``Unclear``."""
        run, state = placed.run, self._fold.state
        try:
            if not self._is_ours(placed):
                return
            if run.kind in (Kind.K8S_WATCH, Kind.GAP, Kind.K8S_EVENT) and self._passed_over:
                # The list may have been left off before, by an entry of another object.
                raise Unclear
            state.apply(placed)
        except Corrupt:
            raise Unclear from None
        if run.kind is Kind.K8S_ABSENT:
            self._passed_over |= state.pending is not None
        elif run.kind is Kind.CHECKPOINT:
            self.listing, self.verified, self._passed_over, self._before = None, 0, False, self._began
        elif run.kind is Kind.PROGRESS:
            self.verified = placed.first
        elif run.kind is Kind.K8S_WATCH:
            watch = read_record(next(run.bodies()), Watch, placed)
            if not watch.resource_version:
                self.listing, self._began, self._known = placed, before, 0
        self._fold.entry = placed.first
        self._known = max(self._known, run.observed)

    def found(self, observed: int, here: int) -> FoldedStream:
        """The stream at its end. ``observed``: the newest time of any of its entries up to there; ``here``: of those last ones that were
        seen. Raises ``Unclear``.
        """
        state = self._fold.state
        if state.listing is None or state.unwatched is not None or not state.selected or self._passed_over:
            raise Unclear
        if max(self._known, here) < observed <= self._before:
            # The clock was set back: that time may be of before the list.
            raise Unclear
        self._fold.observed = observed
        return self._fold

    def _is_ours(self, placed: Placed) -> bool:
        body = next(placed.run.bodies())
        try:
            match placed.run.kind:
                case Kind.K8S_EVENT:
                    meta = kj.event.decode(body).object.metadata
                    return (meta.namespace, meta.name) in self._keys
                case Kind.K8S_ITEM:
                    meta = kj.head.decode(body).metadata
                    return (meta.namespace, meta.name) in self._keys
                case Kind.K8S_ABSENT:
                    absent = read_record(body, Absent, placed)
                    return (absent.namespace, absent.name) in self._keys
                case _:
                    return True
        except msgspec.MsgspecError:
            raise Unclear from None
