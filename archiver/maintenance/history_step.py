"""What one step of writing history files did."""

from __future__ import annotations

from dataclasses import dataclass

STEP_ENTRIES = 1_000_000
"""Entries, of all sources, after which a step is published."""
FILE_BYTES = 64 << 20
"""Records in memory of which a file is made."""


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """What was done for one source."""

    source: str
    done: bool = False
    """Nothing is left to do."""
    covered: int = 0
    """The last entry of the journal that the files cover."""
    newest: int = 0
    """The newest time that the source gave for what they cover."""
    records: int = 0
    files: int = 0
    written: int = 0
    """Bytes of new files."""
    reason: str = ""
    """Why nothing was made."""
    merged: int = 0
    """Files that were replaced by fewer, with the same records."""
