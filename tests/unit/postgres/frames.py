"""XLogData messages as a server sends them (manual 55.4 and 55.9)."""

from __future__ import annotations

import struct

from archiver.postgres.replication_messages import PG_EPOCH


def xlog(message: bytes, lsn: int = 0) -> bytes:
    return struct.pack(">cQQq", b"w", lsn, lsn, 0) + message


def begin(final: int, xid: int = 7) -> bytes:
    return xlog(struct.pack(">cQqI", b"B", final, 0, xid))


def commit(lsn: int, end: int, time: int = PG_EPOCH) -> bytes:
    return xlog(struct.pack(">cBQQq", b"C", 0, lsn, end, time - PG_EPOCH))


def stream_start(xid: int = 9, *, first: bool = True) -> bytes:
    return xlog(struct.pack(">cIB", b"S", xid, first))


def stream_stop() -> bytes:
    return xlog(b"E")


def stream_commit(xid: int, lsn: int, end: int, time: int = PG_EPOCH) -> bytes:
    return xlog(struct.pack(">cIBQQq", b"c", xid, 0, lsn, end, time - PG_EPOCH))


def stream_abort(xid: int = 9) -> bytes:
    return xlog(struct.pack(">cII", b"A", xid, xid))


def insert(text: bytes = b"x", *, xid: int | None = None) -> bytes:
    head = b"I" if xid is None else b"I" + struct.pack(">I", xid)
    return xlog(head + struct.pack(">IcHcI", 16384, b"N", 1, b"t", len(text)) + text)


def message(prefix: bytes, content: bytes, *, xid: int | None = None) -> bytes:
    head = b"M" if xid is None else b"M" + struct.pack(">I", xid)
    return xlog(head + struct.pack(">BQ", 1, 5) + prefix + b"\0" + struct.pack(">I", len(content)) + content)
