"""Text on its way to a terminal: what would act there, or not be seen, is shown.

Names, values and errors come from whoever may write to a source. A terminal obeys control characters in them: it moves, clears, renames
itself, types. Others reorder a line or hide in it. So each is written as its escape, and everything that is printed passes through here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_RANGES = (
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # written nowhere, or in another order
    "\ud800-\udfff"  # no characters: a stream would not take them
)
HIDDEN = re.compile(f"[{_RANGES}]")
"""A character that a terminal obeys, or that nobody sees."""
_BUT_LINES = re.compile(f"(?![\n\t])[{_RANGES}]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def visible(text: str) -> str:
    """``text`` on one line, with an escape (``\\x1b``, ``\\u202e``) for each hidden character."""
    return HIDDEN.sub(_escaped, text)


def visible_lines(text: str) -> str:
    """As ``visible``, but line feeds and tabs stay."""
    return _BUT_LINES.sub(_escaped, text)


def visible_json(document: str) -> str:
    """The same JSON with JSON's own escapes for hidden characters. Those can only stand inside strings, but for white space."""
    return _BUT_LINES.sub(_json_escape, document)


def visible_yaml(document: str) -> str:
    """The same YAML, in which hidden characters other than line feeds stand in double quotes only."""
    return _BUT_LINES.sub(lambda match: _wide(ord(match[0])), document)


def colourless(environ: Mapping[str, str]) -> bool:
    """Whether whoever reads wants no colours and no bold: ``NO_COLOR`` is set to anything (no-color.org)."""
    return bool(environ.get("NO_COLOR"))


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    return _SHORT.get(character) or (f"\\x{ord(character):02x}" if character < "\u0100" else _wide(ord(character)))


def _wide(number: int) -> str:
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
