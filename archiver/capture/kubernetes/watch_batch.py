"""What a piece of a watch's response says: its events, and how far it brings the watch. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.capture.kubernetes.failures import Failure, failure_of
from archiver.kubernetes import json_fields as kj
from archiver.untrusted import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from archiver.capture.kubernetes.redaction import Redactor

_OBJECT_EVENTS = frozenset(("ADDED", "MODIFIED", "DELETED"))


class WatchBatch(msgspec.Struct):
    """The lines that arrived together, read up to the first that is no event."""

    events: list[kj.Event]
    """Events of the objects that are captured."""
    lines: list[bytes]
    """The line of each of ``events``, without what is redacted."""
    unread: list[kj.Meta]
    """Objects of which nothing but the name was kept: what is to be redacted was not to be found in them."""
    version: str = ""
    """Where the watch stands after these lines; empty: they moved nothing."""
    bookmark: bool = False
    """Whether a bookmark was among them."""
    failure: Failure | None = None
    """Why reading ended before the last line: an ERROR, or no watch line."""

    @classmethod
    def of(
        cls, lines: Sequence[bytes], keep: Callable[[str], bool] | None = None, *, since: str = "", redactor: Redactor | None = None
    ) -> WatchBatch:
        """Read complete ``lines`` of a watch that stands at ``since``; ``keep`` tells which names are captured, None: all. ``redactor``
        cuts what must not be.
        """
        batch, at = cls([], [], []), since
        decode = kj.event.decode
        for line in lines:
            try:
                event = decode(line)
            except Unreadable:
                batch.failure = Failure("unavailable", "a line that is not a watch event")
                break
            if event.type == "ERROR":
                batch.failure = failure_of(0, bytes(kj.line.decode(line).object))
                break
            meta = event.object.metadata
            if event.type not in _OBJECT_EVENTS and event.type != "BOOKMARK":
                batch.failure = Failure("unavailable", "unknown line")
                break
            if not meta.resource_version or (event.type != "BOOKMARK" and not meta.name):
                batch.failure = Failure("unavailable", "a line of a watch that names no object or no resourceVersion")
                break
            if kj.order(meta.resource_version, at) < 0:
                # What follows would put what is newer back to what it was.
                batch.failure = Failure("unavailable", f"the watch went back from {at} to {meta.resource_version}")
                break
            batch.version = at = meta.resource_version
            if event.type == "BOOKMARK":
                batch.bookmark = True
            elif keep is None or keep(meta.name):
                batch.events.append(event)
                if redactor is None:
                    batch.lines.append(line)
                    continue
                left, whole = redactor.line(line, event.type, meta)
                batch.lines.append(left)
                if not whole:
                    batch.unread.append(meta)
        return batch
