"""What a running archiver and the process that maintains for it say to each other: a line of JSON each."""

from __future__ import annotations

from typing import Literal

import msgspec

from archiver.maintenance.folded import Folded
from archiver.maintenance.history_step import HistoryStep
from archiver.maintenance.packed import Packed
from archiver.settings import S3, Log


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done."""

    url: str
    s3: S3
    log: Log
    source: str = ""
    """Of all sources together where it is empty."""
    work: Literal["fold", "history", "pack"] = "fold"
    most_entries: int = 0
    """Of the journal that are folded at once."""
    behind_seconds: float = 0.0
    """How far before the journal's end folding stays."""
    most_steps: int = 0
    """Steps of history files, or packs, after which others have their turn."""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step that is done, whose result is durable; or why it ended before it was done."""

    folded: Folded | None = None
    filed: HistoryStep | None = None
    packed: Packed | None = None
    failure: str = ""
    hint: str = ""
