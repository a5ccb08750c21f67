"""SQL scripts as psql reads them, cut where a statement ends. Pure.

Scripts are bytes in any encoding, so they are handled as Latin-1, which keeps every byte.
"""

from __future__ import annotations

import re

_NEXT = re.compile(r"--|/\*|'|\"|\$(?:[A-Za-z_\x80-\xff][A-Za-z_0-9\x80-\xff]*)?\$|;|\\|[()]|\n")
_COPY = re.compile(r"(?:\s|--[^\n]*\n)*copy\b.*\bfrom\s+stdin\b", re.IGNORECASE | re.DOTALL)
_SENDS = re.compile(r"\\(?:g\w*|crosstabview|watch|bind)\b")
_BRANCH = re.compile(r"\\(if|endif)\b")
_PLAIN_TEXT_END = re.compile(r"^\\\.\r?$", re.MULTILINE)


def cut(script: str) -> list[str]:
    """``script`` in pieces that each end where psql has no statement pending; joined they are the script.

    A piece may hold less than a statement where one has ``;`` inside (a body that begins with BEGIN ATOMIC): whoever feeds psql piece by
    piece loses nothing by that. From ``\\if`` to its ``\\endif`` is one piece: in a branch that is not taken psql does not answer.
    """
    pieces = []
    piece = began = at = depth = branches = 0
    while (found := _NEXT.search(script, at)) is not None:
        token, at = found[0], found.end()
        if token in "()":
            depth = max(0, depth + (1 if token == "(" else -1))
            continue
        if token == "\n":
            continue
        if token == ";":
            if depth:
                continue
            if _COPY.match(script, began, at):
                at = _behind_data(script, at)
        elif token == "\\":
            idle = not script[began : found.start()].strip()
            sends = _SENDS.match(script, found.start()) is not None
            if (branch := _BRANCH.match(script, found.start())) is not None:
                branches = max(0, branches + (1 if branch[1] == "if" else -1))
            at = _behind(script, "\n", at)
            if not (idle or sends):
                continue
        else:
            at = _behind_quoted(script, token, found.start(), at)
            continue
        depth, began = 0, at
        if not branches:
            pieces.append(script[piece:at])
            piece = at
    return [*pieces, script[piece:]] if piece < len(script) else pieces


def _behind(script: str, mark: str, at: int) -> int:
    end = script.find(mark, at)
    return len(script) if end < 0 else end + len(mark)


def _behind_data(script: str, at: int) -> int:
    """Behind the rows of COPY FROM STDIN, which end with a line of its own."""
    end = _PLAIN_TEXT_END.search(script, at)
    return len(script) if end is None else min(end.end() + 1, len(script))


def _behind_quoted(script: str, token: str, began: int, at: int) -> int:
    """Behind what ``token`` opens: a comment, a string, a quoted name."""
    if token == "--":
        return _behind(script, "\n", at)
    if token == "/*":
        return _behind_comment(script, at)
    if token == "'" and began and script[began - 1] in "eE" and not script[began - 2 : began - 1].isalnum():
        end = re.compile(r"(?:[^'\\]|\\.|'')*'", re.DOTALL).match(script, at)
        return len(script) if end is None else end.end()
    return _behind(script, token, at)


def _behind_comment(script: str, at: int) -> int:
    depth = 1
    for found in re.compile(r"/\*|\*/").finditer(script, at):
        depth += 1 if found[0] == "/*" else -1
        if not depth:
            return found.end()
    return len(script)
