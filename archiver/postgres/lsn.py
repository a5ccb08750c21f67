"""LSNs: ``16/B374D848`` in records and for people, one 64-bit number in frames and for comparing.

An LSN is given. A position may be missing: then it is 0 as a number and empty as text.
"""

from __future__ import annotations

import re

from archiver.errors import Invalid

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


def match_lsn(text: str) -> int | None:
    """The number of an LSN in the server's text form; ``None`` for anything else."""
    match = _LSN.fullmatch(text)
    return int(match[1], 16) << 32 | int(match[2], 16) if match else None


def parse_lsn(text: str) -> int:
    """The number of an LSN in the server's text form. ``Invalid`` for anything else."""
    lsn = match_lsn(text)
    if lsn is None:
        raise Invalid(f"{text!r} is not an LSN", hint="an LSN looks like 16/B374D848")
    return lsn


def format_lsn(lsn: int) -> str:
    """The server's text form."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_position(text: str) -> int:
    """The number of a position that the server or our own journal gave; 0 for the empty text. ``ValueError`` for anything else."""
    lsn = match_lsn(text) if text else 0
    if lsn is None:
        raise ValueError(f"not an LSN: {text!r}")
    return lsn


def format_position(lsn: int) -> str:
    """The server's text form; empty for 0."""
    return format_lsn(lsn) if lsn else ""
