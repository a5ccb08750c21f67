"""What one stream is doing and how it went, for status, metrics and log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from archiver.capture.status import SourceStatus, State

if TYPE_CHECKING:
    from collections.abc import Sequence

Phase = Literal["waiting", "listing", "watching", "denied", "failing", "ended"]

_STATES: dict[Phase, State] = {
    "waiting": "starting",
    "listing": "baseline",
    "watching": "streaming",
    "denied": "failed",
    "failing": "failed",
    "ended": "stopped",
}
# The source as a whole is what its least advanced stream is.
_RANK = ("failed", "starting", "baseline", "streaming", "stopping", "stopped")


@dataclass
class StreamFigures:
    """Of one stream. Times are microseconds since 1970."""

    name: str
    phase: Phase = "waiting"
    problem: str = ""
    position: str = ""
    epoch: int = 0
    objects: int = 0
    events: int = 0
    bytes: int = 0
    heard: int = 0
    """When the last event, bookmark or list arrived."""
    listed: int = 0
    """When the newest complete list was answered."""
    verified: int = 0
    """When a verifying list was last found to agree, or its differences were journaled."""
    unknown_since: int | None = None
    """Nothing is known of it since then, 0: never was; ``None``: it is captured."""
    strict: bool = False
    """Whether a right that is missing counts against the whole backup."""
    gaps: int = 0
    mismatches: int = 0
    """Objects that a verifying list found to be otherwise than the watch had said."""
    lists: Counter[str] = field(default_factory=Counter)
    """Lists by cause."""
    restarts: Counter[str] = field(default_factory=Counter)
    """Ends of watches by reason: timeout, expired, throttled, unavailable, inactive, overflow, …"""

    def show(self, durable: str) -> SourceStatus:
        """The common shape. ``durable``: the position that is in the journal."""
        return SourceStatus(
            name=self.name,
            kind="kubernetes",
            state=_STATES[self.phase],
            detail=self.problem,
            received=self.position,
            durable=durable,
            acknowledged=durable,
            observed=self.heard,
            newest_change=self.heard if self.events else 0,
            last_baseline=self.listed,
            frames=self.events,
            bytes=self.bytes,
            unknown_since=self.unknown_since,
            tolerated=self.phase == "denied" and not self.strict,
            gaps=self.gaps,
            restarts={f"list_{cause}": count for cause, count in self.lists.items()} | dict(self.restarts),
            warnings=[f"{self.mismatches} objects were otherwise than the watch had said"] if self.mismatches else [],
        )


def silent_group(name: str, *, strict: bool) -> SourceStatus:
    """What stands for a group that is selected and whose discovery does not answer, so that nobody knows which streams it has."""
    detail = "the API server does not say what this group serves: is the API behind it there?"
    return SourceStatus(name=name, kind="kubernetes", state="failed", detail=detail, unknown_since=0, tolerated=not strict)


def whole(name: str, streams: Sequence[SourceStatus], warnings: list[str], *, state: State | None = None) -> SourceStatus:
    """A source from its streams. Without streams it streams, too: nothing that the settings select is served at present."""
    shown = [each for each in streams if each.state != "stopped"]
    ranked = sorted((each.state for each in shown), key=_RANK.index) or ["streaming"]
    least = ranked[0] if state is None else state
    restarts: Counter[str] = Counter()
    for each in streams:
        restarts.update(each.restarts)
    return SourceStatus(
        name=name,
        kind="kubernetes",
        state=least,
        detail=next((f"{each.name}: {each.detail}" for each in shown if each.detail), ""),
        observed=min((each.observed for each in shown), default=0),
        newest_change=max((each.newest_change for each in shown), default=0),
        last_baseline=min((each.last_baseline for each in shown), default=0),
        frames=sum(each.frames for each in streams),
        bytes=sum(each.bytes for each in streams),
        gaps=sum(each.gaps for each in streams),
        restarts=dict(restarts),
        warnings=warnings + [f"{each.name}: {warning}" for each in streams for warning in each.warnings],
        parts=list(streams),
    )
