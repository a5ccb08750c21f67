"""``--at`` texts -> points; a point that is named -> one that is not."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from archiver import clock
from archiver.errors import Invalid
from archiver.journal.boundary import Retired
from archiver.journal.marks import find_mark
from archiver.journal.reader import Reader
from archiver.journal.segment import SegmentHeader
from archiver.postgres.lsn import match_lsn, parse_lsn
from archiver.replay.spoken_times import SpokenTime, spoken_time

PointKind = Literal["latest", "time", "entry", "lsn", "mark"]

_HINT = (
    "a point is an RFC 3339 time (2026-11-23T10:05:00Z), `10 minutes ago`, `yesterday 17:00 Europe/Berlin`, seconds since 1970 "
    "(@1764345600), `latest`, an entry number, an LSN (16/B374D848), or mark:NAME"
)

_DIGITS = 18
"""Of an entry number, at most."""

HINT_LATEST = "say `latest` for its end, or let `restore --wait SECONDS` wait for it"


class NotReached(Invalid):
    """The point lies behind what the journal knows: later it may be known, so a command can wait for it."""


class Point(msgspec.Struct, frozen=True):
    """A place in history, as the user said it. What it means for a source is that source's planner's affair."""

    text: str
    kind: PointKind
    number: int = 0
    """time: microseconds since 1970; entry: sequence number; lsn: the 64-bit number."""
    name: str = ""
    """mark: its name."""
    zoneless: bool = False
    """time: the text has no zone, and was read as UTC."""
    spoken: bool = False
    """time: said as people say it; what it means goes with the moment and the zone."""


def parse_point(text: str, now: int | None = None) -> Point:
    """Grammar: ``latest`` | ``mark:NAME`` | decimal entry number | ``X/Y`` (LSN) | RFC 3339 or ISO 8601 time (without offset: UTC) | what
    ``spoken_times`` understands at ``now`` (microseconds; this machine's clock when it is not given).

    Only digits are always an entry number. Raises ``Invalid`` for anything else.
    """
    stripped = text.strip()
    if stripped == "latest":
        return Point(text, "latest")
    if stripped.startswith("mark:") and stripped != "mark:":
        return Point(text, "mark", name=stripped.removeprefix("mark:"))
    if stripped.isascii() and stripped.isdigit():
        if len(stripped) > _DIGITS:
            raise Invalid("no journal has an entry of so many digits", hint=_HINT)
        if int(stripped) == 0:
            raise Invalid("entries are counted from 1", hint=_HINT)
        return Point(text, "entry", int(stripped))
    if (lsn := match_lsn(stripped)) is not None:
        return Point(text, "lsn", lsn)
    try:
        said = SpokenTime(clock.from_text(stripped), zoneless=_zoneless(stripped))
        spoken = False
    except ValueError:
        understood = spoken_time(stripped, clock.SystemClock().now() if now is None else now)
        if understood is None:
            raise Invalid(f"{text!r} is not a point", hint=_HINT) from None
        said, spoken = understood, True
    if said.moment <= 0:
        raise Invalid(f"{text!r} lies before 1970", hint=_HINT)
    return Point(text, "time", said.moment, zoneless=said.zoneless, spoken=spoken)


def _zoneless(text: str) -> bool:
    return datetime.fromisoformat(text).tzinfo is None


def meaning(point: Point) -> str:
    """How a time without a zone, or one that is said as people say it, is read, for people; empty for any other point."""
    if not point.zoneless and not point.spoken:
        return ""
    read = "has no zone and is read as UTC" if point.zoneless else "is read as"
    return f"{point.text} {read}: {clock.to_text(point.number)}, here {clock.to_local_text(point.number)}"


async def resolve(reader: Reader, point: Point) -> Point:
    """``latest`` and marks as entry numbers, so that the same point means the same while the journal grows; others unchanged.

    Several points of one command are resolved before any of them is used. A mark is looked for backwards from the journal's end, so
    that the newest of equal names counts; an old one costs reading everything behind it. Raises ``Invalid`` when the journal is empty or
    has no such mark, ``NotReached`` when it ends before an entry number or a time, ``Corrupt`` when the point may lie behind damage,
    where the journal is not known; points before it are not held up by it; ``Retired`` when retention took the point.
    """
    tail = await reader.tail()
    if tail is None:
        raise Invalid("the journal is empty", hint="start `archiver run` and wait for the first baseline")
    last = tail.first + tail.count - 1
    if reader.fault is not None and _may_lie_behind(tail, point):
        raise reader.fault
    boundary = await reader.boundary()
    if boundary is not None and point.kind == "entry" and point.number < boundary.next:
        raise Retired(f"entry {point.number}", boundary)
    if point.kind == "latest":
        return msgspec.structs.replace(point, kind="entry", number=last)
    if point.kind == "mark":
        entry = await find_mark(reader, tail.number, point.name)
        if not entry:
            await reader.require_end()
            raise Invalid(f"the journal has no mark {point.name!r}", hint="`archiver mark NAME` sets one at the journal's end")
        return msgspec.structs.replace(point, kind="entry", number=entry)
    if point.kind == "entry" and point.number > last:
        raise NotReached(f"the journal ends at entry {last}, {point.number} is not written yet", hint=HINT_LATEST)
    if point.kind == "time" and point.number > tail.time:
        raise NotReached(
            f"the journal ends at {clock.to_text(tail.time)}, {clock.duration_text((point.number - tail.time) / 1e6)} before {point.text}",
            hint=HINT_LATEST,
        )
    return point


def require_order(first: Point, last: Point) -> None:
    """Raise ``Invalid`` when ``first``, the ``--from`` of a command, lies behind ``last``, its ``--until``; both are resolved.

    Whether a point lies behind one of another kind is not known: changes are recorded later than they happen. But nothing lies behind
    ``latest``.
    """
    backwards = first.number > last.number if first.kind == last.kind else first.text.strip() == "latest"
    if backwards:
        other = ", or say times where another server took over in between: its LSNs are others" if first.kind == "lsn" else ""
        raise Invalid(f"--from {first.text} lies behind --until {last.text}", hint=f"exchange the two{other}")


def _may_lie_behind(tail: SegmentHeader, point: Point) -> bool:
    """Whether the point may lie behind the segment of ``tail``, after which the journal is damaged."""
    match point.kind:
        case "latest":
            return True
        case "entry":
            return point.number >= tail.first + tail.count
        case "time":
            return point.number >= (tail.observed_max or tail.time)
        case "lsn":
            positions = [mark.position for name, mark in tail.sources.items() if "/" not in name and mark.position]
            return all(parse_lsn(position) < point.number for position in positions)
        case "mark":
            return False
