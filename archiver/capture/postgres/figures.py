"""How the capture of one database stands and went, for status, metrics and log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from archiver.capture.postgres.session.slot_health import SlotHealth, warnings_of
from archiver.capture.status import SourceStatus, State
from archiver.postgres.lsn import format_position, parse_position

if TYPE_CHECKING:
    from archiver.capture.postgres.stream.receiver import Receiver
    from archiver.capture.postgres.watch.schema_watcher import SchemaWatcher
    from archiver.errors import ArchiverError
    from archiver.journal.entry import Run, SourceMark


@dataclass
class SourceFigures:
    """Of one database, over all attempts. Times are microseconds since 1970."""

    state: State = "starting"
    detail: str = ""
    health: SlotHealth = field(default_factory=SlotHealth)
    """Of the slot, when it was looked at last."""
    warnings: list[str] = field(default_factory=list)
    """Of the preflight."""
    last_baseline: int = 0
    frames: int = 0
    bytes: int = 0
    gaps: int = 0
    """But for those of the watcher that runs."""
    restarts: dict[str, int] = field(default_factory=dict)
    """Attempts that failed, by kind of error."""

    def failed(self, error: ArchiverError) -> None:
        """An attempt ended with ``error``."""
        self.state, self.detail = "failed", error.message
        cause = type(error).__name__.lower()
        self.restarts[cause] = self.restarts.get(cause, 0) + 1

    def received(self, run: Run) -> None:
        """The journal took ``run`` of the stream."""
        self.frames += run.count
        self.bytes += len(run.data)

    def show(self, name: str, mark: SourceMark, receiver: Receiver | None, watcher: SchemaWatcher | None) -> SourceStatus:
        """The common shape. ``mark``: what is in the journal; ``receiver`` and ``watcher``: those that run now."""
        return SourceStatus(
            name=name,
            kind="postgres",
            state=self.state,
            detail=self.detail,
            received=format_position(receiver.received) if receiver else "",
            durable=mark.position,
            acknowledged=format_position(receiver.acknowledged) if receiver else "",
            source_position=format_position(max(self.health.position, receiver.server_position if receiver else 0)),
            newest_change=mark.changed,
            observed=max(mark.observed, receiver.observed if receiver else 0),
            last_baseline=self.last_baseline,
            lag_bytes=max(0, self.health.position - parse_position(mark.position)) if self.health.position else None,
            retained_bytes=self.health.retained_bytes,
            safe_bytes=self.health.safe_bytes,
            frames=self.frames,
            bytes=self.bytes,
            gaps=self.gaps + (watcher.gaps if watcher else 0),
            unknown_since=watcher.unknown_since if watcher else None,
            restarts=dict(self.restarts),
            warnings=[*self.warnings, *warnings_of(self.health), *(watcher.warnings() if watcher else [])],
        )
