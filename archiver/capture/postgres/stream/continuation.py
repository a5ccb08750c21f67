"""The proof that a stream goes on with the history that the journal has: the journal's newest commit is sent again, exactly. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from archiver.errors import Unavailable
from archiver.postgres.lsn import format_position
from archiver.postgres.replication_messages import BEGIN, COMMIT, STREAM_COMMIT, XLOG_HEADER, SentCommit, sent_begin, sent_commit


class Diverged(Unavailable):
    """The server's history is another one than the journal's: it was put back from an older copy and has gone on from there."""


class Continuation:
    """Looks at what is sent until the newest commit that the journal has came again, or something shows that it never will."""

    def __init__(self, newest: SentCommit | None) -> None:
        """``newest``: the commit; ``None`` when the stream begins behind it, or there is none: then nothing is to be proven."""
        self._newest = newest
        self._xid = 0
        self.proven = newest is None

    def look(self, frames: Iterable[bytes]) -> None:
        """Take XLogData messages, in order; some may come twice. Raises ``Diverged``."""
        for frame in frames:
            if self._newest is None or self.proven:
                return
            kind = frame[XLOG_HEADER]
            if kind == BEGIN:
                lsn, time, self._xid = sent_begin(frame)
                if lsn >= self._newest.lsn:
                    # Judged before its rows are journaled.
                    self._judge(SentCommit(self._xid, lsn, self._newest.end, time), self._newest)
            elif kind in (COMMIT, STREAM_COMMIT):
                commit = sent_commit(frame, self._xid)
                if commit.end > self._newest.lsn:
                    self._judge(commit, self._newest)
                    self.proven = True

    def passed(self, lsn: int) -> None:
        """The server has sent all that committed before ``lsn``, and ``look`` has seen it. Raises ``Diverged``."""
        if self._newest is not None and not self.proven and lsn >= self._newest.end:
            raise _diverged(self._newest, f"the server has passed {format_position(lsn)} without it")

    def _judge(self, sent: SentCommit, newest: SentCommit) -> None:
        if not sent.is_same(newest):
            raise _diverged(newest, f"the server sent transaction {sent.xid}, committed at {format_position(sent.lsn)}, in its place")


def _diverged(newest: SentCommit, why: str) -> Diverged:
    return Diverged(
        f"the journal's newest transaction, {newest.xid} at {format_position(newest.lsn)}, is not in the server's log: {why}",
        hint="the server was put back from an older copy; the next attempt records a gap and takes a new baseline",
    )
