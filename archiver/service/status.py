"""How the archive and its sources stand: one value that the command line, the probes, the metrics and the logs show.

What a journal says of itself needs no running archiver (``of_journal``); what a running source knows more is laid over it (``add``).
Times are microseconds since 1970, 0 unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from archiver.capture.status import SourceStatus
from archiver.clock import STEP_SECONDS, to_text
from archiver.journal.entry import SourceMark

if TYPE_CHECKING:
    from archiver.maintenance.tails import Tail
    from archiver.service.maintainer import MaintenanceOf


class Drill(msgspec.Struct, frozen=True):
    """The newest drill that proved a restore; of several sources the one that was proven longest ago."""

    finished: int
    point: int
    """The point in time that was restored."""
    seconds: float
    """How long the restore took: the measured RTO."""


class FailedDrills(msgspec.Struct, frozen=True):
    """Sources whose newest drill found something wrong, and the assertions that did not hold in those."""

    sources: int = 0
    assertions: int = 0


class SourceLine(msgspec.Struct, kw_only=True):
    """One source as the journal shows it and, where it was asked, as the source itself does."""

    name: str
    kind: str
    durable_position: str = ""
    """Everything before it is in the journal."""
    newest_change: int = 0
    """Source's own time (commit) of the newest durable change; 0 where the source gives none."""
    observed: int = 0
    """When the newest durable entry was received."""
    rpo_seconds: float | None = None
    """Age of ``observed``: what a loss of the source now would cost at most. None: nothing durable yet."""
    checkpoint: int = 0
    """Entry number of the newest complete baseline or list; 0: nothing can be restored yet."""
    last_baseline: int = 0
    """When that was completed."""
    folded: int = 0
    """Entry number of the newest folded checkpoint; 0: there is none, or it was not looked for."""
    folded_time: int = 0
    """Journal time of it."""
    tail_seconds: float | None = None
    """What a restore would take for what stands behind the newest checkpoint, as estimated; None: not looked at."""
    folds: int = 0
    """Checkpoints that this process made."""
    fold_failures: int = 0
    folding_problem: str = ""
    """Why the newest try to fold made nothing."""
    history_entry: int = 0
    """The last entry that history files cover; 0: there are none, or this process did not look."""
    history_time: int = 0
    """The newest time that the source gave for what they have."""
    history_records: int = 0
    """Records of history files that this process wrote."""
    history_failures: int = 0
    history_problem: str = ""
    """Why the newest try to write some wrote nothing."""
    state: str = ""
    """starting, baseline, streaming, stopping, stopped, failed; ended: nothing is captured under this name any more; empty: not asked."""
    received_position: str = ""
    acknowledged_position: str = ""
    source_position: str = ""
    """Where the source itself is now."""
    lag_bytes: int | None = None
    retained_bytes: int | None = None
    """WAL that the source keeps for us."""
    safe_bytes: int | None = None
    """WAL that the source can still write before it drops what we have not read."""
    unknown_since: int | None = None
    """Nothing is known of it since then although it is selected, 0: never was; None: it is captured, or was not asked."""
    tolerated: bool = False
    """What is wrong with it costs it alone: the backup of the others is what was promised."""
    unmatched: list[str] = []
    """Lines of its settings that select nothing."""
    strict: bool = False
    """Those are a reason against readiness."""
    entries: int = 0
    bytes: int = 0
    gaps: int = 0
    failures: int = 0
    restarts: dict[str, int] = {}
    problem: str = ""
    warnings: list[str] = []


class ArchiveStatus(msgspec.Struct, kw_only=True):
    """The archive as a whole."""

    archive: str
    url: str
    segment: int = msgspec.field(name="slot")
    """Number of the newest segment."""
    epoch: int
    last_entry: int
    last_commit: int
    """Journal time of the newest segment."""
    age_seconds: float
    """Since then."""
    buffered_bytes: int = 0
    sources: list[SourceLine] = []
    drill: Drill | None = None
    failed_drills: FailedDrills = FailedDrills()
    damage: str = ""
    """Why the journal may go on behind its last readable segment: points up to that one can be restored, ``latest`` cannot.

    Not looked for while capture runs, nor are strays.
    """
    strays: list[str] = []
    """Objects behind the segments that are none."""


def lines(
    marks: Mapping[str, SourceMark], kinds: Mapping[str, str], now: int, rpo_seconds: Callable[[str], float | None] | None = None
) -> list[SourceLine]:
    """A line for every source that the journal or the settings know, by name. ``kinds``: configured source to kind.

    ``rpo_seconds``: what a running writer knows better than the times of its entries tell. A time that lies ahead tells nothing.
    """
    names = sorted({name for name in marks if name} | {name for name, kind in kinds.items() if kind == "postgres"})
    found = []
    for name in names:
        mark = marks.get(name, SourceMark())
        found.append(
            SourceLine(
                name=name,
                kind=kinds.get(name.partition("/")[0], "kubernetes" if "/" in name else "postgres"),
                durable_position=mark.position,
                newest_change=mark.changed,
                observed=mark.observed,
                rpo_seconds=rpo_seconds(name) if rpo_seconds else _age(mark.observed, now),
                checkpoint=mark.checkpoint if mark.checkpoint > mark.control or "/" in name else 0,
            )
        )
    return found


def _age(observed: int, now: int) -> float | None:
    age = (now - observed) / 1e6
    return max(0.0, age) if observed and age > -STEP_SECONDS else None


def add(line: SourceLine, source: SourceStatus) -> None:
    """Lay what a running source says over its line."""
    line.state = source.state
    line.last_baseline = source.last_baseline or line.last_baseline
    line.received_position = source.received
    line.acknowledged_position = source.acknowledged
    line.source_position = source.source_position
    line.lag_bytes = source.lag_bytes
    line.retained_bytes = source.retained_bytes
    line.safe_bytes = source.safe_bytes
    line.unknown_since = line.unknown_since if source.unknown_since is None else source.unknown_since
    line.tolerated = source.tolerated
    line.entries = source.frames
    line.bytes = source.bytes
    line.gaps = source.gaps
    line.restarts = dict(source.restarts)
    line.warnings = [*line.warnings, *source.warnings]
    line.problem = line.problem or source.detail


def add_maintenance(line: SourceLine, of: MaintenanceOf) -> None:
    """Lay over its line how maintenance stands."""
    add_tail(line, of.tail)
    line.folds, line.fold_failures, line.folding_problem = of.folding.folds, of.folding.failures, of.folding.problem
    line.history_entry, line.history_time = of.filing.covered, of.filing.newest
    line.history_records, line.history_failures, line.history_problem = of.filing.records, of.filing.failures, of.filing.problem


def add_tail(line: SourceLine, tail: Tail | None) -> None:
    """Lay over its line what a restore would begin from, and what it would read behind that."""
    if tail is not None:
        line.folded, line.folded_time, line.tail_seconds = tail.folded_entry, tail.folded_time, tail.seconds


_ZERO_UNKNOWN = ("newest_change", "observed", "last_baseline", "checkpoint", "folded", "folded_time", "history_entry", "history_time")
_EMPTY_UNKNOWN = ("durable_position", "received_position", "acknowledged_position", "source_position", "state")
_OF_A_RUN = (
    "entries",
    "bytes",
    "gaps",
    "failures",
    "restarts",
    "folds",
    "fold_failures",
    "folding_problem",
    "history_records",
    "history_failures",
    "history_problem",
)


def shown(status: ArchiveStatus, *, running: bool) -> dict[str, Any]:
    """For JSON: null stands for what is not known. ``running``: the process that captures says it, so what it counts is known."""
    value: dict[str, Any] = msgspec.to_builtins(status)
    if not status.archive:
        value |= dict.fromkeys(("archive", "slot", "epoch", "last_entry", "last_commit"))
    if not running:
        value["buffered_bytes"] = None
    for line in value["sources"]:
        line.update({name: line[name] or None for name in (*_ZERO_UNKNOWN, *_EMPTY_UNKNOWN)})
        if not running or line["state"] == "ended":
            line.update(dict.fromkeys(_OF_A_RUN))
    return value


def lay_over(found: list[SourceLine], running: Iterable[tuple[SourceStatus, int, str]]) -> None:
    """Lay what every running source says over the journal's lines. ``running``: a source, its failed attempts, why it does not run now.

    Lines are added for what the journal does not know yet. A line that no source speaks for is ``ended``: a resource that is not served
    or may not be read, or a source that is not configured any more. It has no RPO, because nobody promises one.
    """
    by_name = {line.name: line for line in found}
    spoken_for = set()
    for source, failures, problem in running:
        parts = {part.name: part for part in source.parts}
        nothing = source.kind == "kubernetes" and source.state == "streaming" and not parts
        # Before a source knows its streams, those of its last life stand for it.
        known = [] if parts or nothing else [name for name in by_name if name.startswith(f"{source.name}/")]
        for name in parts or known or [source.name]:
            line = by_name.get(name)
            if line is None:
                line = by_name[name] = SourceLine(name=name, kind=source.kind)
                found.append(line)
            part = parts.get(name, source)
            line.failures, line.problem = failures, problem
            add(line, part)
            line.unmatched, line.strict = list(source.unmatched), source.strict
            if problem:
                line.state = "failed"
            elif nothing:
                line.state, line.problem = "starting", "nothing that the settings select is served"
            if name not in parts or part.state != "stopped" or source.state == "stopped":
                spoken_for.add(name)
    for line in found:
        if line.name not in spoken_for:
            line.state, line.rpo_seconds = "ended", None


def shortfalls(status: ArchiveStatus) -> list[str]:
    """What is not captured although it was asked for, and costs itself alone, one sentence each."""
    return [
        *(f"{line.name}: not captured: {line.problem or line.state}" for line in status.sources if _apart(status, line)),
        *_select_nothing(status, strict=False),
    ]


def _select_nothing(status: ArchiveStatus, *, strict: bool) -> list[str]:
    lines = [line for line in status.sources if line.strict == strict]
    return sorted({f"{line.name.partition('/')[0]}: {text}: it selects nothing" for line in lines for text in line.unmatched})


def _apart(status: ArchiveStatus, line: SourceLine) -> bool:
    """Whether what is wrong with a stream is its own affair: some other stream of its source must be captured."""
    if not line.tolerated or line.state == "ended":
        return False
    source = line.name.partition("/")[0]
    return any(each.name.partition("/")[0] == source and each.state == "streaming" for each in status.sources)


def _lives(line: SourceLine) -> bool:
    """Whether a watch is open and everything that it brought is durable. One that is silent for too long is closed by capture itself."""
    return line.kind == "kubernetes" and bool(line.durable_position) and line.received_position == line.durable_position


def problems(status: ArchiveStatus, rpo_seconds: float) -> list[str]:
    """Why the backup is not what was promised, one sentence each; empty when it is. ``shortfalls`` are not among them."""
    if not status.archive:
        return ["the archive is not open yet: the store does not answer, or another archiver still writes"]
    found = []
    if status.age_seconds > rpo_seconds:
        found.append(f"the journal was last durable {status.age_seconds:.0f} s ago; the RPO is {rpo_seconds:g} s")
    live = [line for line in status.sources if line.state != "ended"]
    for line in live:
        if _apart(status, line):
            continue
        if line.state != "streaming":
            found.append(f"{line.name}: {line.state or 'not running'}{': ' + line.problem if line.problem else ''}")
        elif line.unknown_since is not None:
            why = f": {'; '.join(line.warnings)}" if line.warnings else ""
            found.append(f"{line.name}: not all of it is known since {to_text(line.unknown_since)}, a restore has a gap{why}")
        elif not line.checkpoint:
            found.append(f"{line.name}: no complete baseline yet, nothing can be restored")
        elif line.rpo_seconds is None or (line.rpo_seconds > rpo_seconds and not _lives(line)):
            age = "never" if line.rpo_seconds is None else f"{line.rpo_seconds:.0f} s ago"
            found.append(f"{line.name}: newest durable entry {age}; the RPO is {rpo_seconds:g} s")
    found += _select_nothing(status, strict=True)
    if not live:
        found.append("nothing is captured")
    return found
