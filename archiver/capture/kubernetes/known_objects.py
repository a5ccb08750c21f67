"""What is known to exist in one stream, kept by what is received and compared with every list. ``resumed`` begins it from the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.kubernetes.json_fields import Event, Meta, order
from archiver.kubernetes.stream_state import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Version = tuple[str, str]
"""uid and resourceVersion."""


class Difference(msgspec.Struct, frozen=True):
    """A list against what was known before it."""

    gone: dict[Key, Version]
    """Known, and not in the list with that uid: deleted, or deleted and created again."""
    changed: dict[Key, Version]
    """In the list as it was not known: new, changed, or created again."""


class KnownObjects:
    """Objects of one stream by namespace and name."""

    def __init__(self, objects: dict[Key, Version] | None = None) -> None:
        self.objects = objects or {}
        self.floor = ""
        """resourceVersion of the newest list, until the watch has passed it: events at or below it are older than what is known."""
        self.loose = False
        """Whether a list that did not become complete added to it: it is not what was at any one place."""

    def event(self, event: Event) -> None:
        """An event arrived."""
        meta = event.object.metadata
        if self.floor:
            if meta.resource_version == self.floor or order(meta.resource_version, self.floor) < 0:
                return
            # A watch tells events in order: once above the list, always above it.
            self.floor = ""
        key = (meta.namespace, meta.name)
        if event.type != "DELETED":
            self.objects[key] = (meta.uid, meta.resource_version)
        elif self.objects.get(key, ("", ""))[0] == meta.uid:
            del self.objects[key]

    def place(self, position: str) -> str:
        """The resourceVersion at which this was everything, when the watch is at ``position``; empty when there is none."""
        if self.loose or not self.floor or self.floor == position:
            return "" if self.loose else position
        newer = order(self.floor, position)
        return "" if not newer else self.floor if newer > 0 else position

    def compare(self, listed: Mapping[Key, Version]) -> Difference:
        """What a complete list says otherwise."""
        return Difference(
            gone={key: known for key, known in self.objects.items() if listed.get(key, ("", ""))[0] != known[0]},
            changed={key: version for key, version in listed.items() if self.objects.get(key) != version},
        )

    def replace(self, listed: dict[Key, Version], version: str) -> None:
        """The list is what is known now."""
        self.objects, self.floor, self.loose = listed, version, False


class Verification:
    """Differences of a verifying list, each of which an event between the watch's position and the list must explain.

    The watch goes on from ``position``, which is older than the list; when it has passed the list, what is left was missed by the watch.
    """

    def __init__(self, difference: Difference, position: str, version: str, time: int) -> None:
        self.version = version
        self.time = time
        """When the list was answered."""
        self.gone = {known[0]: (key, known) for key, known in difference.gone.items()}
        self.changed = {version[0]: (key, version) for key, version in difference.changed.items()}
        # A state that is not newer than the position can no longer be explained: the watch has passed it.
        self.missed = {uid for uid, (_, (_, at)) in self.changed.items() if order(at, position) < 0 or at == position}

    def only(self, keep: Callable[[str], bool]) -> None:
        """Names of objects that still count."""
        self.gone = {uid: each for uid, each in self.gone.items() if keep(each[0][1])}
        self.changed = {uid: each for uid, each in self.changed.items() if keep(each[0][1])}

    def event(self, event: Event) -> None:
        """An event that the watch brought after the list."""
        meta: Meta = event.object.metadata
        if event.type == "DELETED":
            self.gone.pop(meta.uid, None)
        expected = self.changed.get(meta.uid)
        if expected is not None and meta.uid not in self.missed and order(meta.resource_version, expected[1][1]) >= 0:
            del self.changed[meta.uid]

    def passed(self, position: str) -> bool:
        """Whether the watch has passed the list, so that everything left was missed. At once when nothing differs."""
        return not (self.gone or self.changed) or position == self.version or order(position, self.version) > 0
