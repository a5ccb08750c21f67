"""One thing that preflight found, and how several of a kind are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """What it is about, why it matters, what to do."""

    code: str
    """Stable word; docs/reference/postgres-preflight.md has one line for each."""
    about: str
    """``server``, ``role …``, ``database``, ``table public.runs``, …"""
    reason: str
    remedy: str
    level: Literal["refused", "warning", "note"] = "refused"


def several(noun: str, names: Sequence[str]) -> str:
    """``table a.b``, or ``7 tables (a.b, c.d, …)``."""
    if len(names) == 1:
        return f"{noun} {names[0]}"
    more = ", …" if len(names) > _SHOWN else ""
    return f"{len(names)} {noun}s ({', '.join(names[:_SHOWN])}{more})"
