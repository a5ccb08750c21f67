"""LSNs: ``16/B374D848`` in records and for people, one 64-bit number in frames and for comparing."""

from __future__ import annotations

import re

from archiver.errors import Invalid

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


def parse_lsn(text: str) -> int:
    """The number of an LSN in the server's text form. ``Invalid`` for anything else."""
    match = _LSN.fullmatch(text)
    if match is None:
        raise Invalid(f"{text!r} is not an LSN", hint="an LSN looks like 16/B374D848")
    return int(match[1], 16) << 32 | int(match[2], 16)


def format_lsn(lsn: int) -> str:
    """The server's text form."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
