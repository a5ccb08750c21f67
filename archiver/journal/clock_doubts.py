"""What steps of the archiver's clock make of a time: whether entries that were received then are found by it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing

import msgspec

from archiver.clock import ADOPT_SECONDS, duration_text, to_text
from archiver.journal.entry import Kind
from archiver.journal.reader import Reader
from archiver.journal.record_reader import read_record
from archiver.journal.records import ClockStep
from archiver.journal.segment import SegmentHeader
from archiver.journal.spans import Span, read_spans

NEAR = int((ADOPT_SECONDS + 60) * 1_000_000)
"""Microseconds. A step is believed or over within this of where it was noticed."""
REACH = 6 * 3_600_000_000
"""Microseconds by which a clock may have been set back, while one session wrote, and be found for a time under the step."""
_TOGETHER = 64
"""Headers that are asked for at once."""
_AFTER = 4
"""Segments behind the first one with wrong times, within which the step is recorded."""


class ClockDoubt(msgspec.Struct, frozen=True):
    """Why an answer for a time may be that of another one."""

    text: str
    over: bool = False
    """The clock came back, so that what is written is right."""


class ClockEntry(msgspec.Struct, frozen=True):
    """A step where it is recorded; without one, where a session began."""

    seq: int
    observed: int
    step: ClockStep | None = None


def judge_steps(entries: Iterable[ClockEntry], point: int) -> list[ClockDoubt]:
    """What ``entries``, in the journal's order, say of ``point`` (microseconds). Pure.

    A step that is believed makes two courses of time: what lies between them never was (set forward) or was twice (set back), and
    since the step was noticed the old course was wrong. One that ends with the session may be either.
    """
    found: list[ClockDoubt] = []
    noticed: ClockEntry | None = None
    step = 0
    for entry in entries:
        if entry.step is None:
            if noticed is not None:
                found += _doubt(noticed.seq, noticed.observed, max(noticed.observed, entry.observed), step, point)
            noticed = None
        elif entry.step.believed or entry.step.reason == "behind":
            times = (entry.step.time, entry.step.time - entry.step.step, *((noticed.observed,) if noticed is not None else ()))
            found += _doubt(entry.seq, min(times), max(times), entry.step.step, point)
            noticed = None
        elif entry.step.step:
            noticed, step = noticed or entry, entry.step.step
        else:
            if noticed is not None and noticed.observed <= point <= entry.observed:
                said = f"the archiver's clock was off by {_by(step)} from {to_text(noticed.observed)} to {to_text(entry.observed)}"
                found.append(ClockDoubt(f"{said} and came back; times were written by the clock's old course meanwhile", over=True))
            noticed = None
    if noticed is not None and noticed.observed <= point:
        found += _doubt(noticed.seq, noticed.observed, point, step, point)
    return found


def _doubt(seq: int, since: int, until: int, step: int, point: int) -> list[ClockDoubt]:
    if not since <= point <= until:
        return []
    return [
        ClockDoubt(
            f"the archiver's clock was set {'back' if step < 0 else 'forward'} by {_by(step)} (entry {seq}), and the asked time lies within"
            f" {to_text(since)} to {to_text(until)}, in which times may be wrong; name an entry"
        )
    ]


def _by(step: int) -> str:
    return duration_text(abs(step) / 1e6)


async def clock_doubts(reader: Reader, tail: SegmentHeader, point: int) -> list[ClockDoubt]:
    """What steps of the archiver's clock make doubtful at ``point`` (microseconds), which a user gave as a time.

    Reads what was received within ``NEAR`` of it, the headers up to ``REACH`` behind it, and the beginnings of later sessions. Errors as
    of ``Reader``.
    """
    first = await first_near(reader, point)
    near = min(tail.number, await reader.bisect(lambda header: _heard(header) > point + NEAR))
    far = min(tail.number, await reader.bisect(lambda header: _heard(header) > point + REACH))
    spans = [Span(first, near)]
    spans += [Span(number - 1, min(number + _AFTER, tail.number)) for number in await _runs_back(reader, near + 1, far, point)]
    spans += [Span(number, min(number + _AFTER, tail.number)) for number in await _sessions(reader, tail, near)]
    found: list[ClockEntry] = []
    async with aclosing(read_spans(reader, spans)) as runs:
        async for placed in runs:
            run = placed.run
            if run.source or run.kind not in (Kind.CLOCK, Kind.SESSION):
                continue
            for seq, body in enumerate(run.bodies(), placed.first):
                step = read_record(body, ClockStep, placed) if run.kind is Kind.CLOCK else None
                found.append(ClockEntry(seq, run.observed, step))
    return judge_steps(found, point)


async def first_near(reader: Reader, point: int) -> int:
    """From which segment on is read what may make a time doubtful."""
    return max(0, await reader.bisect(lambda header: _heard(header) > point - NEAR) - 1)


def _heard(header: SegmentHeader) -> int:
    """When the newest entry was received: a running maximum, as what sources are found by."""
    return max((mark.observed for mark in header.sources.values()), default=0)


async def _runs_back(reader: Reader, first: int, last: int, point: int) -> list[int]:
    """Segments of that range where times begin to lie before ``point`` again."""
    found: list[int] = []
    under = False
    for begin in range(first, last + 1, _TOGETHER):
        headers = await asyncio.gather(*map(reader.header, range(begin, min(begin + _TOGETHER, last + 1))))
        for header in headers:
            if header is None or not header.observed_min:
                continue
            if header.observed_min <= point and not under:
                found.append(header.number)
            under = header.observed_min <= point
    return found


async def _sessions(reader: Reader, tail: SegmentHeader, after: int) -> list[int]:
    """Where the sessions began that began behind segment ``after``: each says whether the clock stood behind the journal."""
    found: list[int] = []
    number = tail.session
    while number > after:
        found.append(number)
        before = await reader.valid_before(number)
        if before is None:
            break
        number = before.session
    return found
