"""Transactions of a journal, one frame at a time: the oracle of the column-wise reader."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from archiver.journal.entry import Kind, Placed
from archiver.postgres.replication_messages import PG_EPOCH
from archiver.replay.postgres.decode.commits import Commit


@dataclass
class Transaction:
    commit: Commit
    streamed: bool
    applied: bool
    messages: list[tuple[int, bytes]]
    """Entry number and message."""


@dataclass
class _Staged:
    messages: list[tuple[int, int, bytes]] = field(default_factory=list)
    aborted: set[int] = field(default_factory=set)


def transactions(placed: Sequence[Placed], *, from_lsn: int = 0, end_seq: int | None = None) -> list[Transaction]:
    """All that committed, in commit order; of those not applied only relations."""
    found: list[Transaction] = []
    staged: dict[int, _Staged] = {}
    current: list[tuple[int, bytes]] | None = None
    streaming, xid, end = None, 0, 0
    for run in placed:
        if run.run.kind is Kind.PG_STREAM:
            staged, current, streaming = {}, None, None
            continue
        if run.run.kind is not Kind.PG_FRAMES:
            continue
        for seq, body in enumerate(run.run.bodies(), run.first):
            message = body[25:]
            kind = message[:1]
            if streaming is not None:
                if kind == b"E":
                    streaming = None
                elif kind in b"IUDTRM":
                    staged[streaming].messages.append((seq, struct.unpack(">I", message[1:5])[0], message))
            elif kind == b"B":
                current, xid = [], struct.unpack(">I", message[17:21])[0]
            elif kind == b"S":
                streaming = struct.unpack(">I", message[1:5])[0]
                staged.setdefault(streaming, _Staged())
            elif kind == b"A":
                one, sub = struct.unpack(">II", message[1:9])
                if one == sub:
                    del staged[one]
                else:
                    staged[one].aborted.add(sub)
            elif kind in b"Cc":
                if kind == b"c":
                    xid = struct.unpack(">I", message[1:5])[0]
                    chosen = staged.pop(xid)
                    messages = [(at, text) for at, sub, text in chosen.messages if text[:1] == b"R" or sub not in chosen.aborted]
                else:
                    assert current is not None
                    messages, current = current, None
                commit_lsn, end_lsn, time = struct.unpack(">QQq", message[-24:])
                applied = end_lsn > end and commit_lsn >= from_lsn
                end = max(end, end_lsn)
                if not applied:
                    messages = [(at, text) for at, text in messages if text[:1] == b"R"]
                commit = Commit(xid, commit_lsn, end_lsn, time + PG_EPOCH, seq)
                found.append(Transaction(commit, kind == b"c", applied, messages))
                if end_seq is not None and seq >= end_seq:
                    return found
            elif current is not None and kind in b"IUDTRM":
                current.append((seq, message))
    return found
