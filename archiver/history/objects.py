"""History of one Kubernetes object: every state that was seen, and what changed from one to the next."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec import UNSET

from archiver.clock import to_text
from archiver.errors import Invalid
from archiver.history.filed_objects import filed_entries
from archiver.journal.entry import Kind, Placed
from archiver.journal.reader import Reader
from archiver.journal.record_reader import read_record
from archiver.journal.records import Gap
from archiver.journal.segment import SegmentHeader
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.change_time import ChangeTime, change_time, managers_of
from archiver.kubernetes.equal_redaction import equally_redacted
from archiver.kubernetes.records import Absent, Listing, Resource, Watch
from archiver.kubernetes.redaction_mark import EVERYTHING, redacted_paths
from archiver.replay.kubernetes.object_names import parse_object
from archiver.suggestions import meant

Document = dict[str, Any]

_NOISE = (("metadata", "resourceVersion"), ("metadata", "managedFields"), ("metadata", "generation"))
"""Changes with every write; not what anybody asks for."""

_PLAIN = re.compile(r"[A-Za-z0-9.:_-]+")

_REACH = 64
"""How many changes back a repetition is looked for: a list repeats the newest, a verifying one what is still on its way."""


class ObjectRef(msgspec.Struct, frozen=True):
    """``plural.group/namespace/name``; ``plural.group/name`` for what is cluster-scoped."""

    resource: str
    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> ObjectRef:
        """Raises ``Invalid`` for any other form."""
        return cls(*parse_object(text))

    def matches(self, resource: Resource) -> bool:
        """``plural`` alone is enough where one group has it."""
        return self.resource in (resource.plural, _name(resource))


class ObjectChange(msgspec.Struct, frozen=True):
    """One state of the object, or its end."""

    entry: int
    observed: int
    event: str
    """ADDED, MODIFIED, DELETED, LISTED (first seen in a list), ABSENT (gone without an event), GAP."""
    uid: str = ""
    resource_version: str = ""
    manager: str = ""
    """Who made this change, by managedFields: manager and operation. Empty where they do not tell: whoever deletes an object, or takes
    something away, leaves no trace."""
    changed: list[str] = []
    """Paths that differ from the state before, ``spec.image`` style; nothing for the first."""
    detail: str = ""
    """For ABSENT the interval, for GAP the reason; else why the state is not all that it was."""
    state: Document | None = None
    """The object; None when it is gone."""
    late: bool = False
    """It came when something newer was known already: history, and no news."""
    since: int = 0
    """It happened at this time or later, by what the object says itself, where it came after a time in which nobody watched."""
    until: int = 0
    """And before this time; 0: that is not told."""

    @property
    def time(self) -> int:
        """Where it counts by time: when it was received, or before when it happened."""
        return self.until or self.observed


def no_cluster(source: str, tail: SegmentHeader | None) -> Invalid:
    """``source`` is no cluster of the archive that ends with ``tail``."""
    clusters = sorted({name.partition("/")[0] for name in tail.sources if "/" in name}) if tail else []
    return Invalid(
        f"the archive has no Kubernetes source {source!r}",
        hint=f"{meant(source, clusters)}its clusters: {', '.join(clusters) or 'none'}; rows of a database are asked for with --table",
    )


def never_saw(source: str, ref: ObjectRef, kinds: set[str]) -> Invalid:
    """No stream of ``source`` has what ``ref`` names; ``kinds``: what they have, as ``plural.group``."""
    near = meant(ref.resource, {*kinds, *(kind.partition(".")[0] for kind in kinds)})
    return Invalid(f"source {source} never saw resource {ref.resource}", hint=f"{near}it saw: {', '.join(sorted(kinds)) or 'none'}")


async def object_log(reader: Reader, source: str, ref: ObjectRef, *, to_entry: int = 0) -> list[ObjectChange]:
    """Every change of the object in the journal, in its order, up to entry ``to_entry`` (0: all). Where history files
    reach, they are asked. Whether the journal's end is known was asked when the points were resolved.

    A repetition (list after watch, relist of what is known) is left out. Gaps stand where they are known, from the object's first
    state on. Raises ``Invalid`` when the archive has no such source, never saw such a resource, or saw the plural in several groups.
    """
    tail = await reader.tail()
    if tail is None or not any(name.startswith(f"{source}/") for name in tail.sources):
        raise no_cluster(source, tail)
    log, first = _Log(ref), 0
    filed = await filed_entries(reader, source, ref.resource, ref.namespace, ref.name)
    if filed is not None:
        first = filed.segment
        for each in filed.entries:
            if isinstance(each, Placed):
                log.take(each)
            else:
                log.repeated(each[1])
    async with aclosing(reader.read(first, last=tail.number)) as runs:
        async for placed in runs:
            if to_entry and placed.first > to_entry:
                break
            if placed.run.source.startswith(f"{source}/"):
                log.take(placed)
    streams = log.streams
    named = {_name(stream.resource) for stream in streams.values() if ref.matches(stream.resource)}
    if not named:
        raise never_saw(source, ref, {_name(stream.resource) for stream in streams.values()})
    if len(named) > 1:
        raise Invalid(f"several groups have {ref.resource}", hint=f"name one: {', '.join(sorted(named))}")
    return [change for change in log.changes if not to_entry or change.entry <= to_entry]


def differences(one: Any, other: Any) -> list[tuple[str, Any, Any]]:
    """(path, before, after) of every leaf that differs, ``None`` for what is not there; lists are compared as wholes."""
    return [(path, None if before is UNSET else before, None if after is UNSET else after) for path, before, after in leaves(one, other)]


def leaves(one: Any, other: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """As ``differences``, with ``UNSET`` for what is not there, which is not ``null``."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for key in sorted({*one, *other}):
            below = f'{path}["{key}"]' if "." in key else f"{path}.{key}" if path else key
            found += leaves(one.get(key, UNSET), other.get(key, UNSET), below)
        return found
    return [] if kj.same(one, other) else [(path, one, other)]


def comparable(one: Document, other: Document) -> tuple[Document, Document, str]:
    """Two states of an object as they are compared: without what changes at every write, and without what is redacted in only one of
    them; and what is said of that.
    """
    one, other, left_out = equally_redacted(one, other)
    paths = "anything" if left_out == [EVERYTHING] else ", ".join(left_out)
    return plain(one), plain(other), f"not compared, for one of the states is without: {paths}" if left_out else ""


def plain(document: Document) -> Document:
    """Without what changes at every write."""
    metadata = {key: value for key, value in document.get("metadata", {}).items() if ("metadata", key) not in _NOISE}
    return {**document, "metadata": metadata}


def _name(resource: Resource) -> str:
    """The core group's end with a dot: alone, their plural may mean others too."""
    return f"{resource.plural}.{resource.group}"


class _Stream:
    """What has to be known of a stream to judge its entries, as ``kubernetes_state`` does."""

    def __init__(self, resource: Resource, namespace: str) -> None:
        self.resource = resource
        self.namespace = namespace
        self.since = ""
        """resourceVersion of the newest complete list: events at or below it are late."""
        self.resumed = 0
        """When the watch went on from its position, until something is heard that happened later."""
        self.listed = False
        """Whether the object was in the list that is under way."""
        self.epoch = 0

    def covers(self, ref: ObjectRef) -> bool:
        return ref.matches(self.resource) and self.namespace in ("", ref.namespace)

    def late(self, version: str) -> bool:
        return bool(self.since) and (version == self.since or kj.order(version, self.since) < 0)


class _Log:
    """The changes of one object, entry by entry."""

    def __init__(self, ref: ObjectRef) -> None:
        self.changes: list[ObjectChange] = []
        self.streams: dict[str, _Stream] = {}
        self._ref = ref
        # Servers escape some characters that they need not.
        self._needle = msgspec.json.encode(ref.name) if _PLAIN.fullmatch(ref.name) else b""
        self._known: ObjectChange | None = None
        self._comparable = 0
        self._unread: set[tuple[str, str]] = set()
        """uid and resourceVersion of states of which only the name is known."""

    def take(self, placed: Placed) -> None:
        """The next run of a stream of the source."""
        run = placed.run
        if run.kind is Kind.K8S_WATCH:
            for body in run.bodies():
                watch = read_record(body, Watch, placed)
                began = self.streams.setdefault(run.source, _Stream(watch.resource, watch.namespace))
                self.began(began, watch)
                began.resumed = run.observed if watch.resource_version else 0
        elif (stream := self.streams.get(run.source)) is not None and stream.covers(self._ref):
            self.add(placed, stream)

    def repeated(self, name: str) -> None:
        """A list of this stream has the object as it was heard last."""
        if (stream := self.streams.get(name)) is not None:
            stream.listed = True

    def began(self, stream: _Stream, watch: Watch) -> None:
        """A list or a watch began. In a rewound cluster resourceVersions come again, with other contents."""
        stream.resource = watch.resource
        if not watch.resource_version:
            stream.listed = False
        if watch.epoch != stream.epoch:
            stream.epoch, stream.since = watch.epoch, ""
            self._comparable = len(self.changes)

    def add(self, placed: Placed, stream: _Stream) -> None:
        run = placed.run
        for entry, body in enumerate(run.bodies(), placed.first):
            match run.kind:
                case Kind.K8S_EVENT:
                    self._event(entry, run.observed, body, stream)
                case Kind.K8S_ITEM:
                    self._item(entry, run.observed, body, stream)
                case Kind.K8S_ABSENT:
                    self._absent(entry, run.observed, read_record(body, Absent, placed))
                case Kind.CHECKPOINT:
                    listing = read_record(body, Listing, placed)
                    self._checkpoint(entry, run.observed, listing, stream)
                case Kind.GAP if self._known is not None:
                    gap = read_record(body, Gap, placed)
                    self.changes.append(ObjectChange(entry, run.observed, "GAP", detail=f"{gap.reason} {gap.detail}".strip()))
                case _:
                    pass

    def _document(self, body: bytes, stream: _Stream) -> tuple[Document, str]:
        return kj.readable_document(body, stream.resource.group, stream.resource.version, stream.resource.kind)

    def _event(self, entry: int, observed: int, body: bytes, stream: _Stream) -> None:
        if self._needle not in body:
            return
        event = kj.event.decode(body)
        meta = event.object.metadata
        if (meta.namespace, meta.name) != (self._ref.namespace, self._ref.name):
            return
        document, unread = self._document(kj.object_of(body), stream)
        self._seen(entry, observed, event.type, document, unread=unread, late=stream.late(meta.resource_version), resumed=stream.resumed)

    def _item(self, entry: int, observed: int, body: bytes, stream: _Stream) -> None:
        if self._needle not in body:
            return
        meta = kj.head.decode(body).metadata
        if (meta.namespace, meta.name) != (self._ref.namespace, self._ref.name):
            return
        stream.listed = True
        document, unread = self._document(body, stream)
        self._seen(entry, observed, "LISTED", document, unread=unread, late=False)

    def _seen(self, entry: int, observed: int, event: str, document: Document, *, unread: str, late: bool, resumed: int = 0) -> None:
        metadata = document["metadata"]
        uid, version = str(metadata.get("uid", "")), str(metadata.get("resourceVersion", ""))
        recent = self.changes[max(self._comparable, len(self.changes) - _REACH) :]
        known = self._known
        if any((change.uid, change.resource_version) == (uid, version) and change.event not in ("ABSENT", "GAP") for change in recent):
            same = known is not None and (known.uid, known.resource_version) == (uid, version)
            if same and known is not None and known.state is not None and redacted_paths(known.state) != redacted_paths(document):
                # More or less of it is redacted by now: what comes is compared with it as it would come.
                self._known = msgspec.structs.replace(known, state=document)
            return
        if event != "LISTED" and known is not None and known.uid == uid:
            late = late or kj.order(version, known.resource_version) < 0
        before = known.state if known is not None and known.uid == uid else None
        if before is not None and (uid, str(before["metadata"].get("resourceVersion", ""))) in self._unread:
            before = None
        if unread:
            self._unread.add((uid, version))
        compares = before is not None and event != "DELETED" and not unread
        one, other, left_out = comparable(before or {}, document) if compares else ({}, {}, "")
        changed = [path for path, _, _ in leaves(one, other)]
        manager = manager_of(metadata, before) if event != "DELETED" else ""
        state = None if event == "DELETED" else document
        own = change_time(event, metadata, before["metadata"] if before is not None else None) if resumed else ChangeTime()
        own = own if own.since < resumed and own.until <= resumed else ChangeTime()
        detail = f"what it was cannot be read ({unread}); its bytes are entry {entry}" if unread else "" if late else left_out
        change = ObjectChange(
            entry, observed, event, uid, version, manager, [] if late else changed, detail, state, late, own.since, own.until
        )
        self._append(change)

    def _absent(self, entry: int, observed: int, absent: Absent) -> None:
        if (absent.namespace, absent.name) != (self._ref.namespace, self._ref.name):
            return
        detail = f"deleted between {to_text(absent.not_before)} and {to_text(absent.not_after)}"
        # Created again under the same name: the new one is known already.
        late = self._known is not None and self._known.state is not None and self._known.uid != absent.uid
        self._append(ObjectChange(entry, observed, "ABSENT", absent.uid, absent.resource_version, detail=detail, late=late))

    def _checkpoint(self, entry: int, observed: int, listing: Listing, stream: _Stream) -> None:
        stream.since = listing.resource_version
        known = self._known
        if not stream.listed and known is not None and known.state is not None:
            detail = f"not in the list at resourceVersion {listing.resource_version}"
            self._append(ObjectChange(entry, observed, "ABSENT", known.uid, known.resource_version, detail=detail))
        stream.listed = False

    def _append(self, change: ObjectChange) -> None:
        self.changes.append(change)
        if not change.late:
            self._known = change


def manager_of(metadata: Document, before: Document | None) -> str:
    """Who made the change, where managedFields tell: whoever's entry is new, has a later time, or gained fields. An entry that only lost
    fields says nothing of who took them.
    """
    earlier = managers_of((before or {}).get("metadata", {}))
    # What is redacted is cut from their fields, too: those tell of a write only where the same was cut.
    alike = redacted_paths(before or {}) == redacted_paths({"metadata": metadata})
    fresh = [each for key, each in managers_of(metadata).items() if each.get("time") and _gained(each, earlier.get(key), alike=alike)]
    if not fresh:
        return ""
    newest = max(fresh, key=lambda each: str(each["time"]))
    part = f"/{newest['subresource']}" if newest.get("subresource") else ""
    return f"{newest.get('manager', '')} ({newest.get('operation', '')}{part})"


def _gained(now: Document, before: Document | None, *, alike: bool) -> bool:
    """Whether an entry of managedFields tells of a write. Times have whole seconds. ``alike``: their fields may be compared."""
    if before is None or str(now["time"]) > str(before.get("time", "")):
        return True
    return alike and not _within(now.get("fieldsV1"), before.get("fieldsV1"))


def _within(fields: Any, others: Any) -> bool:
    if not isinstance(fields, dict) or not isinstance(others, dict):
        return bool(fields == others)
    return all(name in others and _within(below, others[name]) for name, below in fields.items())
