"""Runs of one database in journal order -> its committed transactions in commit order, column-wise."""

from __future__ import annotations

import msgspec


class Limit(msgspec.Struct, frozen=True):
    """The point: the longest prefix of transactions, in commit order, that satisfies all that is given."""

    seq: int | None = None
    """Number of the commit entry, at most."""
    lsn: int | None = None
    """End LSN of the transaction, at most."""
    time: int | None = None
    """Commit time (microseconds since 1970), at most, of it *and every transaction before it*: commit times go back a little now and then."""


class Commit(msgspec.Struct, frozen=True):
    """One committed transaction."""

    xid: int
    """32 bits, as frames have it."""
    commit_lsn: int
    """Where its commit record starts."""
    end_lsn: int
    time: int
    """Commit time at the server, microseconds since 1970."""
    seq: int
    """Number of its commit entry."""
