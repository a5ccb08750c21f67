"""The entries that the history of one object needs, as history files have them. They save reading, and prove nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from archiver.errors import Corrupt
from archiver.journal.entry import Placed
from archiver.lake.data_file import Wanted
from archiver.lake.history_table import open_history, read_records, say_passed_over
from archiver.lake.object_changes import LISTED, NotVerbatim, as_run, object_key, resource_name

if TYPE_CHECKING:
    from archiver.journal.reader import Reader

_Repeated = tuple[int, str]


class FiledEntries(NamedTuple):
    """What files have of one object and of its streams, in the journal's order, each entry a run of its own."""

    entries: list[Placed | _Repeated]
    """Or an entry and its stream: a list has the object as it was recorded last."""
    segment: int
    """The segment behind them."""


async def filed_entries(reader: Reader, source: str, resource: str, namespace: str, name: str) -> FiledEntries | None:
    """Of ``namespace/name`` of ``plural`` or ``plural.group``; ``None`` when files do not tell."""
    history = await open_history(reader, source)
    if history is None:
        return None
    names = {resource_name(stream) for stream in history.progress.streams}
    meant = sorted(each for each in names if resource in (each, each.partition(".")[0]))
    if not meant:
        return None
    try:
        records = await read_records(reader.store, history.files, Wanted([0], [object_key(namespace, name), ""], meant))
    except Corrupt as error:
        say_passed_over(source, error)
        return None
    found: list[tuple[int, Placed | _Repeated]] = []
    for record in records:
        try:
            entry, run = record["entry"], as_run(record)
        except NotVerbatim:
            return None
        if run is not None:
            found.append((entry, Placed(entry, record["segment"], 0, 0, run)))
        elif record["operation"] == LISTED:
            found.append((entry, (entry, record["source"])))
    return FiledEntries([each for _, each in sorted(found, key=lambda each: each[0])], history.progress.segment)
