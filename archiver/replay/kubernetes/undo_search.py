"""Finds the record of the restore that is to be undone, and takes none that does not prove to be that restore's.

the newest first -> of an undo, and no mark was named -> passed over: running `archiver undo` again must not do the restore again
of this archive, under the key of its entry, which is a mark of that name, which ends with the digest of the record -> it
otherwise -> a mark was named: passed over, another one may be its record; none was: told, since it may be the newest
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.errors import ArchiverError, Corrupt, Invalid
from archiver.journal.entry import Kind
from archiver.journal.keys import UNDO, undo_key
from archiver.journal.record_reader import read_record
from archiver.journal.records import Mark
from archiver.replay.kubernetes.fold import place_of, require_there
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.undo_record import MOST_BYTES, UndoRecord, record_digest

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.journal.segment import SegmentHeader

_PAGE = 100


async def find_record(reader: Reader, mark: str) -> UndoRecord:
    """The record of the restore that ``mark`` names; empty: of the newest one that is no undo.

    ``Invalid`` when there is none, ``Corrupt`` for one that is not what its mark says, ``Retired`` when its mark was.
    """
    tail, after = await reader.tail(), ""
    fault: ArchiverError | None = None
    while tail is not None and (keys := await reader.store.list(UNDO, after=after, limit=_PAGE)):
        for key in keys:
            body = await reader.store.get(key, 0, MOST_BYTES + 1)
            if body is None:
                continue
            name = f"{key} of {reader.store.url}"
            try:
                record = UndoRecord.read(body, name)
                if record.mark != mark if mark else record.undoes is not msgspec.UNSET:
                    continue
                await _require_proven(reader, tail, key, body, record, name)
            except (Corrupt, Invalid) as error:
                if not mark:
                    hint = f"name the mark of the restore that is meant: archiver undo MARK; or {error.hint}"
                    raise type(error)(error.message, hint=hint) from None
                fault = error
            else:
                return record
        after = keys[-1]
    if fault is not None:
        raise type(fault)(f"no restore with the mark {mark!r} is recorded that could be undone, and {fault.message}", hint=fault.hint)
    raise Invalid(
        f"no restore with the mark {mark!r} is recorded" if mark else "no restore is recorded that could be undone",
        hint="a restore into a captured cluster says its mark; into other targets there is no undo",
    )


async def _require_proven(reader: Reader, tail: SegmentHeader, key: str, body: bytes, record: UndoRecord, name: str) -> None:
    why = ""
    if key != undo_key(record.entry):
        why = f"its key is not that of entry {record.entry}"
    elif record.plan.archive != tail.archive:
        why = f"it is of archive {record.plan.archive}, and this one is {tail.archive}"
    elif not record.mark.endswith(f"-{record_digest(body, name)}"):
        why = f"the mark {record.mark!r} was set for another one"
    elif record.mark not in await _marks_at(reader, tail, record.entry):
        why = f"entry {record.entry} is no mark {record.mark!r}"
    if why:
        raise Corrupt(f"{name} is no record of a restore here: {why}", hint="move it away")


async def _marks_at(reader: Reader, tail: SegmentHeader, entry: int) -> set[str]:
    """The name of the mark that is ``entry``, if it is one."""
    if not 0 < entry < tail.first + tail.count:
        return set()
    await require_there(reader, Cut(seq=entry))
    segment = await place_of(reader, tail, entry)
    found = set()
    async for placed in reader.read(segment, last=segment):
        if placed.run.kind is Kind.MARK:
            found |= {
                read_record(text, Mark, placed).name for number, text in enumerate(placed.run.bodies(), placed.first) if number == entry
            }
    return found
