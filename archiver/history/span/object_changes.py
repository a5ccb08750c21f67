"""Runs of the streams of one cluster in journal order -> what changed of its objects. Pure.

By the rules of the fold (``kubernetes.stream_state``): a list counts when it is complete, what it repeats is no news, an event that is
older than what is known is history. What an object was before is known from what was heard earlier, within ``KnownValues``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from archiver.clock import to_text
from archiver.errors import Corrupt
from archiver.history.objects import comparable, leaves, manager_of, plain
from archiver.history.span.bounds import EVERYTHING, Bounds, Mark, Told
from archiver.history.span.changes import Change, Field
from archiver.history.span.known_values import KnownValues
from archiver.history.span.unknown_stretches import UnknownStretches
from archiver.journal.entry import Kind, Placed
from archiver.journal.record_reader import read_record
from archiver.journal.records import Gap
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.change_time import ChangeTime, change_time, life_of
from archiver.kubernetes.records import Absent, Listing, Watch
from archiver.kubernetes.redaction_mark import REDACTED
from archiver.kubernetes.stream_name import StreamName
from archiver.kubernetes.stream_state import UNWATCHED, Key, KnownObject

_REACH = 64
"""Versions of an object, back from the newest, among which a repetition is looked for: as ``history.objects`` does."""
BACKLOG = 10_000_000
"""Microseconds. What waited for somebody to watch comes at once: a longer pause ends it."""
_SAME = ("apiVersion", "kind")
"""Of every object of a kind: no field that changes."""


class KnownState(msgspec.Struct, frozen=True):
    """An object as it was heard of last."""

    uid: str
    version: str
    heard: tuple[tuple[int, str, str], ...]
    """Epoch, uid and resourceVersion of what was heard of it, the newest last."""
    body: bytes = b""
    """Its JSON; empty when it is gone."""
    seen: int = 0
    """When it was there, by the archiver's clock; 0: that is not known."""


class StreamBeginning(msgspec.Struct, frozen=True):
    """From where on a stream is read, and what has to be known there."""

    entry: int = 0
    """The first that counts."""
    segment: int = 0
    listed: Listing | None = None
    """The list that is known there; ``None``: the first one that is read is where knowledge begins."""
    epoch: int = 0
    heard: int = 0
    silence: Gap | None = None


@dataclass(slots=True)
class Pause:
    """A time in which nobody watched, after which the watch went on."""

    since: int
    until: int
    changes: int = 0
    """Came late."""


class StreamChanges:
    """Takes the runs of one stream from where it begins; gives what changed, each with its place."""

    def __init__(
        self,
        name: str,
        beginning: StreamBeginning,
        known: KnownValues[KnownState],
        *,
        wanted: Callable[[str, str], bool] = lambda _namespace, _name: True,
        objects: Iterable[tuple[Key, KnownObject]] = (),
        bounds: Bounds = EVERYTHING,
    ) -> None:
        """``wanted``: objects, by namespace and name, of which is told. ``objects``: those that are known where it begins.

        ``bounds``: what is asked about.
        """
        self.name = name
        self.unknown = UnknownStretches()
        self.doubtful: list[int] = []
        """Of changes that came after nobody had watched, and that do not tell on which side of an end of the span they were: since when."""
        self.pauses: list[Pause] = []
        """When nobody watched, around an end of the span."""
        self.begun: Mark | None = None
        """The first complete list, if reading did not begin behind one."""
        self.resumed = 0
        """When a watch went on from its position, while what waited for it comes."""
        self.observed = 0
        """When the newest run was received."""
        stream = StreamName.parse(name)
        self._source, self._resource, self._beginning = stream.source, stream.resource, beginning
        self.kind = f"{stream.plural}.{stream.group}"
        self._known, self._wanted = known, wanted
        self._since, self._epoch = beginning.listed.resource_version if beginning.listed else "", beginning.epoch
        self._bounds = bounds
        self._heard = self._floor = beginning.heard
        self._begun = beginning.listed is not None
        self._listing: Watch | None = None
        self._listing_since = 0
        self._listed: set[Key] = set()
        if beginning.silence is not None:
            here = Mark(beginning.entry, beginning.entry, beginning.silence.from_time)
            self.unknown.begin(beginning.silence, here, here)
        for key, seen in objects:
            if wanted(*key):
                self._keep(key, seen.uid, seen.resource_version, seen.body)

    @property
    def listing(self) -> bool:
        """Whether a list is open, which may find what happened before it."""
        return self._listing is not None and self._listing.cause != "verify"

    def feed(self, placed: Placed) -> Iterator[Told]:
        """Take the next run of the stream; all that it gives must be taken. Raises ``Corrupt``."""
        run = placed.run
        if placed.first + run.count <= self._beginning.entry:
            return
        if run.observed - self.observed > BACKLOG:
            self.resumed = 0
        try:
            yield from self._entries(placed)
        except msgspec.MsgspecError as error:
            raise Corrupt(f"entry {placed.first} of {run.source} is not a {run.kind.name} body: {error}") from None
        if run.kind in (Kind.K8S_EVENT, Kind.PROGRESS):
            self._went_on(placed.first, run.observed)
        if run.kind is Kind.PROGRESS:
            self.resumed = 0
        self.observed = max(self.observed, run.observed)

    def _entries(self, placed: Placed) -> Iterator[Told]:
        run = placed.run
        if run.kind is Kind.K8S_EVENT:
            told = [each for entry, body in enumerate(run.bodies(), placed.first) for each in self._event(entry, run.observed, body)]
            yield from self._dated(told, run.observed) if self.resumed else (each for each, _ in told)
            return
        for entry, body in enumerate(run.bodies(), placed.first):
            match run.kind:
                case Kind.K8S_ITEM:
                    yield from self._item(entry, run.observed, body)
                case Kind.K8S_WATCH:
                    self._watch(read_record(body, Watch, placed), run.observed)
                case Kind.K8S_ABSENT:
                    yield from self._absent(entry, run.observed, read_record(body, Absent, placed))
                case Kind.CHECKPOINT:
                    yield from self._complete(entry, run.observed, read_record(body, Listing, placed))
                case Kind.GAP:
                    yield self._gap(entry, run.observed, read_record(body, Gap, placed))
                case _:
                    pass

    def _watch(self, watch: Watch, observed: int) -> None:
        self._resource = watch.resource
        self._epoch = watch.epoch
        if watch.resource_version:
            self._listing, self.resumed, self._floor = None, observed, self._heard
            if self._heard and self._bounds.part(self._heard, observed):
                self.pauses.append(Pause(self._heard, observed))
            self._went_on(0, observed)
        else:
            self._listing, self._listing_since, self.resumed = watch, observed, 0
            self._listed.clear()

    def _went_on(self, entry: int, observed: int) -> None:
        if self.unknown.opened:
            self.unknown.end(Mark(entry, entry, observed), lambda gap: gap.reason == UNWATCHED)
        if not self.resumed:
            self._heard = max(self._heard, observed)

    def _dated(self, told: list[tuple[Told, ChangeTime]], observed: int) -> Iterator[Told]:
        """What came after nobody had watched, where it counts by time: each before what came behind it, as ``late_events`` has it."""
        latest = observed
        dated = list[Told]()
        for each, own in reversed(told):
            latest = min(latest, own.until or latest)
            dated.append(each._replace(mark=each.mark._replace(time=latest)))
        for each, (_, own) in zip(reversed(dated), told, strict=True):
            self._floor = max(self._floor, own.since)
            if self._bounds.part(self._floor, each.mark.time):
                self.doubtful.append(self._floor)
            if self.pauses and self.pauses[-1].until == self.resumed:
                self.pauses[-1].changes += 1
            yield each

    def _event(self, entry: int, observed: int, body: bytes) -> Iterator[tuple[Told, ChangeTime]]:
        """The change, and when it happened by what the object says."""
        event = kj.event.decode(body)
        meta = event.object.metadata
        key = (meta.namespace, meta.name)
        if not self._wanted(*key):
            return
        known = self._known.get(self.name, key)
        version = (self._epoch, meta.uid, meta.resource_version)
        if known is not None and version in known.heard:
            self._again(key, known, meta, kj.object_of(body) if event.type != "DELETED" else b"")
            return
        late = bool(self._since) and (meta.resource_version == self._since or kj.order(meta.resource_version, self._since) < 0)
        if known is not None and known.uid == meta.uid:
            late = late or kj.order(meta.resource_version, known.version) < 0
        document, unread = self._document(kj.object_of(body), entry)
        before, is_read = self._before(known, meta.uid)
        said = change_time(event.type, _metadata(document), _metadata(before) if before is not None else None)
        # Shown where it came after a time in which nobody watched.
        own = said if self.resumed and said.since < self.resumed and said.until <= self.resumed else ChangeTime()
        mark = Mark(entry, entry, observed)
        gone = event.type == "DELETED"
        hidden = late or bool(unread)
        compared = (document, None, "") if gone else _compared(before, document)
        fields = [] if hidden else _fields(*compared[:2], made=event.type == "ADDED")
        told_by = before is not None or event.type == "ADDED"
        change = self._change(
            entry, observed, event.type.lower(), key, uid=meta.uid, resource_version=meta.resource_version, fields=fields, late=late,
            field_manager=manager_of(_metadata(document), before) if told_by and not gone else "",
            happened_from=own.since, happened_until=own.until, detail=unread or ("" if late else compared[2]),
        )  # fmt: skip
        seen = known.seen if known is not None and known.body and known.uid == meta.uid else 0
        ended = (said.since, seen) if gone else ()
        yield Told(mark, change, unread, gone or (is_read and not unread), *life_of(_metadata(document)), *ended), said
        if late:
            if known is not None:
                self._keep(key, known.uid, known.version, known.body, (*known.heard, version), known.seen)
            return
        heard = (*(known.heard if known else ()), version)
        # What waited for somebody to watch may be gone when it comes.
        seen = seen if self.resumed else observed
        self._keep(key, meta.uid, meta.resource_version, b"" if gone else kj.object_of(body), heard, seen)

    def _item(self, entry: int, observed: int, body: bytes) -> Iterator[Told]:
        meta = kj.head.decode(body).metadata
        key = (meta.namespace, meta.name)
        if not self._wanted(*key):
            return
        self._listed.add(key)
        known = self._known.get(self.name, key)
        version = (self._epoch, meta.uid, meta.resource_version)
        if known is not None and version in known.heard:
            self._again(key, known, meta, body)
            return
        heard = (*(known.heard if known else ()), version)
        detail = "" if known is not None or not self._known.full else "it is not known whether it is new"
        verifies = self._listing is not None and self._listing.cause == "verify"
        if self._begun and not (detail and verifies):
            before, is_read = self._before(known, meta.uid)
            document, unread = self._document(body, entry)
            *states, left_out = _compared(before, document)
            fields = [] if unread else _fields(*states, made=not detail)
            detail = "; ".join(filter(None, (detail, unread or left_out)))
            manager = manager_of(_metadata(document), before) if before is not None else ""
            more: dict[str, Any] = {"uid": meta.uid, "resource_version": meta.resource_version, "fields": fields, "detail": detail}
            since = 0 if verifies else self._heard
            change = self._change(entry, observed, "listed", key, **more, field_manager=manager, happened_from=since)
            yield Told(Mark(entry, entry, observed), change, unread, attributed=is_read and not unread)
        self._keep(key, meta.uid, meta.resource_version, body, heard, self._listing_since)

    def _absent(self, entry: int, observed: int, absent: Absent) -> Iterator[Told]:
        key = (absent.namespace, absent.name)
        if not self._wanted(*key):
            return
        known = self._known.get(self.name, key)
        if known is not None and not known.body and known.uid == absent.uid:
            return
        late = known is not None and bool(known.body) and known.uid != absent.uid
        since, until = absent.not_before, absent.not_after
        detail = f"deleted between {to_text(since)} and {to_text(until)}"
        yield self._gone(entry, observed, key, known, detail, absent.uid, absent.resource_version, since=since, until=until, late=late)

    def _complete(self, entry: int, observed: int, listing: Listing) -> Iterator[Told]:
        self._since = listing.resource_version
        if not self._begun:
            self.begun = Mark(entry, entry, observed)
            detail = f"a list: {listing.count} objects"
            yield Told(self.begun, self._change(entry, observed, "baseline", ("", ""), detail=detail))
        for key, known in self._known.items(self.name):
            assert isinstance(key, tuple)
            if known.body and key not in self._listed:
                detail = f"not in the list at resourceVersion {listing.resource_version}"
                yield self._gone(entry, observed, key, known, detail, known.uid, known.version)
        self.unknown.end(Mark(entry, entry, observed))
        self._begun, self._listing = True, None
        self._listed.clear()
        self._heard = max(self._heard, observed)

    def _gone(
        self, entry: int, observed: int, key: Key, known: KnownState | None, detail: str, uid: str, version: str, *,
        since: int = 0, until: int = 0, late: bool = False,
    ) -> Told:  # fmt: skip
        before = self._before(known, known.uid)[0] if known is not None and not late else None
        fields = _fields(before, None) if before is not None else []
        change = self._change(
            entry, observed, "absent", key, uid=uid, resource_version=version, fields=fields, detail=detail, late=late,
            happened_from=since, happened_until=until,
        )  # fmt: skip
        if not late:
            self._keep(key, uid, version, b"", known.heard if known else ())
        if known is None or before is None:
            return Told(Mark(entry, entry, observed), change)
        last = _metadata(before)
        written = change_time("DELETED", last, None).since
        return Told(Mark(entry, entry, observed), change, "", True, *life_of(last), written, known.seen)

    def _gap(self, entry: int, observed: int, gap: Gap) -> Told:
        here = Mark(entry, entry, observed)
        self.unknown.begin(gap, here._replace(time=self._heard), here)
        detail = f"{gap.what}: {gap.reason} {gap.detail}".strip()
        return Told(here, self._change(entry, gap.from_time or observed, "gap", ("", ""), detail=detail))

    def _change(self, entry: int, time: int, operation: str, key: Key, **more: Any) -> Change:
        return Change(entry, entry, time, self._source, operation, kind=self.kind, namespace=key[0], name=key[1], **more)

    def _document(self, body: bytes, entry: int) -> tuple[dict[str, Any], str]:
        """What it is, and what is said where that cannot be read."""
        found, unread = kj.readable_document(body, self._resource.group, self._resource.version, self._resource.kind)
        return found, f"what it was cannot be read ({unread}); its bytes are entry {entry}" if unread else ""

    def _before(self, known: KnownState | None, uid: str) -> tuple[dict[str, Any] | None, bool]:
        """The state that is known of the object of this uid, None where there is none; and False where there is one that cannot be read."""
        if known is None or not known.body or known.uid != uid:
            return None, True
        found, unread = self._document(known.body, 0)
        return (None, False) if unread else (found, True)

    def _again(self, key: Key, known: KnownState, meta: kj.Meta, body: bytes) -> None:
        """What is known came again. More or less of it may be redacted by now: what comes is compared with it as it would come."""
        same = (known.uid, known.version) == (meta.uid, meta.resource_version)
        if same and known.body and body and _mark(known.body) != bytes(meta.archiver_redacted):
            self._keep(key, known.uid, known.version, body, known.heard)

    def _keep(
        self, key: Key, uid: str, version: str, body: bytes, heard: tuple[tuple[int, str, str], ...] = (), seen: int = 0
    ) -> None:  # fmt: skip
        heard = heard[-_REACH:] or ((self._epoch, uid, version),)
        self._known.put(self.name, key, KnownState(uid, version, heard, body, seen), len(body) + 150 * len(heard))


def _metadata(document: dict[str, Any]) -> dict[str, Any]:
    found = document.get("metadata")
    return found if isinstance(found, dict) else {}


def _mark(body: bytes) -> bytes:
    return bytes(kj.head.decode(body).metadata.archiver_redacted) if REDACTED.encode() in body else b""


def _compared(before: dict[str, Any] | None, after: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any], str]:
    return comparable(before, after) if before is not None else (None, after, "")


def _fields(before: dict[str, Any] | None, after: dict[str, Any] | None, *, made: bool = False) -> list[Field]:
    """What differs. ``made``: nothing was there before, where that is not given; else it is not known."""
    if after is None or (before is None and not made):
        known = {key: value for key, value in plain(before or after or {}).items() if key not in _SAME}
        if after is None:
            return [Field(key, old=value) for key, value in known.items()]
        return [Field(key, new=value, old_known=False) for key, value in known.items()]
    found = leaves(plain(before) if before is not None else {}, plain(after))
    return [Field(path, old, new) for path, old, new in found if path not in _SAME]
