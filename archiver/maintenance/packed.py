"""What a step of packing made. Apart from the packing itself, which who only starts it need not load."""

from __future__ import annotations

import msgspec

SPAN = 1024
"""Segments of a pack."""


class Packed(msgspec.Struct, frozen=True):
    """One pack that is durable."""

    key: str
    first: int
    last: int
    segments: int
    """That it holds; 0: its stretch is not worth a pack."""
    bytes: int
