"""History of one Kubernetes object: every state that was seen, and what changed from one to the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import msgspec

from archiver.errors import Invalid
from archiver.journal import kubernetes_json as kj
from archiver.journal.entry import Kind, Placed
from archiver.journal.kubernetes_records import Absent, Resource, Watch
from archiver.journal.reader import Reader
from archiver.journal.records import Gap

Document = dict[str, Any]

_NOISE = (("metadata", "resourceVersion"), ("metadata", "managedFields"), ("metadata", "generation"))
"""Changes with every write; not what anybody asks for."""


class ObjectRef(msgspec.Struct, frozen=True):
    """``plural.group/namespace/name``; ``plural.group/name`` for what is cluster-scoped."""

    resource: str
    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> ObjectRef:
        """Raises ``Invalid`` for any other form."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise Invalid(
                f"{text!r} does not name an object",
                hint="write plural.group/namespace/name, for example agentruns.agents.proompteng.ai/agents/run-1",
            )
        return cls(parts[0], parts[1] if len(parts) == 3 else "", parts[-1])

    def matches(self, resource: Resource) -> bool:
        """``plural`` alone is enough."""
        return self.resource in (resource.plural, f"{resource.plural}.{resource.group}")


class ObjectChange(msgspec.Struct, frozen=True):
    """One state of the object, or its end."""

    entry: int
    observed: int
    event: str
    """ADDED, MODIFIED, DELETED, LISTED (first seen in a list), ABSENT (deleted while nobody watched), GAP."""
    uid: str = ""
    resource_version: str = ""
    manager: str = ""
    """Who wrote last, by managedFields: the newest manager and its operation."""
    changed: list[str] = []
    """Paths that differ from the state before, ``spec.image`` style; nothing for the first."""
    detail: str = ""
    """For ABSENT the interval, for GAP the reason."""
    state: Document | None = None
    """The object; None when it is gone."""


async def object_log(reader: Reader, source: str, ref: ObjectRef, *, from_slot: int = 0, to_entry: int = 0) -> list[ObjectChange]:
    """Every change of the object in the journal, oldest first, up to entry ``to_entry`` (0: all). Reads the journal through.

    A repetition (list after watch, relist of what is known) is left out. Raises ``Invalid`` when the archive has no such source or
    never saw such a resource.
    """
    tail = await reader.tail()
    if tail is None or not any(name.startswith(f"{source}/") for name in tail.sources):
        raise Invalid(f"the archive has no Kubernetes source {source!r}", hint="`archiver status` lists its sources")
    streams: dict[str, Resource] = {}
    found: list[ObjectChange] = []
    async with aclosing(reader.read(from_slot)) as runs:
        async for placed in runs:
            run = placed.run
            if to_entry and placed.first > to_entry:
                break
            if not run.source.startswith(f"{source}/"):
                continue
            if run.kind is Kind.K8S_WATCH:
                streams[run.source] = msgspec.json.decode(run.data, type=Watch).resource
            resource = streams.get(run.source)
            if resource is None or not ref.matches(resource):
                continue
            made = _changes(placed, resource, ref, found[-1] if found else None)
            found.extend(change for change in made if not to_entry or change.entry <= to_entry)
    if not any(ref.matches(resource) for resource in streams.values()):
        kinds = ", ".join(sorted({f"{resource.plural}.{resource.group}" for resource in streams.values()}))
        raise Invalid(f"source {source} never saw resource {ref.resource}", hint=f"it saw: {kinds or 'none'}")
    return found


def state_at(changes: list[ObjectChange]) -> ObjectChange | None:
    """The newest state in ``changes``; ``None`` when it never was, or is gone."""
    last = next((change for change in reversed(changes) if change.event != "GAP"), None)
    return last if last is not None and last.state is not None else None


def differences(one: Any, other: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """(path, before, after) of every leaf that differs; lists are compared as wholes."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for key in sorted({*one, *other}):
            below = f"{path}.{key}" if path else key
            found += differences(one.get(key), other.get(key), below)
        return found
    return [] if one == other else [(path, one, other)]


def plain(document: Document) -> Document:
    """Without what changes at every write."""
    metadata = {key: value for key, value in document.get("metadata", {}).items() if ("metadata", key) not in _NOISE}
    return {**document, "metadata": metadata}


def _changes(placed: Placed, resource: Resource, ref: ObjectRef, last: ObjectChange | None) -> Iterator[ObjectChange]:
    run = placed.run
    for entry, body in enumerate(run.bodies(), placed.first):
        if run.kind is Kind.K8S_EVENT:
            event = kj.event.decode(body)
            if (event.object.metadata.namespace, event.object.metadata.name) != (ref.namespace, ref.name):
                continue
            document = kj.document(kj.object_of(body), resource.group, resource.version, resource.kind)
            made = _change(entry, run.observed, event.type, document, last)
        elif run.kind is Kind.K8S_ITEM:
            meta = kj.head.decode(body).metadata
            if (meta.namespace, meta.name) != (ref.namespace, ref.name):
                continue
            made = _change(entry, run.observed, "LISTED", kj.document(body, resource.group, resource.version, resource.kind), last)
        elif run.kind is Kind.K8S_ABSENT:
            absent = msgspec.json.decode(body, type=Absent)
            if (absent.namespace, absent.name) != (ref.namespace, ref.name):
                continue
            detail = f"deleted between {absent.not_before} and {absent.not_after}"
            made = ObjectChange(entry, run.observed, "ABSENT", absent.uid, absent.resource_version, detail=detail)
        elif run.kind is Kind.GAP:
            gap = msgspec.json.decode(body, type=Gap)
            made = ObjectChange(entry, run.observed, "GAP", detail=f"{gap.reason} {gap.detail}".strip())
        else:
            continue
        if made is not None:
            last = made
            yield made


def _change(entry: int, observed: int, event: str, document: Document, last: ObjectChange | None) -> ObjectChange | None:
    metadata = document["metadata"]
    uid, version = str(metadata.get("uid", "")), str(metadata.get("resourceVersion", ""))
    if last is not None and last.state is not None and (last.uid, last.resource_version) == (uid, version):
        return None
    changed = (
        [path for path, _, _ in differences(plain(last.state), plain(document))] if last is not None and last.state is not None else []
    )
    state = None if event == "DELETED" else document
    return ObjectChange(entry, observed, event, uid, version, _manager(metadata), changed if event != "DELETED" else [], "", state)


def _manager(metadata: Document) -> str:
    entries = [each for each in metadata.get("managedFields") or [] if each.get("time")]
    if not entries:
        return ""
    newest = max(entries, key=lambda each: str(each["time"]))
    part = f"/{newest['subresource']}" if newest.get("subresource") else ""
    return f"{newest.get('manager', '')} ({newest.get('operation', '')}{part})"
