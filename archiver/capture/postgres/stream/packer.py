"""Frames of a replication stream -> runs with their resume position. Pure: fed by the receiving thread, told the time.

The resume position is the end of the newest commit, or a keepalive's LSN received while no transaction was half received: the server says
by it that everything that committed before it has been sent. A large transaction that is streamed in blocks before it commits
does not hold the position back between its blocks: it commits later, so it would be sent again, whole.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterable

import msgspec
import numpy as np
import numpy.typing as npt

from archiver.capture.postgres.catalog.redaction import Redaction
from archiver.capture.postgres.session.oversized import Transaction
from archiver.capture.postgres.stream.continuation import Continuation
from archiver.capture.postgres.stream.redaction_guard import see_hidden
from archiver.capture.postgres.stream.sealed_changes import SealedChanges
from archiver.journal.entry import Kind, Run
from archiver.postgres.announcement_seal import SealKeys
from archiver.postgres.announcements import PREFIX_BYTES
from archiver.postgres.lsn import format_position
from archiver.postgres.replication_messages import (
    BEGIN,
    COMMIT,
    MESSAGE,
    PG_EPOCH,
    RELATION,
    STREAM_ABORT,
    STREAM_COMMIT,
    STREAM_START,
    STREAM_STOP,
    XLOG_HEADER,
    commit_end,
    not_understood,
)

_OPENS = frozenset((BEGIN, STREAM_START))
_BOUNDARIES = frozenset((BEGIN, COMMIT, STREAM_START, STREAM_STOP, STREAM_COMMIT, STREAM_ABORT))
_IS_BOUNDARY = np.zeros(256, np.bool_)
_IS_BOUNDARY[list(_BOUNDARIES)] = True
_INT64 = np.arange(8)
_BEGIN = struct.Struct(">QqI")


class Packer:
    """Gathers frames; ``pack`` gives them as one run. Not safe for use by several threads at once."""

    def __init__(
        self,
        source: str,
        start: int,
        ddl_seen: Callable[[bytes], None] = lambda _: None,
        *,
        continuation: Continuation | None = None,
        redaction: Redaction | None = None,
        keys: Callable[[], SealKeys | None] = lambda: None,
    ) -> None:
        """``start``: what the journal has; what is received can never stand before it. ``ddl_seen`` is told what our messages say.
        ``keys``: those by which our event trigger's are told from anybody's.

        ``continuation`` must be proven before anything counts as received that was not known before. ``redaction``: what may not come.
        """
        self._redaction = redaction if redaction is not None and redaction.lines else None
        self._continuation = continuation or Continuation(None)
        self._ddl_seen = ddl_seen
        self._ddl_streamed = False
        self._sealed = SealedChanges(keys)
        self._source = source
        self.frames: list[bytes] = []
        """XLogData messages since the last ``pack``, whole. ``FrameIntake`` appends to it directly: that is the hottest loop."""
        self.received = start
        """Resume position of all runs so far."""
        self._open = False
        self._boundary = b""
        self._idle_at = 0
        self.confirmed = False
        """A keepalive has said since the last run that nothing is left to send."""

    @property
    def proven(self) -> bool:
        """Whether what comes is known to go on with what the journal has."""
        return self._continuation.proven

    @property
    def half_received(self) -> bool:
        """Inside a transaction or a block of one: no position may be taken from a keepalive now."""
        for frame in reversed(self.frames):
            kind = frame[XLOG_HEADER]
            if kind in _BOUNDARIES:
                return kind in _OPENS
        return self._open

    @property
    def begun(self) -> Transaction | None:
        """The transaction that is half received, unless it is streamed before its commit."""
        for frame in reversed(self.frames):
            if frame[XLOG_HEADER] in _BOUNDARIES:
                return _begun(frame)
        return _begun(self._boundary)

    @property
    def unjournaled(self) -> bool:
        """A keepalive's position is known that no run carries yet."""
        return self._idle_at > self.received

    def keepalive(self, lsn: int) -> None:
        """The server has sent everything that committed before ``lsn``. Raises ``Diverged``."""
        if not self._continuation.proven:
            self._continuation.look(self.frames)
            if not self.half_received:
                self._continuation.passed(lsn)
        if lsn >= self._idle_at and not self.half_received:
            self._idle_at = lsn
            self.confirmed = True

    def pack(self, now: int) -> Run | None:
        """What was gathered since the last call, as one run; ``None`` when that is nothing. ``now``: microseconds since 1970.

        Raises ``Diverged`` instead of giving what is not known to continue the journal, ``Exposed`` instead of what is to be hidden.
        """
        if not self.frames:
            return None
        if not self._continuation.proven:
            self._continuation.look(self.frames)
        frames = self.frames[:]
        self.frames.clear()
        lengths = array("I", map(len, frames))
        data = b"".join(frames)
        last, changed = self._look(np.frombuffer(data, np.uint8), np.frombuffer(lengths, np.uint32), frames)
        position = max(last, self._idle_at)
        self.confirmed = False
        if position > self.received:
            self.received = position
        else:
            position = 0
        if sys.byteorder == "big":
            lengths.byteswap()
        return Run(self._source, Kind.PG_FRAMES, now, lengths.tobytes(), data, changed, format_position(position))

    def announced(self, now: int) -> Run | None:
        """What is known of transactions that end in the run that ``pack`` gave last; to be delivered before it. ``None``: nothing."""
        bodies = [msgspec.json.encode(each) for each in self._sealed.take()]
        return Run.of(self._source, Kind.PG_ANNOUNCED, bodies, observed=now) if bodies else None

    def progress(self, now: int) -> Run | None:
        """A run that says no more than that nothing else happened up to a keepalive; ``None`` when none said so since the last run.

        Its position may be known already: then it says that the source is still idle. Call ``pack`` before: it comes after the frames.
        """
        if not self.confirmed or self.frames:
            return None
        self.confirmed = False
        self.received = max(self.received, self._idle_at)
        return Run.of(self._source, Kind.PROGRESS, [b""], observed=now, position=format_position(self.received))

    def _notice(self, messages: Iterable[bytes]) -> bool:
        """Tell of schema changes; of those in a transaction that is streamed before it commits, again when one commits.

        Whether any came.
        """
        found = False
        for frame in messages:
            if (at := frame.find(PREFIX_BYTES, XLOG_HEADER, XLOG_HEADER + 14 + len(PREFIX_BYTES))) >= 0:
                found = True
                self._ddl_streamed = self._ddl_streamed or at > XLOG_HEADER + 10
                self._ddl_seen(frame[at + len(PREFIX_BYTES) + 4 :])
        return found

    def _look(self, data: npt.NDArray[np.uint8], lengths: npt.NDArray[np.uint32], frames: list[bytes]) -> tuple[int, int]:
        """End of the last commit and newest commit time, 0 without a commit; notes whether a transaction is open."""
        if lengths.min() <= XLOG_HEADER:
            raise not_understood(f"a message of {lengths.min()} bytes")
        ends = np.cumsum(lengths, dtype=np.int64)
        types = data[ends - lengths + XLOG_HEADER]
        if self._redaction is not None and (described := np.flatnonzero(types == RELATION)).size:
            see_hidden((frames[at] for at in described), self._redaction)
        bounds = np.flatnonzero(_IS_BOUNDARY[types])
        messages = np.flatnonzero(types == MESSAGE)
        noticed = bool(messages.size) and self._notice(frames[at] for at in messages)
        if noticed or self._sealed.waits:
            self._sealed.follow(self._boundary, (frames[at] for at in np.sort(np.concatenate((bounds, messages)))))
        if not len(bounds):
            return 0, 0
        self._open = int(types[bounds[-1]]) in _OPENS
        self._boundary = frames[bounds[-1]]
        kinds = types[bounds]
        commits = bounds[(kinds == COMMIT) | (kinds == STREAM_COMMIT)]
        if not len(commits):
            return 0, 0
        if self._ddl_streamed and (kinds == STREAM_COMMIT).any():
            self._ddl_streamed = False
            self._ddl_seen(b"")
        newest = commit_end(frames[commits[-1]])[0]
        # The commit time is the last field of both messages.
        times = data[(ends[commits] - 8)[:, None] + _INT64].view(">i8")
        return newest, int(times.max()) + PG_EPOCH


def _begun(frame: bytes) -> Transaction | None:
    if frame[XLOG_HEADER : XLOG_HEADER + 1] != b"B":
        return None
    commit, _, xid = _BEGIN.unpack_from(frame, XLOG_HEADER + 1)
    return Transaction(xid, commit)
