"""The source of a question that names none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.errors import Invalid

if TYPE_CHECKING:
    from archiver.journal.reader import Reader


async def only_source(reader: Reader, *, cluster: bool) -> str:
    """The archive's only cluster, or its only database. ``Invalid`` when there are several, or none; errors as of ``Reader``."""
    tail = await reader.tail()
    names = {name for name in (tail.sources if tail else ()) if name}
    found = sorted({name.partition("/")[0] for name in names if ("/" in name) is cluster})
    if len(found) == 1:
        return found[0]
    what, others = (
        ("cluster", "rows of a database are asked for with --table") if cluster else ("database", "objects of a cluster with --object")
    )
    if not found:
        raise Invalid(f"the archive has no {what}", hint=others)
    raise Invalid(f"the archive has {len(found)} {what}s", hint=f"name one with --source: {', '.join(found)}")
