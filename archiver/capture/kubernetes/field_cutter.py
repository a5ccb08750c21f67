"""Cuts fields out of an object's JSON. Every byte that is not cut stays as it came: nothing is decoded and written anew. Pure.

A name that meets a list stands for that field of each of its elements; a list in such a list is cut whole. Where in doubt, too much is cut.
Recursion goes as deep as a path is long, however deep the object nests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from archiver.kubernetes.redaction_mark import ANY, Parts
from archiver.untrusted import Unreadable, element_places, member_places, members

Path = tuple[Parts, str]
"""What is still to go, and how the settings write the whole."""


def cut(body: bytes, paths: Sequence[Path], found: set[str]) -> bytes:
    """``body``, a JSON object, without what ``paths`` name. ``found`` hears which of them met something. Raises ``Unreadable``; what no
    path can lead to is not read, and may be no JSON.
    """
    return _object(body, paths, found)


def _value(body: bytes, paths: Sequence[Path], found: set[str]) -> bytes | None:
    """What is left of a value that ``paths`` lead to; None: nothing."""
    ends = [text for parts, text in paths if not parts]
    if ends:
        found.update(ends)
        return None
    opening = body[:1]
    if opening == b"{":
        return _object(body, paths, found)
    if opening == b"[":
        return _list(body, paths, found)
    return body


def _leads_in(body: bytes, parts: Parts) -> bool:
    """A first look, which finds nothing to do at the speed of a search: whether a path can meet anything in an object or a list."""
    name = next((part for part in parts if part != ANY), None)
    if name is None or b"\\" in body or name.encode("utf-8", "surrogatepass") in body:
        return True
    # A list in a list is cut whatever is in it.
    return not (parts[0] == name and body[:1] == b"{") and body.find(b"[", 1) >= 0


def _object(body: bytes, paths: Sequence[Path], found: set[str]) -> bytes:
    paths = [path for path in paths if _leads_in(body, path[0])]
    if not paths:
        return body
    kept, same = [], True
    for member in member_places(body):
        below = [(parts[1:], text) for parts, text in paths if parts[0] in (member.key, ANY)]
        value = body[member.value : member.end]
        left = _value(value, below, found) if below else value
        if left is not None:
            kept.append(body[member.start : member.value] + left)
        same = same and left == value
    return body if same else b"{" + b",".join(kept) + b"}"


def _list(body: bytes, paths: Sequence[Path], found: set[str]) -> bytes:
    paths = [path for path in paths if _leads_in(body, path[0])]
    if not paths:
        return body
    kept, same = [], True
    inside = [(parts[1:], text) for parts, text in paths if parts[0] == ANY]
    through = [(parts, text) for parts, text in paths if parts[0] != ANY]
    for at, end in element_places(body):
        value = body[at:end]
        nested = through if value[:1] == b"[" else []
        left = _value(value, [*inside, *(((), text) for _, text in nested), *([] if nested else through)], found)
        if left is not None:
            kept.append(left)
        same = same and left == value
    return body if same else b"[" + b",".join(kept) + b"]"


def rewrite(body: bytes, name: str, made: Callable[[bytes], bytes]) -> bytes:
    """A JSON object with ``made`` of each value of member ``name`` in its place. Raises ``Unreadable``."""
    pieces, at = [], 0
    for member in member_places(body):
        if member.key == name:
            pieces += [body[at : member.value], made(body[member.value : member.end])]
            at = member.end
    return b"".join((*pieces, body[at:]))


def rewrite_elements(body: bytes, made: Callable[[bytes], bytes]) -> bytes:
    """A JSON list with ``made`` of each element; what is no list as it is."""
    if body[:1] != b"[":
        return body
    return b"[" + b",".join(made(body[at:end]) for at, end in element_places(body)) + b"]"


def cut_owned(fields: bytes, paths: Sequence[Path], *, element: bool = False) -> bytes:
    """``fieldsV1`` of an entry of ``managedFields`` without values of what ``paths`` name: names of fields stay, and nothing below them.

    A set stands there with its values (``v:``), a list by its keys (``k:``).
    A value that may hold what is named goes whole. ``element``: ``fields`` are those of an element of a list.
    """
    if not paths or fields[:1] != b"{":
        return fields
    kept = []
    for member in member_places(fields):
        sort, _, name = member.key.partition(":")
        value, below = fields[member.value : member.end], []
        if sort == "f":
            below = [(parts[1:], text) for parts, text in paths if parts[0] in (name, ANY)]
        elif sort in ("k", "v", "i"):
            below = [(parts[1:] if parts[0] == ANY else parts, text) for parts, text in paths]
            holds = sort == "v" and name.lstrip()[:1] in ("{", "[")
            named = sort == "k" and _names(name, below)
            if any(not parts for parts, _ in below) or (below and (element or holds)) or named:
                continue
        ends = any(not parts for parts, _ in below)
        kept.append(fields[member.start : member.value] + (b"{}" if ends else cut_owned(value, below, element=sort != "f")))
    return b"{" + b",".join(kept) + b"}"


def _names(key: str, paths: Iterable[Path]) -> bool:
    """Whether an element's key (JSON of some of its fields) holds what is to be cut."""
    try:
        keys = members(key.encode()).keys()
    except Unreadable:
        return True
    return any(parts[0] == ANY or parts[0] in keys for parts, _ in paths)
