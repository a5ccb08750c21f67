"""What maintenance may take and when it works: the defaults and what they mean. The settings inherit them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from archiver.bounds import NotNegative, Positive


class MaintenanceLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Folding, and writing history files, in the background of ``archiver run``."""

    enabled: bool = True
    """Fold the journal into newer checkpoints while capture runs, in a process of its own. Off where `archiver maintain` runs elsewhere."""
    history_files: bool = False
    """Write history files too, for `log` and for engines that read Delta tables, as `archiver maintain --history` does."""
    compaction: bool = False
    """Copy small segments that are no longer new into packs, a thousand in an object: restores, history files and questions that read far
    back then make few requests. The segments stay, so it saves no room. Done by `archiver maintain`, and in the background of `run`."""
    restore_time_objective: Positive = 60.0
    """Seconds that reading and folding the tail behind the newest checkpoint may take at a restore, as estimated; half of it is folded."""
    interval_seconds: Positive = 300.0
    """How often the tails are looked at, and the shortest time between two folds of one source, or two additions to its history files."""
    rest_ratio: NotNegative = 4.0
    """A fold is followed by so many times as long without one of that source: with 4 a fifth of the time goes into folding at most.
    So are history files."""
    memory_bytes: Annotated[int, Meta(ge=134_217_728)] = 536_870_912
    """Resident memory of the process that does it: one that takes more is ended, and half as many entries are folded at once then."""
    behind_seconds: NotNegative = 240.0
    """How far before the journal's end to stay: a schema change is often recorded a little later than it was made."""
