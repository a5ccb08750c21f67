"""What one fold made, and how much it takes at once. Apart from the folding itself, whose drivers who only starts it need not load."""

from __future__ import annotations

from dataclasses import dataclass

MOST_ENTRIES = 500_000
"""Entries, of all sources, that are folded at once: memory goes with the rows that they touch."""

NOTHING_NEW = "nothing has happened since the newest checkpoint"
"""A reason: nothing can be made until something happens."""

FOLDED_OTHERWISE = "{stream} comes to other objects than the API server listed: `archiver verify` tells whether a segment is damaged"
"""A reason: until the next full list of the stream, its checkpoint stays the one before."""


@dataclass(frozen=True, slots=True)
class Folded:
    """What was done for one source."""

    source: str
    key: str = ""
    """Empty: nothing was made."""
    entry: int = 0
    reason: str = ""
    """Why nothing was made."""
    transactions: int = 0
    """Of a database, folded since the checkpoint before."""
    rows: int = 0
    """Or objects."""
    written: int = 0
    """Bytes of new parts."""
    kept: int = 0
    """Bytes of parts of the checkpoint before in which nothing had changed."""
