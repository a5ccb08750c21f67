"""How a restored database differs from the source at the same point, and whether the restore said so. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fidelity.fingerprint import Fingerprint

_AS_A_WHOLE = {
    "large objects": "large objects",
    "SUBSCRIPTION": "subscriptions",
}
"""Kinds of which a plan speaks as a whole."""
_ABOUT = ("COMMENT", "ACL", "SECURITY LABEL")
"""Kinds whose name begins with the kind of what they are about."""
_ABOUT_AS_A_WHOLE = {"SUBSCRIPTION": "subscriptions", "EXTENSION": "comments on extensions"}
_TELLING = 4
"""A name without its schema has to be as long, or any text would have it."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was."""

    kind: str
    name: str
    what: str
    """missing, extra, or how it differs."""
    leaves: tuple[str, ...] = ()
    """Names of what is below it: saying so of them says it."""
    skipped: bool = False
    """A sequence that is ahead: numbers are left out, which the product allows itself, and none is given twice."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.what}"


def differences(source: Fingerprint, restored: Fingerprint) -> Iterator[Difference]:
    """What is not equal, rows first."""
    for kind, name in sorted({*source.rows, *restored.rows}):
        one, other = source.rows.get((kind, name)), restored.rows.get((kind, name))
        if one == other or (kind == "sequence" and not source.still):
            continue
        if one is None or other is None:
            yield Difference(kind, name, "extra" if one is None else "missing")
        elif kind == "sequence":
            ahead = (other[0] - one[0]) * int(one[1]) > 0 and one[1] == other[1]
            yield Difference(kind, name, f"next is {other[0]}, was {one[0]}", skipped=ahead)
        else:
            how = f"{other[0]} rows, were {one[0]}" if one[0] != other[0] else f"other values in {one[0]} rows"
            yield Difference(kind, name, how, tuple(source.leaves.get(name, ())))
    for key in sorted({*source.schema, *restored.schema}):
        text, new = source.schema.get(key), restored.schema.get(key)
        if text != new:
            how = "extra" if text is None else "missing" if new is None else _changed(text, new)
            yield Difference(*key, how)
    for what in sorted({*source.unreadable} ^ {*restored.unreadable}):
        yield Difference("unreadable", what, "at one side only")


def _changed(text: str, new: str) -> str:
    lost = [line.strip() for line in text.splitlines() if line not in new.splitlines()]
    came = [line.strip() for line in new.splitlines() if line not in text.splitlines()]
    return f"was {' / '.join(lost[:2])[:160]!r}, is {' / '.join(came[:2])[:160]!r}" if lost or came else "lines in another order"


def is_said(difference: Difference, texts: list[str]) -> bool:
    """Whether one of ``texts``, what plan and report of a restore say, names the thing that differs."""
    if difference.skipped:
        return True
    name = difference.name.removeprefix("-.").rstrip("'")
    # A dump's item is "schema.table item" for what belongs to a table.
    about = name.partition(" ")[0]
    if difference.kind in _ABOUT and about in _ABOUT_AS_A_WHOLE:
        return any(_ABOUT_AS_A_WHOLE[about] in text for text in texts)
    owner, _, item = name.partition(" ")
    names = {name, owner, *difference.leaves}
    if difference.kind.isupper():
        names |= {each for each in (owner.partition(".")[2], item) if len(each) >= _TELLING}
    if (word := _AS_A_WHOLE.get(difference.kind)) is not None:
        return any(word in text for text in texts)
    plain = [text.replace('"', "") for text in texts]
    return any(_names(text, each) for each in names for text in plain)


def _names(text: str, name: str) -> bool:
    """Whether ``name`` stands in ``text`` as a whole word."""
    at = text.find(name)
    while at >= 0:
        before, behind = text[at - 1 : at], text[at + len(name) : at + len(name) + 1]
        if not (before.isalnum() or before in ("_", ".") or behind.isalnum() or behind == "_"):
            return True
        at = text.find(name, at + 1)
    return False
