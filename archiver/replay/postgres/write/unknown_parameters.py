"""Storage parameters that a target does not know, taken out of the SQL that sets them. Pure.

A minor release may keep something new there; a pg_dump that came out before it writes that as it stands.
"""

from __future__ import annotations

import re

_KINDS = frozenset({"CONSTRAINT", "FOREIGN TABLE", "INDEX", "TABLE"})
"""Kinds whose SQL holds no text of users that could look like a list of parameters."""
_NAMED = re.compile(r'"([^"]+)"')
_LIST = re.compile(rb"\b(SET|WITH) \(([^()\n]*)\)")
UNRECOGNIZED = "22023"
"""SQLSTATE, of other invalid values too."""


def without_parameter(kind: str, sql: bytes, message: str) -> tuple[bytes, str]:
    """``sql`` of an item of ``kind`` without the parameter that the server's ``message`` quotes, and its name; two empty ones for none."""
    match = _NAMED.search(message)
    if kind not in _KINDS or match is None:
        return b"", ""
    name = match[1].encode()
    shorter = b"\n".join(filter(None, (_line(line, name) for line in sql.split(b"\n")))) + b"\n"
    return (shorter, match[1]) if shorter.split() != sql.split() else (b"", "")


def _line(line: bytes, name: bytes) -> bytes:
    """Empty where it set nothing else."""
    for found in _LIST.finditer(line):
        parameters = found[2].split(b", ")
        kept = [each for each in parameters if each.partition(b"=")[0].strip(b' "') not in (name, b"toast." + name)]
        if len(kept) < len(parameters):
            if not kept and found[1] == b"SET":
                return b""
            return line[: found.start()] + (found[1] + b" (" + b", ".join(kept) + b")" if kept else b"") + line[found.end() :]
    return line
