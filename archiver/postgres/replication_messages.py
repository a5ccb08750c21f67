"""The messages around pgoutput, and their clock, as pure functions over bytes (manual 55.4 and 55.9).

A position is an ``int`` here and text in the server's own form everywhere outside (``lsn``).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from archiver.errors import Unavailable

PG_EPOCH = 946_684_800_000_000
"""2000-01-01T00:00:00Z, where PostgreSQL's clock starts, in microseconds since 1970."""
XLOG_HEADER = 25
"""Bytes of an XLogData message before pgoutput's own: ``w``, start, end, send time. The message type stands at this offset."""
KEEPALIVE_BYTES = 18
"""Length of a primary keepalive; every XLogData message is longer."""

BEGIN, COMMIT, STREAM_START, STREAM_STOP, STREAM_COMMIT, STREAM_ABORT = b"BCSEcA"
MESSAGE = ord("M")
RELATION = ord("R")

_KEEPALIVE = struct.Struct(">cQqB")
_STATUS = struct.Struct(">cQQQqB")
_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">QQq")


class Keepalive(NamedTuple):
    """Everything that committed before ``lsn`` has been sent."""

    lsn: int
    reply: bool
    """The server wants a status update at once."""


class SentCommit(NamedTuple):
    """A transaction's end as the server sends it; sent again it is the same."""

    xid: int
    """32 bits; 0 where its beginning was not seen."""
    lsn: int
    """Where its commit record starts."""
    end: int
    time: int
    """As the server writes it: microseconds since ``PG_EPOCH``."""

    def is_same(self, other: SentCommit) -> bool:
        """Whether both are one transaction of one history."""
        return self[1:] == other[1:] and (self.xid == other.xid or 0 in (self.xid, other.xid))


def parse_keepalive(body: bytes | memoryview) -> Keepalive:
    """Primary keepalive message. ``Unavailable`` when it is none: whoever answers does not speak the protocol."""
    if len(body) != KEEPALIVE_BYTES or body[0] != ord("k"):
        raise not_understood(f"a keepalive of type {bytes(body[:1])!r} and {len(body)} bytes")
    _, lsn, _, reply = _KEEPALIVE.unpack(body)
    return Keepalive(lsn, bool(reply))


def status_update(durable: int, now: int, *, reply: bool) -> bytes:
    """Standby status update that reports ``durable`` as written, flushed and applied.

    All three alike: a commit that waits for ``remote_apply`` waits for the third. ``now``: microseconds since 1970.
    ``reply``: ask the server for a keepalive.
    """
    return _STATUS.pack(b"r", durable, durable, durable, now - PG_EPOCH, reply)


def commit_end(frame: bytes | memoryview) -> tuple[int, int]:
    """End LSN and commit time (microseconds since 1970) of an XLogData message that holds a Commit or Stream Commit; else
    ``Unavailable``.
    """
    at = XLOG_HEADER + (2 if frame[XLOG_HEADER : XLOG_HEADER + 1] == bytes([COMMIT]) else 6)
    _, end, time = _unpacked(_COMMIT, frame, at)
    return end, time + PG_EPOCH


def sent_begin(frame: bytes | memoryview) -> tuple[int, int, int]:
    """What an XLogData message with a Begin says of the transaction: where its commit record starts, its commit time, its xid."""
    lsn, time, xid = _unpacked(_BEGIN, frame, XLOG_HEADER + 1)
    return lsn, time, xid


def sent_commit(frame: bytes | memoryview, xid: int) -> SentCommit:
    """What an XLogData message says that holds a Commit, of transaction ``xid``, or a Stream Commit."""
    if frame[XLOG_HEADER : XLOG_HEADER + 1] == bytes([COMMIT]):
        return SentCommit(xid, *_unpacked(_COMMIT, frame, XLOG_HEADER + 2))
    return SentCommit(int.from_bytes(frame[XLOG_HEADER + 1 : XLOG_HEADER + 5], "big"), *_unpacked(_COMMIT, frame, XLOG_HEADER + 6))


class Described(NamedTuple):
    """A table as a Relation message describes it."""

    oid: int
    schema: str
    table: str
    columns: list[str]


def described_columns(frame: bytes, at: int) -> Described | None:
    """The Relation message whose oid stands at ``at``; ``None`` when it does not end where the frame does."""
    try:
        oid = int.from_bytes(frame[at : at + 4], "big")
        schema_end = frame.index(0, at + 4)
        table_end = frame.index(0, schema_end + 1)
        count, place = int.from_bytes(frame[table_end + 2 : table_end + 4], "big"), table_end + 4
        columns = []
        for _ in range(count):
            end = frame.index(0, place + 1)
            columns.append(_text(frame[place + 1 : end]))
            place = end + 9
    except ValueError:
        return None
    if place != len(frame):
        return None
    return Described(oid, _text(frame[at + 4 : schema_end]), _text(frame[schema_end + 1 : table_end]), columns)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def not_understood(what: str) -> Unavailable:
    """What to raise for bytes that no server sends in a replication stream."""
    return Unavailable(f"the server sent {what} in the replication stream", hint="is there a proxy between? connect to the server directly")


def _unpacked(form: struct.Struct, frame: bytes | memoryview, at: int) -> tuple[int, ...]:
    if len(frame) < at + form.size:
        raise not_understood(f"a message of {len(frame)} bytes, which is too short for its type")
    return form.unpack_from(frame, at)
