"""A part: one object beside the journal that an entry names, with its size and hash."""

from __future__ import annotations

import hashlib
import sys

import msgspec

from archiver.errors import Corrupt

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Part(msgspec.Struct, frozen=True):
    """One object with rows of one table as COPY text (manual, COPY: text format), zstd-compressed."""

    key: str
    rows: int
    size: int
    """Bytes stored."""
    raw_size: int
    sha256: str
    """Of the stored bytes, hex. The entry that names it is in the hash chain, so the rows are too."""


def opened(part: Part, stored: bytes) -> bytes:
    """COPY text of a part. ``Corrupt`` unless it is what its entry names."""
    if hashlib.sha256(stored).hexdigest() != part.sha256:
        raise Corrupt(f"part {part.key} was altered: its SHA-256 does not match", hint="run `archiver verify`")
    text = zstd.decompress(stored)
    if len(text) != part.raw_size:
        raise Corrupt(f"part {part.key} holds {len(text)} bytes of rows instead of {part.raw_size}", hint="run `archiver verify`")
    return text
