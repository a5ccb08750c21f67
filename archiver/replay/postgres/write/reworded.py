"""Definitions that mean the same in the target and are read back from it in other words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from archiver.errors import Refused
from archiver.replay.postgres.write.dump_items import Item, items_of

_CAST_AS_A_WHOLE = re.compile(rb"\(ARRAY\[.*?\]\)::", re.DOTALL)
"""What a server says of ``v IN ('a', 'b')`` with a varchar column. Reading that, it casts each element instead."""
_BODIES = frozenset({"FUNCTION", "PROCEDURE", "COMMENT"})
"""Kinds whose text is kept as it is."""
_SHOWN = 5
"""Names that a sentence has room for."""


def reworded(items: Iterable[Item]) -> list[str]:
    """One sentence for people, or none. Names as in ``Item.name``."""
    found = [item.name for item in items if item.kind not in _BODIES and _CAST_AS_A_WHOLE.search(item.sql)]
    if not found:
        return []
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    said = "the target may read the definition back in other words, with the same meaning: it casts the elements of lists one by one"
    return [f"{', '.join(found[:_SHOWN])}{more}: {said}"]


def reworded_in(dump: bytes) -> list[str]:
    """The same of a stored dump; nothing of one whose format is newer than this program. Raises ``Corrupt``."""
    try:
        return reworded(items_of(dump))
    except Refused:
        return []
