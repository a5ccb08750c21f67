"""What is not known of one stream: its gaps in the journal, each told once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from archiver.journal.records import Gap
from archiver.kubernetes.stream_state import UNWATCHED

if TYPE_CHECKING:
    from archiver.capture.kubernetes.entry_writer import EntryWriter
    from archiver.capture.kubernetes.stream_status import StreamFigures
    from archiver.kubernetes.stream_state import StreamState

_log = structlog.get_logger()


class StreamGaps:
    """Journals gaps from where the stream was heard last, and counts them."""

    def __init__(self, entries: EntryWriter, figures: StreamFigures, state: StreamState | None) -> None:
        """``state``: the stream as the journal has it."""
        self._entries, self._figures = entries, figures
        self.heard = state.heard if state else 0
        """When the stream was heard last: microseconds since 1970."""
        self._unwatched = state is not None and state.unwatched is not None
        if state is not None and state.unwatched is not None:
            figures.unknown_since = state.unwatched.from_time

    def record(self, reason: str, detail: str, *, to_position: str, to_time: int, from_position: str = "", from_time: int = 0) -> None:
        """Journal a gap from where the watch stood, unless told otherwise."""
        gap = Gap(
            what=self._entries.scope.what,
            reason=reason,
            detail=detail,
            from_position=from_position or self._figures.position,
            to_position=to_position,
            from_time=from_time or self.heard,
            to_time=to_time,
        )
        self._entries.gap(gap)
        self._figures.gaps += 1
        _log.warning("gap", stream=self._entries.scope.stream, reason=reason, detail=detail)

    def unwatched(self, why: str) -> bool:
        """Nothing is heard any more, or never was: journal it from the last word on; False when the journal says so already."""
        if self._unwatched:
            return False
        self._unwatched = True
        self._figures.unknown_since = self.heard
        self.record(UNWATCHED, why, to_position="", to_time=0)
        return True

    def heard_again(self) -> None:
        """An event, a bookmark or a complete list arrived, or there is nothing to be heard any more."""
        self._unwatched, self._figures.unknown_since = False, None
