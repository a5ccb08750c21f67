"""The only place that spells object keys."""

from __future__ import annotations

import re

IDENTITY = "archive.json"
"""Identity of the archive."""
SEGMENTS = "journal/"
"""Prefix of all segments, and of nothing else."""
PARTS = "parts/"
"""Prefix of objects that entries name."""

_SEGMENT = re.compile(r"journal/([0-9a-f]{16})")
_UNSAFE = re.compile(rb"[^A-Za-z0-9._-]")


def segment_key(number: int) -> str:
    """Key of segment ``number``: keys sort as the numbers do."""
    return f"{SEGMENTS}{number:016x}"


def number_of(key: str) -> int | None:
    """Number of the segment under ``key``; ``None`` when no segment has such a key."""
    match = _SEGMENT.fullmatch(key)
    return int(match[1], 16) if match else None


def part_prefix(source: str, identity: str) -> str:
    """Prefix of the parts of one baseline or table snapshot, ``identity``, of ``source``.

    Bytes of ``source`` that a key may not hold are written ``=XX``; one source is always one level of the key.
    """
    level = _UNSAFE.sub(lambda match: b"=%02X" % match[0][0], source.encode()).decode()
    return f"{PARTS}{level}/{identity}/"


def part_key(source: str, identity: str, number: int) -> str:
    """Key of part ``number`` (0, 1, 2, …) of one baseline or table snapshot of ``source``."""
    return f"{part_prefix(source, identity)}{number:06d}.zst"
