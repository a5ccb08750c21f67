"""Every source in one line, and whether the archive is what was promised, from an ``ArchiveStatus``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from archiver.journal.drill_reports import DrillReport
from archiver.service.status import ArchiveStatus, SourceLine, problems, shortfalls, shown

_WORST_FIRST = ("failed", "stopped", "stopping", "starting", "baseline", "", "streaming", "ended")


class SourceSummary(msgspec.Struct, kw_only=True):
    """One source of the settings, with all its streams."""

    name: str
    kind: str
    state: str | None
    """The worst of its streams'; ``None``: nobody who knows was asked."""
    age_seconds: float | None
    """Of the newest durable entry; of a cluster's streams the oldest, or the youngest where nobody says which of them live."""
    lag_bytes: int | None
    """What a database has written and the journal has not."""
    open_gaps: int
    """Streams of which not everything is known now. Gaps that ended are shown by `archiver window`."""
    restorable_from: int | None
    """Journal time of its first complete state."""
    drill: DrillReport | None


class StatusReport(msgspec.Struct, kw_only=True):
    """What `archiver status` shows."""

    status: ArchiveStatus
    summary: list[SourceSummary]
    problems: list[str]
    """Why the backup is not what was promised; empty when it is."""
    notes: list[str]
    """What is wrong, and costs itself alone."""

    def plain(self) -> dict[str, Any]:
        """For JSON: the status, and what was made of it."""
        return {
            **shown(self.status, running=False),
            "summary": [{**msgspec.to_builtins(each), "drill": _drill(each.drill)} for each in self.summary],
            "problems": self.problems,
            "notes": self.notes,
        }


def _drill(report: DrillReport | None) -> dict[str, Any] | None:
    return {"finished": report.finished, "passed": report.passed, "restore_seconds": report.restore_seconds} if report else None


def summarised(
    status: ArchiveStatus,
    since: Mapping[str, int],
    drills: Mapping[str, DrillReport],
    rpo_seconds: float,
    *,
    asked: bool,
    doubts: Sequence[str] = (),
) -> StatusReport:
    """The report of ``status``. ``asked``: an archiver that runs said which states its sources have.

    ``since``, ``drills``: by source, the first complete state's time and the newest drill; ``doubts``: what else is not known.
    """
    by_source: dict[str, list[SourceLine]] = {}
    for line in status.sources:
        by_source.setdefault(line.name.partition("/")[0], []).append(line)
    found = [_summary(name, lines, since.get(name, 0), drills.get(name)) for name, lines in sorted(by_source.items())]
    wrong = [status.damage] if status.damage else []
    wrong += problems(status, rpo_seconds) if asked else _problems_unasked(status, found, rpo_seconds)
    notes = [*(f"{key} is no segment: move it away" for key in status.strays), *doubts, *(shortfalls(status) if asked else ())]
    return StatusReport(status=status, summary=found, problems=wrong, notes=notes)


def _summary(name: str, lines: list[SourceLine], since: int, drill: DrillReport | None) -> SourceSummary:
    live = [line for line in lines if line.state != "ended"]
    counted = [line for line in live if not line.tolerated] or live or lines
    state = min((line.state for line in counted), key=_WORST_FIRST.index)
    ages = [line.rpo_seconds for line in counted if line.rpo_seconds is not None]
    return SourceSummary(
        name=name,
        kind=lines[0].kind,
        state=state or None,
        age_seconds=(max(ages) if state else min(ages)) if ages else None,
        lag_bytes=next((line.lag_bytes for line in live if line.lag_bytes is not None), None),
        open_gaps=sum(line.unknown_since is not None for line in live),
        restorable_from=since or None,
        drill=drill,
    )


def _problems_unasked(status: ArchiveStatus, found: list[SourceSummary], rpo_seconds: float) -> list[str]:
    """As ``problems``, by the journal and the databases alone: which streams of a cluster live, nobody said."""
    wrong = []
    if status.age_seconds > rpo_seconds:
        wrong.append(f"the journal was last durable {status.age_seconds:.0f} s ago; the RPO is {rpo_seconds:g} s")
    live = [line for line in status.sources if line.state != "ended"]
    for line in live:
        if line.state not in ("", "streaming"):
            wrong.append(f"{line.name}: {line.state}{': ' + line.problem if line.problem else ''}")
        elif line.problem:
            wrong.append(f"{line.name}: {line.problem}")
        elif not line.checkpoint:
            wrong.append(f"{line.name}: no complete baseline yet, nothing can be restored")
    wrong += [
        f"{each.name}: newest durable entry {each.age_seconds:.0f} s ago; the RPO is {rpo_seconds:g} s"
        for each in found
        if each.state != "ended" and each.age_seconds is not None and each.age_seconds > rpo_seconds
    ]
    return wrong or ([] if live else ["nothing is captured"])
