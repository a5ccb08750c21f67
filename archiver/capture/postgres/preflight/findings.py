"""One thing that preflight found, and how several of a kind are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

SHOWN = 5
"""Names of a kind that are told one by one."""


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
    until_slot: bool = False
    """It says why the slot cannot be made yet: nothing once there is one."""


def several(noun: str, names: Sequence[str]) -> str:
    """``table a.b``, or ``7 tables (a.b, c.d, …)``."""
    if len(names) == 1:
        return f"{noun} {names[0]}"
    more = ", …" if len(names) > SHOWN else ""
    return f"{len(names)} {noun}s ({', '.join(names[:SHOWN])}{more})"


def and_others(names: Sequence[object]) -> str:
    """What to add to a statement that has only the first of ``names``."""
    return f" (and {len(names) - SHOWN} more: see the statements below)" if len(names) > SHOWN else ""


def grouped(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Second members by their first, in the order of their coming."""
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return list(found.items())
