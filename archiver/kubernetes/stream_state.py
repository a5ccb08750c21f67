"""The fold of one Kubernetes stream: its entries in order -> the objects at any point.

Rules (``docs/design/0004-kubernetes.md``):

- A list counts only when it is complete: its items become the state at once, at its CHECKPOINT. Between its K8S_WATCH and its
  CHECKPOINT the state is what was known before it began, of the cluster and epoch that it was known of.
- A list that was abandoned is no state, but what it saw did exist until an event, or the next complete list, says otherwise.
- The state after a list is the list's, at the list's resourceVersion. Events at or below it are history that the list already holds
  (a verifying list is followed by the watch from *before* it, so that no state in between is missing from history): they are not folded.
- An event that repeats what is known, or is older than it, folds to nothing.
- K8S_ABSENT outside a list removes the object, if it is still the one with that uid.
- GAP with reason ``resource_gone`` ends the stream: no objects, until another list is complete.
- GAP with reason ``unwatched`` leaves the state as it was last known. It counts until the watch goes on or another list is complete.
- PROGRESS with a ``Verified`` changes nothing: it says which state the entries before it fold to, and the fold is held against it.
- GAP with reason ``not_selected`` too: the settings do not ask for it any more.
"""

from __future__ import annotations

import msgspec

from archiver.errors import Corrupt
from archiver.journal.entry import Kind, Placed
from archiver.journal.record_reader import read_record
from archiver.journal.records import Gap
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.records import Absent, Listing, Resource, Verified, Watch
from archiver.kubernetes.state_digest import state_digest

Key = tuple[str, str]
"""Namespace (empty for cluster-scoped) and name."""

RESOURCE_GONE = "resource_gone"
UNWATCHED = "unwatched"
"""Nothing is heard of a resource that is selected: it may not be read, or the API server cannot read it itself."""
NOT_SELECTED = "not_selected"
"""The settings select it no longer."""


class KnownObject(msgspec.Struct, frozen=True, gc=False):
    """One object as it was last known."""

    uid: str
    resource_version: str
    observed: int
    """When these bytes were received."""
    entry: int
    """Sequence number of the entry that brought them."""
    body: bytes = b""
    """The object's JSON as the API server sent it; empty when the fold keeps no bodies."""


class StreamState:
    """One stream, folded up to the last run given to ``apply``."""

    def __init__(self, *, bodies: bool = True, partial: bool = False) -> None:
        """``partial``: it is given what there is of some objects only, and a list does not have the number that it says."""
        self.objects: dict[Key, KnownObject] = {}
        self.resource: Resource | None = None
        self.namespace = ""
        self.cluster = ""
        self.server = ""
        self.epoch = 0
        self.listing: Listing | None = None
        """The newest complete list; None: nothing is known yet."""
        self.observed = 0
        """When the newest run was received: up to then the state is known, if no list is open."""
        self.heard = 0
        """When the watch last said anything, or the newest complete list began: what went away unseen did so after it."""
        self.position = ""
        """Newest resourceVersion that a watch can resume from."""
        self.pending: dict[Key, KnownObject] | None = None
        """Objects of a list that is not complete at this point; None: no list is open."""
        self.ended = False
        """The resource was no longer served."""
        self.unwatched: Gap | None = None
        """Why nothing is heard of it: what it is now is not known."""
        self.selected = True
        """Whether the settings still select it."""
        self.disproved = ""
        """Where the fold was last not what the API server had listed, for people; empty: nothing says so."""
        self._bodies, self._partial = bodies, partial
        self._loose: dict[Key, KnownObject] = {}
        self._verifying = False
        self._began: Watch | None = None
        self._began_at = 0

    @property
    def replaced(self) -> bool:
        """A list of another epoch began and is not complete: what is known does not compare with what the API server says now."""
        return self.pending is not None and self._began is not None and self._began.epoch != self.epoch

    @property
    def complete(self) -> bool:
        """Whether a watch may resume from ``position``: everything up to there is known. An open list that only verifies does no harm."""
        return self.listing is not None and (self.pending is None or self._verifying) and not self.ended

    @property
    def loose(self) -> bool:
        """Whether a list that did not become complete added to what is known: it is not what was at any one place."""
        return bool(self._loose or self.pending)

    def known(self) -> dict[Key, KnownObject]:
        """Everything that is known to have existed and not known to be gone: what a new list is compared with."""
        return self.objects | self._loose | (self.pending or {})

    def apply(self, placed: Placed) -> None:
        """Fold one run. Runs of a stream must come in the journal's order. ``Corrupt`` when a body is not what its kind says."""
        run = placed.run
        try:
            match run.kind:
                case Kind.K8S_EVENT:
                    self._events(placed)
                case Kind.K8S_ITEM:
                    self._items(placed)
                case Kind.K8S_WATCH:
                    for body in run.bodies():
                        self._watch(read_record(body, Watch, placed), run.observed)
                case Kind.K8S_ABSENT:
                    if self.pending is None:
                        for body in run.bodies():
                            self._absent(read_record(body, Absent, placed))
                case Kind.CHECKPOINT:
                    for body in run.bodies():
                        self._complete(read_record(body, Listing, placed))
                case Kind.GAP:
                    for body in run.bodies():
                        self._gap(read_record(body, Gap, placed))
                case Kind.PROGRESS:
                    for body in run.bodies():
                        if body:
                            self._verified(placed, read_record(body, Verified, placed))
                case _:
                    pass
        except msgspec.MsgspecError as error:
            raise Corrupt(f"entry {placed.first} of {run.source} is not a {run.kind.name} body: {error}") from None
        if run.kind in (Kind.K8S_EVENT, Kind.PROGRESS):
            self.heard = max(self.heard, run.observed)
            self._went_on()
        self.position = run.position or self.position
        self.observed = max(self.observed, run.observed)

    def _events(self, placed: Placed) -> None:
        run = placed.run
        self._abandon()
        since = self.listing.resource_version if self.listing is not None else ""
        for entry, body in enumerate(run.bodies(), placed.first):
            event = kj.event.decode(body)
            meta = event.object.metadata
            if since and (meta.resource_version == since or kj.order(meta.resource_version, since) < 0):
                continue
            key = (meta.namespace, meta.name)
            loose = self._loose.get(key)
            deleted = loose is not None and event.type == "DELETED" and loose.uid == meta.uid
            if loose is not None and (deleted or kj.order(meta.resource_version, loose.resource_version) >= 0):
                del self._loose[key]
            known = self.objects.get(key)
            if known is not None and known.uid == meta.uid and kj.order(meta.resource_version, known.resource_version) < 0:
                continue
            if event.type == "DELETED":
                if known is not None and known.uid == meta.uid:
                    del self.objects[key]
            elif known is None or (known.uid, known.resource_version) != (meta.uid, meta.resource_version):
                kept = kj.object_of(body) if self._bodies else b""
                self.objects[key] = KnownObject(meta.uid, meta.resource_version, run.observed, entry, kept)

    def _items(self, placed: Placed) -> None:
        if self.pending is None:
            raise Corrupt(f"entry {placed.first} of {placed.run.source} is an item outside a list")
        for entry, body in enumerate(placed.run.bodies(), placed.first):
            meta = kj.head.decode(body).metadata
            kept = body if self._bodies else b""
            self.pending[meta.namespace, meta.name] = KnownObject(meta.uid, meta.resource_version, placed.run.observed, entry, kept)

    def _watch(self, watch: Watch, observed: int) -> None:
        self._abandon()
        self.pending = None if watch.resource_version else {}
        self._verifying = watch.cause == "verify"
        self._began, self._began_at = watch, observed
        if watch.resource_version:
            self._went_on()
        if watch.resource_version or self.listing is None:
            self._take(watch)

    def _take(self, watch: Watch) -> None:
        self.resource, self.namespace, self.cluster, self.server = watch.resource, watch.namespace, watch.cluster, watch.server

    def _abandon(self) -> None:
        """Something else than a list's own entries follows: a list that is open will never be complete."""
        self._loose |= self.pending or {}
        self.pending = None

    def _complete(self, listing: Listing) -> None:
        if self.pending is None or (len(self.pending) != listing.count and not self._partial):
            held = "none" if self.pending is None else str(len(self.pending))
            raise Corrupt(f"a list of {listing.count} objects is complete, but the journal holds {held}")
        self.objects, self._loose, self.pending = self.pending, {}, None
        self.disproved = ""
        self.listing, self.epoch, self.ended = listing, listing.epoch, False
        if not self._verifying:
            self._went_on()
        if not self._verifying or not self.heard:
            self.heard = max(self.heard, self._began_at)
        if self._began is not None:
            self._take(self._began)

    def _verified(self, placed: Placed, verified: Verified) -> None:
        if self.listing is None or self.loose or self._partial:
            return
        held = state_digest((key, (seen.uid, seen.resource_version)) for key, seen in self.objects.items())
        self.disproved = (
            ""
            if held == verified.digest and len(self.objects) == verified.count
            else (
                f"at resourceVersion {verified.resource_version} the API server listed {verified.count} objects,"
                f" and what the archive has up to entry {placed.first} comes to {len(self.objects)}"
                f"{', in other versions or others' if len(self.objects) == verified.count else ''}"
            )
        )

    def _absent(self, absent: Absent) -> None:
        key = (absent.namespace, absent.name)
        for objects in (self.objects, self._loose):
            known = objects.get(key)
            if known is not None and known.uid == absent.uid:
                del objects[key]

    def _gap(self, gap: Gap) -> None:
        if gap.reason == RESOURCE_GONE:
            self.objects, self._loose, self.pending, self.ended = {}, {}, None, True
            self.disproved = ""
            self._went_on()
        elif gap.reason == UNWATCHED:
            self.unwatched, self.selected = gap, True
        elif gap.reason == NOT_SELECTED:
            self.unwatched, self.selected = None, False

    def _went_on(self) -> None:
        self.unwatched, self.selected = None, True
