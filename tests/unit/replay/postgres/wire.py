"""pgoutput messages as a server writes them, for tests of what reads them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from archiver.postgres.replication_messages import PG_EPOCH

UNCHANGED = "unchanged"
Cell = bytes | str | None
"""A value, None for NULL, or UNCHANGED."""


def frame(message: bytes, lsn: int = 0) -> bytes:
    """The message as a CopyData body: XLogData."""
    return b"w" + struct.pack(">QQQ", lsn, lsn, 0) + message


def begin(xid: int, final_lsn: int, time: int) -> bytes:
    return b"B" + struct.pack(">QqI", final_lsn, time - PG_EPOCH, xid & 0xFFFFFFFF)


def commit(commit_lsn: int, end_lsn: int, time: int) -> bytes:
    return b"C\0" + struct.pack(">QQq", commit_lsn, end_lsn, time - PG_EPOCH)


def stream_start(xid: int, *, first: bool) -> bytes:
    return b"S" + struct.pack(">IB", xid & 0xFFFFFFFF, first)


def stream_stop() -> bytes:
    return b"E"


def stream_commit(xid: int, commit_lsn: int, end_lsn: int, time: int) -> bytes:
    return b"c" + struct.pack(">IBQQq", xid & 0xFFFFFFFF, 0, commit_lsn, end_lsn, time - PG_EPOCH)


def stream_abort(xid: int, subxid: int, *, with_lsn: bool = False) -> bytes:
    return b"A" + struct.pack(">II", xid & 0xFFFFFFFF, subxid & 0xFFFFFFFF) + (bytes(16) if with_lsn else b"")


def relation(oid: int, name: str, identity: str, columns: Sequence[tuple[str, int, bool]], xid: int | None = None) -> bytes:
    """``columns``: name, type oid, part of the identity."""
    body = b"".join(
        struct.pack(">B", key) + column.encode() + b"\0" + struct.pack(">Ii", type_oid, -1) for column, type_oid, key in columns
    )
    return (
        b"R"
        + _xid(xid)
        + struct.pack(">I", oid)
        + b"public\0"
        + name.encode()
        + b"\0"
        + identity.encode()
        + struct.pack(">H", len(columns))
        + body
    )


def row(cells: Sequence[Cell]) -> bytes:
    return struct.pack(">H", len(cells)) + b"".join(map(_cell, cells))


def insert(oid: int, new: Sequence[Cell], xid: int | None = None) -> bytes:
    return b"I" + _xid(xid) + struct.pack(">I", oid) + b"N" + row(new)


def update(oid: int, new: Sequence[Cell], old: Sequence[Cell] | None = None, *, full: bool = False, xid: int | None = None) -> bytes:
    before = (b"O" if full else b"K") + row(old) if old is not None else b""
    return b"U" + _xid(xid) + struct.pack(">I", oid) + before + b"N" + row(new)


def delete(oid: int, old: Sequence[Cell], *, full: bool = False, xid: int | None = None) -> bytes:
    return b"D" + _xid(xid) + struct.pack(">I", oid) + (b"O" if full else b"K") + row(old)


def truncate(oids: Sequence[int], xid: int | None = None) -> bytes:
    return b"T" + _xid(xid) + struct.pack(">IB", len(oids), 0) + b"".join(struct.pack(">I", oid) for oid in oids)


def logical_message(prefix: str, content: bytes, *, transactional: bool = True, xid: int | None = None) -> bytes:
    return b"M" + _xid(xid) + struct.pack(">BQ", transactional, 0) + prefix.encode() + b"\0" + struct.pack(">I", len(content)) + content


def _xid(xid: int | None) -> bytes:
    return b"" if xid is None else struct.pack(">I", xid & 0xFFFFFFFF)


def _cell(cell: Cell) -> bytes:
    if cell is None:
        return b"n"
    if isinstance(cell, str):
        assert cell == UNCHANGED
        return b"u"
    return b"t" + struct.pack(">I", len(cell)) + cell
