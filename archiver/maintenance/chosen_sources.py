"""Which sources of an archive are maintained, and what they are. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archiver.journal.segment import SegmentHeader


def chosen_sources(tail: SegmentHeader | None, sources: Collection[str]) -> list[tuple[str, bool]]:
    """By name: each source of the archive that ends with ``tail``, of ``sources`` if there are any, and whether it is a cluster."""
    known = {name.partition("/")[0]: "/" in name for name in tail.sources if name} if tail else {}
    return sorted((name, is_cluster) for name, is_cluster in known.items() if not sources or name in sources)
