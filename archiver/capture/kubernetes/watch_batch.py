"""What a piece of a watch's response says: its events, and how far it brings the watch. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.capture.kubernetes.failures import Failure, failure_of
from archiver.kubernetes import json_fields as kj
from archiver.untrusted import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_OBJECT_EVENTS = frozenset(("ADDED", "MODIFIED", "DELETED"))


class WatchBatch(msgspec.Struct):
    """The lines that arrived together, read up to the first that is no event."""

    events: list[kj.Event]
    """Events of the objects that are captured."""
    lines: list[bytes]
    """The line of each of ``events``."""
    version: str = ""
    """Where the watch stands after these lines; empty: they moved nothing."""
    bookmark: bool = False
    """Whether a bookmark was among them."""
    failure: Failure | None = None
    """Why reading ended before the last line: an ERROR, or no watch line."""

    @classmethod
    def of(cls, lines: Sequence[bytes], keep: Callable[[str], bool] | None = None) -> WatchBatch:
        """Read complete ``lines``; ``keep`` tells which names are captured, None: all."""
        batch = cls([], [])
        decode = kj.event.decode
        for line in lines:
            try:
                event = decode(line)
            except Unreadable:
                batch.failure = Failure("unavailable", "a line that is not a watch event")
                break
            if event.type in _OBJECT_EVENTS:
                batch.version = event.object.metadata.resource_version
                if keep is None or keep(event.object.metadata.name):
                    batch.events.append(event)
                    batch.lines.append(line)
            elif event.type == "BOOKMARK":
                batch.version = event.object.metadata.resource_version
                batch.bookmark = batch.bookmark or bool(batch.version)
            elif event.type == "ERROR":
                batch.failure = failure_of(0, bytes(kj.line.decode(line).object))
                break
            else:
                batch.failure = Failure("unavailable", "unknown line")
                break
        return batch
