"""How much of an archive is looked at, and from where on. Whatever is found to be bad, all of the archive is read then: a report of damage
says all that is bad, and exactly which points can still be restored.

| level | segments | parts |
| --- | --- | --- |
| names | each number is there, nothing else is | – |
| hashes | all bytes: hashes, chain, numbers, marks | each is there and has its size |
| share | the same | the bytes of those that every thirtieth segment names, another one each day |
| all | the same | all bytes |

From a noted chain head on (``since``), hashes and share read what is behind it, and look at the names of all. Share also reads, of what is
before it, every thirtieth segment, and the parts that these name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from archiver.errors import Corrupt, Invalid
from archiver.journal.chain import VOID_REACH, End
from archiver.journal.entry import Kind
from archiver.journal.folded_checkpoints import Naming
from archiver.journal.keys import number_of
from archiver.journal.last_segment import segment_keys
from archiver.journal.parts import Offload, part_faults
from archiver.journal.reader import Reader
from archiver.journal.record_reader import read_record
from archiver.journal.verifier import Share, VerifyReport, verify

if TYPE_CHECKING:
    from archiver.journal.known_head import KnownHead
    from archiver.journal.segment import Segment
    from archiver.store.protocol import Store

Level = Literal["names", "hashes", "share", "all"]
LEVELS: tuple[Level, ...] = ("names", "hashes", "share", "all")

Progress = Callable[[int, int], None]

_AT_ONCE = 4
"""Earlier segments that are read at once: each may be large."""


async def verify_level(
    store: Store,
    progress: Progress | None = None,
    *,
    level: Level,
    turn: int = 0,
    since: KnownHead | None = None,
    known_head: KnownHead | None = None,
    offload: Offload = asyncio.to_thread,
) -> VerifyReport:
    """As ``verify``, at a level. ``since``: a head that an earlier verify printed; ``turn``: which share it is, such as a day's number.

    Raises ``Invalid`` for a ``since`` without a segment's number, or with a level that reads everything or nothing, and for a
    ``known_head`` with a level that reads nothing.
    """
    if since is not None and level not in ("hashes", "share"):
        raise Invalid(f"--level {level} does not go on from a chain head", hint="say --level hashes or share with --since")
    if known_head is not None and level == "names":
        raise Invalid("--level names reads no segment, and compares no head", hint="leave --known-head out, or say --level hashes")
    share = Share(turn) if level == "share" else None
    report = None
    try:
        if level == "names":
            report = await _names(store)
        elif since is not None:
            report = await _behind(store, progress, since, share, offload)
    except Corrupt:
        # What it is, and what it costs, is told by reading all of it.
        report = None
    if report is None or not report.ok:
        deep, shared = level in ("share", "all"), share if since is None else None
        report = await verify(store, progress, deep=deep, share=shared, known_head=known_head or since, offload=offload)
    report.level = level
    return report


async def _names(store: Store) -> VerifyReport:
    """Whether every number up to the last has its segment. ``Corrupt`` when one has none."""
    reader = Reader(store)
    report = VerifyReport((await reader.identity()).id)
    extent = await reader.extent()
    strays: list[str] = []
    async for key in segment_keys(store):
        number = number_of(key)
        following = extent.number(report.segments)
        if number == following:
            report.segments += 1
        elif number is None or number in extent:
            strays.append(key)
            if number is not None or len(strays) > _STRAYS:
                raise Corrupt(f"{key} stands where segment {following} should be", hint="run `archiver verify`")
    if report.segments <= extent.place(extent.first):
        raise Corrupt("there is no segment", hint="run `archiver verify`")
    report.strays = strays
    if strays:
        report.reason = f"{strays[0]} stands among the segments and is none: move it away, and find out who put it there"
    return report


_STRAYS = 100


async def _behind(store: Store, progress: Progress | None, since: KnownHead, share: Share | None, offload: Offload) -> VerifyReport | None:
    """What is behind a noted head, and a share of what is before it. ``None``, or ``Corrupt``, when not all of it is good."""
    if since.number is None:
        raise Invalid(f"--since {since.chain}: the number of its segment is missing", hint="give HASH@NUMBER, as verify printed it")
    names = await _names(store)
    reader = Reader(store, packs=False, offload=offload)
    start = await reader.before(since.number + 1)
    if names.segments <= (await reader.extent()).place(since.number) or (start.segment, start.chain.hex()) != (since.number, since.chain):
        return None
    if share is not None and not await _share_is_whole(reader, start, share, offload):
        return None
    return await verify(store, progress, deep=share is not None, start=start, offload=offload)


async def _share_is_whole(reader: Reader, start: End, share: Share, offload: Offload) -> bool:
    """Whether the segments of ``share`` up to ``start``, and the parts that they name, are as they were written. ``Corrupt`` as well."""
    extent = await reader.extent()
    numbers = [number for number in range(share.turn % share.of, start.segment + 1, share.of) if number in extent]
    for at in range(0, len(numbers), _AT_ONCE):
        for segment in await asyncio.gather(*map(reader.segment, numbers[at : at + _AT_ONCE])):
            if segment is None or not await _is_continued(reader, segment, start):
                return False
            for placed in segment.placed():
                if placed.run.kind not in (Kind.CHECKPOINT, Kind.PG_TABLES):
                    continue
                named = [read_record(body, Naming, placed) for body in placed.run.bodies()]
                parts = [part for naming in named for table in naming.tables for part in table.parts]
                if any(await part_faults(reader.store, parts, deep=True, offload=offload)):
                    return False
    return True


async def _is_continued(reader: Reader, segment: Segment, start: End) -> bool:
    """Whether the journal up to ``start`` goes on from what it is after this segment, void or not."""
    number = segment.header.number
    if (await reader.extent()).end_of_run(number) is not None:
        # What follows it was retired.
        return True
    end = await reader.before(number + 1)
    if end.segment == number and end.chain != segment.footer.chain:
        return False
    if end.segment == start.segment:
        return end.chain == start.chain
    for later in range(number + 1, min(start.segment, number + VOID_REACH + 1) + 1):
        following = await reader.header(later)
        if following is None:
            return False
        if following.epoch >= end.epoch:
            return following.prev == end.chain
    return False
