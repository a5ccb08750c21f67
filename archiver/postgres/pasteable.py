"""SQL that is shown to people, who paste it: every name and value in it is quoted here, and none can end its quotes or its line.

Names are chosen by whoever may create something at a source. ``psql`` runs a line that is pasted as it comes, backslash commands and all,
so a name that holds a line feed or another hidden character is written with PostgreSQL's own escapes.
"""

from __future__ import annotations

import re

from archiver.terminal import HIDDEN

_QUOTED = re.compile(r'"((?:[^"]|"")*)"')


def identifier(*parts: str) -> str:
    """A name, each part always in quotes: ``"public"."runs"``, ``U&"a\\000Ab"``."""
    return ".".join(map(_quoted, parts))


def literal(text: str) -> str:
    """A string, ``'it''s'`` or ``E'a\\u000Ab'``."""
    if "\\" not in text and not HIDDEN.search(text):
        return "'" + text.replace("'", "''") + "'"
    body = text.replace("\\", "\\\\").replace("'", "''")
    return "E'" + HIDDEN.sub(lambda match: _point(match[0], "\\u", "\\U"), body) + "'"


def statement(text: str) -> str:
    """SQL of our own, whose only foreign words are quoted names, with each of them as ``identifier`` has it."""
    return _QUOTED.sub(lambda match: _quoted(match[1].replace('""', '"')), text)


def _quoted(name: str) -> str:
    if not HIDDEN.search(name):
        return '"' + name.replace('"', '""') + '"'
    body = name.replace("\\", "\\\\").replace('"', '""')
    return 'U&"' + HIDDEN.sub(lambda match: _point(match[0], "\\", "\\+"), body) + '"'


def _point(character: str, short: str, long: str) -> str:
    number = ord(character)
    digits = 8 if long == "\\U" else 6
    return f"{short}{number:04X}" if number < 0x10000 else f"{long}{number:0{digits}X}"
