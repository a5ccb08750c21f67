"""The ranges that options of every room share."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
"""More than nothing: seconds, or a rate."""
Count = Annotated[int, Meta(ge=1)]
"""At least one."""
