"""The entries of one stream, handed to the outbox. Every one carries the time at which it is handed over, so that times never go back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.journal.entry import Kind, Run
from archiver.journal.records import Gap
from archiver.kubernetes.records import Absent, Listing, Watch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from archiver.capture.kubernetes.known_objects import Version
    from archiver.capture.kubernetes.listwatch import Cause
    from archiver.capture.kubernetes.outbox import Outbox
    from archiver.capture.kubernetes.stream_scope import StreamScope
    from archiver.clock import Clock
    from archiver.kubernetes.stream_state import Key


class EntryWriter:
    """Writes the entries of ``scope``."""

    def __init__(self, scope: StreamScope, outbox: Outbox, clock: Clock, cluster: str, server: str, newest: int = 0) -> None:
        """``newest``: the newest time that the journal has of an entry of this stream."""
        self.scope = scope
        self._outbox = outbox
        self._clock = clock
        self._cluster = cluster
        self._server = server
        self._newest = newest

    async def listing(self, epoch: int, cause: Cause) -> int:
        """A list begins: number of its K8S_WATCH entry, once the journal took it."""
        return await self._outbox.send(self._watch(epoch, "", cause))

    def watching(self, epoch: int, version: str, cause: Cause) -> None:
        """A watch went on from ``version``."""
        self._outbox.offer(self._watch(epoch, version, cause))

    def items(self, bodies: Sequence[bytes]) -> None:
        """Objects of a list."""
        if bodies:
            self._put(Kind.K8S_ITEM, bodies)

    def events(self, lines: Sequence[bytes], version: str) -> None:
        """Watch lines up to ``version``."""
        self._put(Kind.K8S_EVENT, lines, position=version)

    def progress(self, version: str) -> None:
        """Nothing that is captured happened up to ``version``."""
        self._put(Kind.PROGRESS, [b""], position=version)

    def listed(self, listing: Listing, position: str) -> None:
        """A list is complete; ``position``: where the watch goes on, empty when that is unchanged."""
        self._put(Kind.CHECKPOINT, [msgspec.json.encode(listing)], position=position)

    def absent(self, gone: Mapping[Key, Version], not_before: int, not_after: int) -> None:
        """Objects that went away unseen between two times."""
        if gone:
            records = [Absent(*key, uid, version, not_before, not_after) for key, (uid, version) in gone.items()]
            self._put(Kind.K8S_ABSENT, [msgspec.json.encode(record) for record in records])

    def gap(self, gap: Gap) -> None:
        """History that is not known."""
        # It may be the stream's last entry, and it has no position: whoever looks for that finds it by its time.
        self._put(Kind.GAP, [msgspec.json.encode(gap)], after=self._newest)

    def _watch(self, epoch: int, version: str, cause: Cause) -> Run:
        watch = Watch(self._cluster, self._server, self.scope.resource, self.scope.namespace, epoch, version, cause)
        return Run.of(self.scope.stream, Kind.K8S_WATCH, [msgspec.json.encode(watch)], observed=self._now())

    def _put(self, kind: Kind, bodies: Sequence[bytes], *, position: str = "", after: int = 0) -> None:
        self._outbox.offer(Run.of(self.scope.stream, kind, bodies, observed=self._now(after), position=position))

    def _now(self, after: int = 0) -> int:
        now = max(self._clock.now(), after + 1)
        self._newest = max(self._newest, now)
        return now
