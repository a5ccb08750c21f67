"""Whether a pattern of ``log --like`` can match any row of a table at all. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

_ANY = "*"


def may_match(pattern: str, columns: Sequence[str]) -> bool:
    """Whether some values of ``columns`` make a key, as ``key_label`` writes it, that is like ``pattern``."""
    return _meet(list(_tokens(pattern)), list(_shape(columns)))


def _shape(columns: Sequence[str]) -> Iterator[str]:
    for place, column in enumerate(columns):
        yield from f"{', ' if place else ''}{column}="
        yield ""


def _tokens(pattern: str) -> Iterator[str]:
    """Its characters, ``?``, sets as ``[a-z]``, and ``*``, as ``fnmatch`` reads them."""
    at = 0
    while at < len(pattern):
        end = at + 1
        if pattern[at] == "[":
            begin = at + 2 if pattern[at + 1 : at + 2] == "!" else at + 1
            closed = pattern.find("]", begin + 1)
            end = closed + 1 if closed >= 0 else at + 1
        yield pattern[at:end]
        at = end


def _meet(pattern: Sequence[str], shape: Sequence[str]) -> bool:
    """Whether a text has both. An empty string of ``shape`` stands for any text."""
    # From the end: whether what is left of each can be one text.
    below = [True] * (len(shape) + 1)
    for place in reversed(range(len(shape))):
        below[place] = below[place + 1] and shape[place] == ""
    for token in reversed(pattern):
        row = [False] * (len(shape) + 1)
        for place in reversed(range(len(shape) + 1)):
            left = shape[place] if place < len(shape) else None
            if token == _ANY:
                row[place] = below[place] or (left is not None and row[place + 1])
            elif left == "":
                row[place] = row[place + 1] or below[place]
            elif left is not None:
                row[place] = below[place + 1] and fnmatchcase(left, token)
        below = row
    return below[0]
