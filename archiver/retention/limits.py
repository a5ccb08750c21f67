"""What is promised to stay, and how carefully the rest goes: the defaults and what they mean. The settings inherit them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from archiver.bounds import Positive


class SourceRetention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one source promises otherwise."""

    restore_seconds: Positive
    """Every point of this many seconds before the journal's end stays restorable. The journal is shared: it stays as long as the most
    demanding source needs it."""


class RetentionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Retention of an archive. Without ``restore_seconds`` nothing is ever deleted."""

    restore_seconds: Annotated[float, Meta(ge=0)] = 0.0
    """Every point of this many seconds before the journal's end stays restorable; 0: every point does, and nothing is deleted."""
    sources: dict[str, SourceRetention] = {}
    """By name: a source with a window of its own."""
    audit_seconds: Annotated[float, Meta(ge=0)] = 0.0
    """The journal of this many seconds stays where history files of a source do not cover it; history files themselves stay."""
    keep_marks: bool = True
    """Every mark stays restorable; off: only those in ``pins``."""
    pins: list[str] = []
    """Names of marks that stay restorable, and with them the journal from there on."""
    grace_seconds: Positive = 86400.0
    """Between the plan of what goes and its deletion, which is judged anew then."""
    most_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """A pass that would delete more than this share of the segments is refused."""
