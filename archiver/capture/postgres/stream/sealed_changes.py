"""Which transactions of the stream announced schema changes in messages that our event trigger sealed. Pure; fed by the receiving thread.

The journal has a PG_ANNOUNCED entry of each before the run with its commit, so that nothing can come between the two. Half a transaction,
and one that rolls back, leaves none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from archiver.postgres.announcement_seal import SealKeys
from archiver.postgres.announcements import PREFIX_BYTES, read_tag
from archiver.postgres.lsn import format_lsn
from archiver.postgres.records import Announced
from archiver.postgres.replication_messages import (
    BEGIN,
    COMMIT,
    MESSAGE,
    PG_EPOCH,
    STREAM_ABORT,
    STREAM_COMMIT,
    STREAM_START,
    STREAM_STOP,
    XLOG_HEADER,
    SentCommit,
    sent_begin,
    sent_commit,
)

TAGS = 20
"""Commands of one transaction that are named."""
_LONGEST_TAG = 64


class _Heard(NamedTuple):
    within: int
    """xid of the subtransaction, where the transaction is streamed before it commits."""
    lsn: int
    tag: str


class SealedChanges:
    """Follows transactions from message to commit."""

    def __init__(self, keys: Callable[[], SealKeys | None] = lambda: None) -> None:
        """``keys``: those in force, as far as they are known."""
        self._keys = keys
        self._open: list[_Heard] = []
        self._staged: dict[int, list[_Heard]] = {}
        """By xid, those that are streamed and have not ended."""
        self._ended: list[Announced] = []

    @property
    def waits(self) -> bool:
        """Whether the end of a transaction matters."""
        return bool(self._open or self._staged)

    def follow(self, boundary: bytes, frames: Iterable[bytes]) -> None:
        """The next XLogData messages: all that begin or end something, and those with our prefix. ``boundary``: the last that did, before
        them; empty for none.
        """
        xid, streamed = _within(boundary)
        for frame in frames:
            kind = frame[XLOG_HEADER]
            if kind == MESSAGE:
                self._message(frame, xid, streamed=streamed)
                continue
            if kind == COMMIT:
                self._end(sent_commit(frame, xid), self._open)
            elif kind == STREAM_COMMIT:
                commit = sent_commit(frame, 0)
                self._end(commit, self._staged.pop(commit.xid, []))
            elif kind == STREAM_ABORT:
                self._abort(*(int.from_bytes(frame[at : at + 4], "big") for at in (XLOG_HEADER + 1, XLOG_HEADER + 5)))
            if kind in (BEGIN, COMMIT):
                self._open = []
            xid, streamed = _within(frame)

    def take(self) -> list[Announced]:
        """Those that have committed since the last call."""
        found, self._ended = self._ended, []
        return found

    def _message(self, frame: bytes, xid: int, *, streamed: bool) -> None:
        at = XLOG_HEADER + (5 if streamed else 1)  # type, xid if streamed; then flags, LSN, prefix, length, content
        keys = self._keys()
        if keys is None or not xid or not frame[at] & 1 or not frame.startswith(PREFIX_BYTES, at + 9):
            return
        lsn, content = int.from_bytes(frame[at + 1 : at + 9], "big"), frame[at + 9 + len(PREFIX_BYTES) + 4 :]
        if not keys.made(content, xid, lsn):
            return
        within = int.from_bytes(frame[at - 4 : at], "big") if streamed else 0
        heard = _Heard(within, lsn, read_tag(content)[:_LONGEST_TAG])
        (self._staged.setdefault(xid, []) if streamed else self._open).append(heard)

    def _abort(self, xid: int, subxid: int) -> None:
        left = [each for each in self._staged.pop(xid, []) if subxid not in (xid, each.within)]
        if left:
            self._staged[xid] = left

    def _end(self, commit: SentCommit, heard: list[_Heard]) -> None:
        if heard:
            tags = list(dict.fromkeys(each.tag for each in heard))[:TAGS]
            messages = [format_lsn(each.lsn) for each in heard]
            self._ended.append(Announced(commit.xid, format_lsn(commit.lsn), commit.time + PG_EPOCH, messages, tags))


def _within(frame: bytes) -> tuple[int, bool]:
    """The transaction in which what follows ``frame`` is, 0 for none; whether it is streamed before it commits."""
    kind = frame[XLOG_HEADER] if frame else STREAM_STOP
    if kind == BEGIN:
        return sent_begin(frame)[2], False
    return (int.from_bytes(frame[XLOG_HEADER + 1 : XLOG_HEADER + 5], "big"), True) if kind == STREAM_START else (0, False)
