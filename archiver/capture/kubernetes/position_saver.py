"""The position of a stream in which nothing happens that is captured."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archiver.capture.kubernetes.entry_writer import EntryWriter
    from archiver.clock import Clock


class PositionSaver:
    """Journals a position that came without an entry, once in a while and at the end."""

    def __init__(self, entries: EntryWriter, clock: Clock, heartbeat_seconds: float) -> None:
        self._entries, self._clock, self._heartbeat = entries, clock, heartbeat_seconds
        self._due_at = 0.0
        self._unsaved = False

    def moved(self, version: str) -> None:
        """The watch stands at ``version`` and brought nothing to journal."""
        self._unsaved = True
        if self._clock.monotonic() >= self._due_at:
            self.save(version)
            self._due_at = self._clock.monotonic() + self._heartbeat

    def saved(self) -> None:
        """Another entry has the position, or it counts no longer."""
        self._unsaved = False

    def save(self, version: str) -> None:
        """Journal ``version`` unless the journal has it."""
        if self._unsaved:
            self._entries.progress(version)
            self._unsaved = False
