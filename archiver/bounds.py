"""The ranges that options of every room share."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

MOST = 1_000_000_000
"""Seconds of thirty years: times are counted in microseconds, and what is to be for ever is no number of them."""
Positive = Annotated[float, Meta(gt=0, le=MOST)]
"""More than nothing: seconds, or a rate."""
NotNegative = Annotated[float, Meta(ge=0, le=MOST)]
"""Seconds, or a ratio, that may be nothing."""
Count = Annotated[int, Meta(ge=1)]
"""At least one."""
