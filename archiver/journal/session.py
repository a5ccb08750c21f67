"""Becoming the archive's writer: find the end, let a living writer be, put the fence.

The fence is an ordinary segment with one SESSION entry and the next epoch, created under the first free number. Whoever creates
it owns the journal; an older writer's next PUT meets it.

    look -> no journal, or its writer closed, is this instance, or has been silent for long enough -> fence
    look -> another writer that may be alive -> wait until its tail moved (look again) or was silent for long enough (fence)
    fence -> created: the session begins      fence -> number was taken meanwhile: look again, a bounded number of times
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.errors import Fenced
from archiver.journal.chain import End
from archiver.journal.entry import Kind, Run
from archiver.journal.fencing import recheck, session_of
from archiver.journal.identity import create_identity
from archiver.journal.keys import segment_key
from archiver.journal.put_once import PATIENCE_SECONDS, put_once
from archiver.journal.records import Session
from archiver.journal.segment import CorruptSegment, Segment, SegmentHeader, encode

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.limits import WriterLimits
    from archiver.journal.reader import Reader

CONFLICTS = 100
"""A fence that loses its number this often in a row gives up: several instances are taking the archive from each other."""

_log = structlog.get_logger()


async def open_session(reader: Reader, clock: Clock, *, instance: str, version: str, sources: dict[str, str], limits: WriterLimits) -> End:
    """Fence every older writer; the journal's state after the fence. Waits while another instance is alive, possibly for ever.

    ``Fenced``: too many others do the same. ``Corrupt``: the journal's end is damaged; nothing was written. ``Unavailable``: the store
    does not answer; the fence may still appear, which does no harm. Cancellation likewise.
    """
    identity = await create_identity(reader.store, clock)
    strays: tuple[str, ...] = ()
    for _ in range(CONFLICTS):
        number, tail = await _await_turn(reader, clock, instance, limits.takeover_after_seconds)
        if reader.strays != strays:
            strays = reader.strays
            _log.warning("journal_strays", keys=strays[:10], meaning="objects among the segments that are none; move them away")
        end = await reader.state_after(tail) if tail else End(identity.id)
        now = clock.now()
        session = Session(end.epoch + 1, instance, version, now, sources, clock.unique())
        run = Run.of("", Kind.SESSION, [msgspec.json.encode(session)], observed=now)
        time = max(now, end.time + 1)
        marks = dict(end.sources)
        header = SegmentHeader(end.archive, number, session.epoch, end.next, run.count, time, now, now, end.chain, marks, number)
        data, footer = encode(header, [run], limits.compression_level)
        if await put_once(reader.store, clock, segment_key(number), data) is None:
            # Whoever slept since the look may have created a number that was retired meanwhile: nobody reads there.
            await recheck(reader.store, clock, End.after(header, footer), patience_seconds=PATIENCE_SECONDS)
            _log.info("journal_opened", archive=end.archive, segment=number, epoch=session.epoch, instance=instance, entries=header.first)
            return End.after(header, footer)
        _log.info("journal_fence_lost_number", segment=number, epoch=session.epoch)
    raise Fenced(
        f"other writers took {CONFLICTS} segment numbers of {reader.store.url} in turn", hint="stop all archivers of this archive but one"
    )


async def _await_turn(reader: Reader, clock: Clock, instance: str, silence_seconds: float) -> tuple[int, Segment | None]:
    """The first free number and the newest valid segment before it (``None``: no journal yet), once its writer may be fenced.

    The two belong to one look: a fence must continue exactly what stands before its number.
    """
    tail: Segment | None = None
    owner, since = "", 0.0
    while True:
        free = await reader.last() + 1
        if reader.fault is not None:
            raise reader.fault
        header = await reader.valid_before(free)
        if header is None:
            return free, None
        if tail is None or tail.header.number != header.number:
            known = tail and tail.header.session == header.session
            tail, since = await _whole(reader, header.number), clock.monotonic()
            if not known:
                owner = await _owner(reader, header)
                _log.info("journal_found", instance=owner, segment=header.number, epoch=header.epoch, closed=_closed(tail))
        # On our own clock alone: a journal's time that looks old to us may be new to a living writer.
        silent = clock.monotonic() - since >= silence_seconds
        if _closed(tail) or owner == instance or silent:
            return free, tail
        await clock.sleep(min(1.0, silence_seconds / 10))


async def _whole(reader: Reader, number: int) -> Segment:
    segment = await reader.segment(number)
    if segment is None:
        raise CorruptSegment(number, "it was there and is gone")
    return segment


def _closed(tail: Segment) -> bool:
    return bool(tail.runs) and tail.runs[-1].kind is Kind.CLOSE


async def _owner(reader: Reader, header: SegmentHeader) -> str:
    fence = await _whole(reader, header.session)
    session = session_of(fence)
    if session is None or fence.header.epoch != header.epoch:
        raise CorruptSegment(header.session, f"it does not open session {header.epoch} although segment {header.number} says so")
    return session.instance
