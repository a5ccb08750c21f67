"""From when to when each source can be restored, and what is missing there, from what ``verify`` found. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from archiver.journal.drill_reports import DrillReport
from archiver.journal.found_gaps import FoundGap
from archiver.journal.verifier import VerifyReport


class WindowGap(msgspec.Struct, frozen=True):
    """What is not known of a source, and where. Points inside are restored only when gaps are allowed."""

    entry: int
    what: str
    reason: str
    from_time: int
    to_time: int | None
    """When the source, or the table, was known again; ``None``: it is open."""
    from_position: str
    to_position: str
    """Empty: the gap itself does not say where it ends."""


class WindowDrill(msgspec.Struct, frozen=True):
    """The newest drill of a source."""

    finished: int
    passed: bool
    point: int
    """Up to this entry everything is proven."""


class Span(msgspec.Struct, frozen=True):
    """Every time from ``from_time`` to before ``before_time``."""

    from_time: int
    before_time: int | None
    """``None``: it goes to the journal's end, and with it."""


class SourceWindow(msgspec.Struct, frozen=True):
    """One database, or one stream of a cluster."""

    source: str
    restorable: list[Span]
    """In order. A gap of the whole source lies between two of them; a gap of one table in one of them leaves the rest as it was."""
    gaps: list[WindowGap]
    drill: WindowDrill | None = None


def windows(report: VerifyReport, drills: Mapping[str, DrillReport]) -> list[SourceWindow]:
    """By name: every source of which something can be restored, or is missing. ``drills``: by the name that the settings have.

    Times are microseconds, of the source's own clock for databases.
    """
    found = []
    for name in sorted({each.source for each in report.restorable} | {each.source for each in report.gaps}):
        gaps = [_gap(each) for each in report.gaps if each.source == name]
        spans = [Span(each.from_time, each.before_time or None) for each in report.restorable if each.source == name]
        for gap in gaps:
            if gap.what == "all" or "/" in name:
                spans = [left for span in spans for left in _without(span, gap)]
        found.append(SourceWindow(name, _joined(spans), gaps, _drill(drills.get(name.partition("/")[0]))))
    return found


def _without(span: Span, gap: WindowGap) -> list[Span]:
    """What of ``span`` lies outside of ``gap``."""
    left = []
    if span.from_time < gap.from_time:
        before = gap.from_time if span.before_time is None else min(span.before_time, gap.from_time)
        left.append(Span(span.from_time, before))
    if gap.to_time is not None and (span.before_time is None or gap.to_time < span.before_time):
        left.append(Span(max(span.from_time, gap.to_time), span.before_time))
    return left


def _joined(spans: list[Span]) -> list[Span]:
    """The same times, touching spans as one."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda each: each.from_time):
        if joined and (joined[-1].before_time is None or joined[-1].before_time >= span.from_time):
            last = joined.pop()
            ends = (last.before_time, span.before_time)
            joined.append(Span(last.from_time, None if None in ends else max(end for end in ends if end is not None)))
        else:
            joined.append(span)
    return joined


def _gap(found: FoundGap) -> WindowGap:
    gap = found.gap
    closed = gap.to_time if gap.to_position else found.ended_time or None
    return WindowGap(found.seq, gap.what, gap.reason, gap.from_time, closed, gap.from_position, gap.to_position)


def _drill(report: DrillReport | None) -> WindowDrill | None:
    return WindowDrill(report.finished, report.passed, report.point) if report else None
