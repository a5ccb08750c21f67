"""Values of rows and objects as texts of a bounded length, and what kind of value each is. Pure."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET

LONGEST = 2000
"""Characters of a value that the page is given."""


class Value(msgspec.Struct, frozen=True, omit_defaults=True):
    """One value, for the page."""

    text: str = ""
    sort: Literal["text", "null", "none", "unknown"] = "text"
    """none: it was not there."""
    more: int = 0
    """Characters that are left out."""


class Difference(msgspec.Struct, frozen=True):
    """A field before and after."""

    name: str
    old: Value
    new: Value


def shown(value: Any, *, known: bool = True, longest: int = LONGEST) -> Value:
    """``value``; UNSET for what is not there."""
    if not known:
        return Value(sort="unknown")
    if value is UNSET:
        return Value(sort="none")
    if value is None:
        return Value(sort="null")
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return Value(text[:longest], more=max(0, len(text) - longest))
