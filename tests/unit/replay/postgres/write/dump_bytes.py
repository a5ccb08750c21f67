"""Dumps in pg_dump's custom format, written by hand."""

from __future__ import annotations

_VERSION = (1, 16)


def _int(value: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(4, "little")


def _text(value: bytes | None) -> bytes:
    return _int(-1) if value is None else _int(len(value)) + value


def entry(number: int, kind: bytes, tag: bytes, create: bytes, drop: bytes = b"", *, section: int = 2, owner: bytes = b"") -> bytes:
    head = _int(number) + _int(0) + _text(b"1259") + _text(b"16385") + _text(tag) + _text(kind) + _int(section)
    body = _text(create) + _text(drop) + _text(None) + _text(b"public") + _text(None) + _text(b"heap") + _int(ord("r"))
    return head + body + _text(owner) + _text(b"false") + _text(b"7") + _text(None) + b"\x03" + bytes(8)


def dump_of(*entries: bytes, version: tuple[int, int] = _VERSION, count: int | None = None) -> bytes:
    head = b"PGDMP" + bytes([*version, 0, 4, 8, 1, 1]) + _int(0) * 7 + _text(b"db") + _text(b"18.1") + _text(b"18.1")
    return head + _int(len(entries) if count is None else count) + b"".join(entries)
