"""What a running archiver and the process that folds for it say to each other: a line of JSON each."""

from __future__ import annotations

import msgspec

from archiver.maintenance.folded import Folded
from archiver.settings import S3, Log


class FoldOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done."""

    url: str
    s3: S3
    log: Log
    source: str
    most_entries: int
    behind_seconds: float


class FoldAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step that is done, whose result is durable; or why it ended before it was done."""

    done: Folded | None = None
    failure: str = ""
    hint: str = ""
